"""Motion of true objects, and scores in groups by it."""

import numpy as np
import pytest

from vdit.metrics.motion import keypoint_motion, object_motion, scores_by_motion


def square(t, left, side=4, size=(12, 40)):
    labels = np.zeros(size, dtype=np.uint8)
    labels[2 : 2 + side, left : left + side] = t
    return labels


def test_motion_is_displacement_over_size_a_frame():
    target = np.stack([square(1, 0), square(1, 2), square(1, 8)])
    np.testing.assert_allclose(object_motion(target, [0, 1, 2]), [[np.nan, 2 / 4, 6 / 4]])
    np.testing.assert_allclose(object_motion(target, [0, 5, 7]), [[np.nan, 2 / 4 / 5, 6 / 4 / 2]])


def test_motion_does_not_depend_on_the_size_of_the_picture():
    small = np.stack([square(1, 3 * t) for t in range(4)])
    large = small.repeat(3, axis=1).repeat(3, axis=2)
    for target in (small, large):
        found = object_motion(target, range(4))
        np.testing.assert_allclose(found, [[np.nan, 0.75, 0.75, 0.75]])


def test_objects_out_of_sight_have_no_motion():
    target = np.stack([square(1, 0) + square(2, 10), square(1, 1), square(1, 1) + square(2, 12)])
    target[0, 0, :5] = 255  # void
    found = object_motion(target, range(3))
    np.testing.assert_allclose(found, [[np.nan, 0.25, 0], [np.nan, np.nan, np.nan]])


def test_keypoint_motion_is_in_body_sizes():
    points = np.array([[[0, 3, 3], [30, 33, 33]], [[0, 4, 4], [40, 44, 44.0]]])  # a body of 30 x 40
    np.testing.assert_allclose(keypoint_motion(points), [[5 / 30, 0], [5 / 30, 0]])
    assert np.isnan(keypoint_motion(np.zeros((2, 3, 4)))).all()


def test_groups_are_of_equal_size_and_ordered():
    motion = np.array([0.5, np.nan, 0.1, 0.4, 0.2, 0.3])
    scores = np.array([10.0, 99, 50, 20, np.nan, 30])
    slow, fast = scores_by_motion(motion, scores, 2)
    assert (slow.low, slow.high, slow.score, slow.count) == (0.1, 0.3, 40.0, 2)
    assert (fast.low, fast.high, fast.score, fast.count) == (0.4, 0.5, 15.0, 2)
    assert len(scores_by_motion(motion, scores, 10)) == 4
    assert scores_by_motion([], [], 3) == []
    with pytest.raises(ValueError, match="expected motion and scores"):
        scores_by_motion(motion, scores[1:], 2)
