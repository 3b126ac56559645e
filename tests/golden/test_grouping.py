"""Scores of object discovery against the numbers of the codes that define them."""

import math

import numpy as np
import pytest

from vdit.metrics import grouping

DOUBLE = 1e-12
SINGLE = 1e-6  # the reference ran in float32


@pytest.fixture
def cases(golden):
    arrays = golden("probing/object_discovery_metrics")
    names = sorted({key.split("/")[0] for key in arrays})
    return {
        name: {k.split("/")[1]: v for k, v in arrays.items() if k.startswith(name + "/")}
        for name in names
    }


def same(found, expected, tolerance):
    return np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_adjusted_rand_index(cases):
    for case in cases.values():
        same(
            grouping.adjusted_rand_index(case["true"], case["pred"]), case["savi_ari_video"], SINGLE
        )


def test_foreground_of_videos(cases):
    for case in cases.values():
        found = grouping.foreground_ari(case["true"], case["pred"])
        same(found, case["savi_fgari_video"], SINGLE)
        same(found, case["vs_video_fgari"], DOUBLE)
        if not np.isnan(case["motok_fgari_video"]):
            same(found, case["motok_fgari_video"], SINGLE)


def test_foreground_of_frames(cases):
    for case in cases.values():
        frames = zip(case["true"], case["pred"], strict=True)
        found = [grouping.foreground_ari(*frame) for frame in frames]
        same(found, case["savi_fgari_per_frame"], SINGLE)


def test_foreground_without_padding(cases):
    for case in cases.values():
        counted = case["padding_mask"] != 0
        found = grouping.foreground_ari(case["true"], case["pred"], counted)
        same(found, case["savi_fgari_padded"], SINGLE)


def test_all_scores_of_a_video(cases):
    for case in cases.values():
        scores = grouping.score_grouping(case["true"], case["pred"])
        same(scores.frame_fg_ari, case["vs_image_fgari"], DOUBLE)
        same(scores.best_overlap, case["vs_video_iou_overlap_fg"], DOUBLE)
        same(scores.frame_best_overlap, case["vs_image_iou_overlap_fg"], DOUBLE)
        same(scores.hungarian_overlap, case["vs_video_iou_hungarian_fg"], DOUBLE)
        same(scores.frame_hungarian_overlap, case["vs_image_iou_hungarian_fg"], DOUBLE)
        assert scores.num_objects == len(np.unique(case["true"][case["true"] != 0]))
        assert math.isnan(scores.best_overlap) == (scores.num_objects == 0)
