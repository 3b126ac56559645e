"""PCK: small cases by hand, missing points, errors."""

import math

import numpy as np
import pytest

from vdit.metrics.keypoints import (
    body_size,
    keypoint_accuracy,
    keypoint_distances,
    points_from_grid,
)


def corners(num_frames):
    """Two points 30 x 40 apart, in every frame: a body of 0.6 * 50 = 30 pixels."""
    points = np.array([[10.0, 40.0], [20.0, 60.0]])
    return np.repeat(points[:, :, None], num_frames, axis=2)


def test_distance_is_in_body_sizes_and_the_first_frame_is_left_out():
    target = corners(3)
    prediction = target.copy()
    prediction[0, 0, 0] += 100
    prediction[0, 0, 1] += 3
    prediction[1, 1, 2] -= 30
    np.testing.assert_allclose(body_size(target, np.ones((2, 3))), [30, 30, 30])
    np.testing.assert_allclose(keypoint_distances(target, prediction), [[0.1, 0], [0, 1]])


def test_missing_points_do_not_count_and_do_not_measure():
    target = np.concatenate([corners(2), [[[90, 90]], [[90, 90]]]], axis=1)
    prediction = target.copy()
    prediction[:, 2] = -1
    prediction[0, 0, 1] += 15
    distances = keypoint_distances(target, prediction)
    np.testing.assert_allclose(distances, [[0.5], [0], [math.nan]])
    accuracy = keypoint_accuracy([distances], [0.4, 0.5])
    np.testing.assert_allclose(accuracy, [[0, 100, math.nan, 50], [100, 100, math.nan, 100]])


def test_frame_without_points():
    prediction = np.full((2, 2, 3), -1.0)
    distances = keypoint_distances(corners(3), prediction)
    assert np.isnan(distances).all()
    assert np.isnan(keypoint_accuracy([distances])).all()


def test_mean_is_over_points_not_pooled():
    many, few = np.zeros((1, 9)), np.ones((1, 9))
    few[0, 1:] = math.nan
    accuracy = keypoint_accuracy([np.concatenate([many, few])], [0.5])
    np.testing.assert_allclose(accuracy, [[100, 0, 50]])


def test_videos_are_joined():
    accuracy = keypoint_accuracy([np.zeros((1, 3)), np.ones((1, 1))], [0.5])
    np.testing.assert_allclose(accuracy, [[75, 75]])


def test_grid_to_pixels():
    points = np.array([[[1.5, -1]], [[2, -1]]])
    found = points_from_grid(points, (40, 40), (240, 320))
    np.testing.assert_allclose(found, [[[12, -8]], [[12, -6]]])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"expected two arrays \[2, J, T\]"):
        keypoint_distances(np.zeros((2, 3, 4)), np.zeros((2, 4, 3)))
