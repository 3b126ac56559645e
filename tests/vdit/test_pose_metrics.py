"""Pose errors: against loops and scipy's rotations, invariances, exact cases, wrong arguments."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vdit.metrics.pose import (
    end_point_error,
    frustum_corners,
    nearest_rotation,
    pose_from_numbers,
    relative_pose,
    rotation_error,
    translation_error,
)

seeds = st.integers(0, 10**6)


def make_poses(seed, count=4):
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(count, rng=rng).as_matrix()
    return np.concatenate([rotations, rng.normal(size=(count, 3, 1))], axis=-1)


def move(pose, point):
    """R p + t in words."""
    return [sum(pose[i][j] * point[j] for j in range(3)) + pose[i][3] for i in range(3)]


def slow_end_point_error(target, prediction):
    """Move each of the 8 corners by both poses."""
    distances = []
    for depth in (1, 10):
        for x in (-1, 1):
            for y in (-1, 1):
                corner = (x * depth, y * depth, depth)
                distances.append(math.dist(move(target, corner), move(prediction, corner)))
    return sum(distances) / 8


def compose(second, first):
    return np.concatenate(
        [second[..., :3] @ first[..., :3], second[..., :3] @ first[..., 3:] + second[..., 3:]], -1
    )


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_end_point_error_equals_loops(seed):
    rng = np.random.default_rng(seed)
    target, prediction = rng.normal(size=(2, 3, 3, 4))  # any maps, as a head may predict
    expected = [slow_end_point_error(*pair) for pair in zip(target, prediction, strict=True)]
    np.testing.assert_allclose(end_point_error(target, prediction), expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_translation_error_equals_loops(seed):
    target, prediction = make_poses(seed), make_poses(seed + 1)
    expected = [math.dist(a[:, 3], b[:, 3]) for a, b in zip(target, prediction, strict=True)]
    np.testing.assert_allclose(translation_error(target, prediction), expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_rotation_error_equals_the_formula_and_scipy(seed):
    target, prediction = make_poses(seed), make_poses(seed + 1)
    found = rotation_error(target, prediction)
    for angle, true, predicted in zip(found, target, prediction, strict=True):
        trace = sum((predicted[:, i] * true[:, i]).sum() for i in range(3))
        assert angle == pytest.approx(math.degrees(math.acos((trace - 1) / 2)), abs=1e-5)
        turn = Rotation.from_matrix(predicted[:, :3]).inv() * Rotation.from_matrix(true[:, :3])
        assert angle == pytest.approx(math.degrees(turn.magnitude()), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, degrees=st.floats(0, 180))
def test_a_turn_by_an_angle_has_that_error(seed, degrees):
    axis = np.random.default_rng(seed).normal(size=3)
    turn = Rotation.from_rotvec(math.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    target = make_poses(seed)
    prediction = target.copy()
    prediction[..., :3] = target[..., :3] @ turn
    np.testing.assert_allclose(rotation_error(target, prediction), degrees, atol=1e-6)
    np.testing.assert_array_equal(translation_error(target, prediction), 0)


def test_small_and_large_angles_are_exact():
    for angle in (0.0, 1e-9, 1e-6, 180 - 1e-6, 180.0):
        turn = Rotation.from_rotvec([0, math.radians(angle), 0]).as_matrix()
        pose = np.column_stack([turn, np.zeros(3)])
        assert rotation_error(np.eye(3, 4), pose) == pytest.approx(angle, abs=1e-13, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_invariances(seed):
    target, prediction, frame = (make_poses(seed + i) for i in range(3))
    for error in (translation_error, rotation_error, end_point_error):
        expected = error(target, prediction)
        np.testing.assert_allclose(error(prediction, target), expected, atol=1e-6)  # order
        # turning and moving the last camera's axes changes no distance
        moved = error(compose(frame, target), compose(frame, prediction))
        np.testing.assert_allclose(moved, expected, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_relative_pose_leads_from_camera_to_camera(seed):
    first, last, world = (make_poses(seed + i) for i in range(3))
    relative = relative_pose(first, last)
    point = np.random.default_rng(seed).normal(size=3)
    for n in range(len(first)):
        np.testing.assert_allclose(
            move(relative[n], move(first[n], point)), move(last[n], point), atol=1e-12
        )
    other = relative_pose(compose(first, world), compose(last, world))  # another world
    np.testing.assert_allclose(other, relative, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_no_rotation_is_nearer(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(3, 3))
    found = nearest_rotation(matrix)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(found) == pytest.approx(1)
    others = Rotation.random(300, rng=rng).as_matrix()
    near = found @ Rotation.from_rotvec(rng.normal(0, 0.02, (300, 3))).as_matrix()
    for rivals in (others, near):
        distances = np.linalg.norm(rivals - matrix, axis=(1, 2))
        assert distances.min() >= np.linalg.norm(found - matrix) - 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=seeds, scale=st.floats(0.1, 10))
def test_a_scaled_rotation_is_recovered(seed, scale):
    rotations = make_poses(seed)[..., :3]
    np.testing.assert_allclose(nearest_rotation(rotations * scale), rotations, atol=1e-12)


def test_numbers_are_rotation_by_row_then_translation():
    assert pose_from_numbers(np.arange(12)).tolist() == [[0, 1, 2, 9], [3, 4, 5, 10], [6, 7, 8, 11]]
    assert pose_from_numbers(np.zeros((2, 5, 12))).shape == (2, 5, 3, 4)


def test_corners():
    corners = frustum_corners([1, 10], half_size=(0.5, 2))
    assert {tuple(corner) for corner in corners.tolist()} == {
        (x * z, y * z, z) for x in (-2, 2) for y in (-0.5, 0.5) for z in (1, 10)
    }
    assert frustum_corners().shape == (8, 3)


def test_a_shift_moves_all_points_by_its_length():
    shifted = np.eye(3, 4)
    shifted[:, 3] = 3, 0, 4
    assert end_point_error(np.eye(3, 4), shifted) == 5
    assert translation_error(np.eye(3, 4), shifted) == 5
    assert rotation_error(np.eye(3, 4), shifted) == 0


def test_own_points():
    turned = np.array([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0]])
    assert end_point_error(np.eye(3, 4), turned, [[0, 5, 0], [0, 0, 2]]) == 2


def test_no_pose():
    nothing = np.zeros((0, 3, 4))
    for error in (translation_error, rotation_error, end_point_error):
        assert error(nothing, nothing).shape == (0,)


def test_wrong_arguments():
    pose = np.eye(3, 4)
    for error in (translation_error, rotation_error, end_point_error):
        with pytest.raises(
            ValueError, match=r"two arrays \[\.\.\., 3, 4\], got \[3, 4\] and \[4, 4\]"
        ):
            error(pose, np.eye(4))
    with pytest.raises(ValueError, match=r"rotations in prediction, .* nearest_rotation"):
        rotation_error(pose, 2 * pose)
    with pytest.raises(ValueError, match="rotations in target"):
        rotation_error(np.diag([1, 1, -1]) @ pose, pose)
    with pytest.raises(ValueError, match="rotations in prediction"):
        rotation_error(pose, np.full((3, 4), np.nan))
    with pytest.raises(ValueError, match="rotations in first"):
        relative_pose(np.zeros((3, 4)), pose)
    with pytest.raises(ValueError, match=r"points \[P, 3\] with P >= 1, got \[0, 3\]"):
        end_point_error(pose, pose, np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"12 numbers for each pose, got \[2, 11\]"):
        pose_from_numbers(np.zeros((2, 11)))
    with pytest.raises(ValueError, match=r"matrices \[\.\.\., 3, 3\]"):
        nearest_rotation(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="finite matrices"):
        nearest_rotation(np.full((3, 3), np.inf))
