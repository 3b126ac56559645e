"""Overlaps of samples against the numbers of the released code."""

import numpy as np

from vdit.metrics import referring


def test_a2d_iou(golden):
    masks, expected = golden("vdit/davis_metrics"), golden("vdit/a2d_iou")
    count = len(expected["iou"])
    both, either = referring.intersection_and_union(masks["gt"][:count], masks["seg"][:count])
    np.testing.assert_array_equal(both, expected["inter"])
    np.testing.assert_array_equal(either, expected["union"])
    ious = referring.sample_iou(both, either)
    np.testing.assert_allclose(ious, expected["iou"], rtol=0, atol=1e-6)
    empty = np.zeros((1, 4, 4), dtype=bool)
    found = referring.sample_iou(*referring.intersection_and_union(empty, empty))
    np.testing.assert_array_equal(found, expected["iou_both_empty"])
