"""Scores of tracked points against the numbers of the code that defines them."""

import numpy as np
import pytest

from vdit.metrics.points import THRESHOLDS, score_points


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_scores_of_every_video(golden, mode):
    arrays = golden("probing/tapvid_metrics")
    videos = sorted({key.split("/")[0] for key in arrays})
    assert videos
    for video in videos:
        inputs = ("query_points", "gt_tracks", "gt_occluded", "pred_tracks", "pred_occluded")
        found = score_points(*(arrays[f"{video}/{name}"][0] for name in inputs), mode)
        expected = {
            key.rsplit("/", 1)[1]: value[0]
            for key, value in arrays.items()
            if key.startswith(f"{video}/{mode}/")
        }
        scores = {
            "occlusion_accuracy": found.occlusion_accuracy,
            "average_jaccard": found.average_jaccard,
            "average_pts_within_thresh": found.average_within,
        }
        for i, threshold in enumerate(THRESHOLDS):
            scores[f"pts_within_{threshold}"] = found.within[i]
            scores[f"jaccard_{threshold}"] = found.jaccard[i]
        assert scores.keys() == expected.keys()
        for name, value in scores.items():
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-12, err_msg=name)
