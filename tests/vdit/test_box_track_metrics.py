"""IoU of box tracks: against counted cells and loops, both averages, boxes without area."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.metrics.box_tracks import (
    box_iou,
    frame_iou,
    frames_after_first,
    mean_over_videos,
    track_iou,
)

corners = st.tuples(*[st.integers(0, 9)] * 4)
seeds = st.integers(0, 10**6)


def slow_iou(first, second):
    """Count the cells of a grid: boxes have whole corners."""
    cells = [
        {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
        for box in (first, second)
    ]
    union = cells[0] | cells[1]
    return len(cells[0] & cells[1]) / len(union) if union else 0.0


def make_tracks(seed, num_tracks=4, num_frames=6):
    rng = np.random.default_rng(seed)
    tracks = rng.integers(0, 9, (2, num_tracks, num_frames, 4))
    tracks[..., 2:] = tracks[..., :2] + rng.integers(0, 6, tracks[..., 2:].shape)
    return *tracks, rng.uniform(size=(num_tracks, num_frames)) < rng.uniform()


def slow_tracks(target, prediction, annotated):
    """IoU of the annotated frames of each track, but for the first of them."""
    tracks = []
    for true, predicted, flags in zip(target, prediction, annotated, strict=True):
        frames = [t for t in range(len(flags)) if flags[t]][1:]
        tracks.append([slow_iou(true[t], predicted[t]) for t in frames])
    return tracks


@settings(max_examples=200, deadline=None)
@given(first=corners, second=corners)
def test_overlap_equals_counted_cells(first, second):
    assert box_iou(first, second) == pytest.approx(slow_iou(first, second), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(first=corners, second=corners, scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_order_axes_and_unit_do_not_matter(first, second, scale, shift):
    expected = box_iou(first, second)
    assert box_iou(second, first) == expected
    swapped = [np.array(box)[[1, 0, 3, 2]] for box in (first, second)]
    assert box_iou(*swapped) == expected
    scaled = [np.array(box) * scale + shift for box in (first, second)]
    assert box_iou(*scaled) == pytest.approx(expected, abs=1e-6)
    assert 0 <= expected <= 1


@settings(max_examples=60, deadline=None)
@given(seed=seeds, num_tracks=st.integers(0, 4), num_frames=st.integers(0, 6))
def test_tracks_equal_loops(seed, num_tracks, num_frames):
    target, prediction, annotated = make_tracks(seed, num_tracks, num_frames)
    counted = frames_after_first(annotated)
    tracks = slow_tracks(target, prediction, annotated)
    means = [sum(track) / len(track) if track else math.nan for track in tracks]
    np.testing.assert_allclose(track_iou(target, prediction, counted), means, rtol=1e-12)
    pooled = [score for track in tracks for score in track]
    mean = sum(pooled) / len(pooled) if pooled else math.nan
    np.testing.assert_allclose(frame_iou(target, prediction, counted), mean, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_frames_that_do_not_count_have_no_influence(seed):
    target, prediction, counted = make_tracks(seed)
    expected = track_iou(target, prediction, counted)
    wild = [np.where(counted[..., None], boxes, np.nan) for boxes in (target, prediction)]
    np.testing.assert_array_equal(track_iou(*wild, counted), expected)
    assert np.isnan(expected[~counted.any(axis=1)]).all()


def test_true_tracks_score_one():
    boxes = np.array([[[0, 0, 2, 3], [1, 1, 5, 4]]])
    assert track_iou(boxes, boxes, np.ones((1, 2), bool)).tolist() == [1]


def test_boxes_without_area_overlap_with_nothing():
    point, line, turned = [1, 1, 1, 1], [0, 1, 4, 1], [3, 3, 1, 1]
    for box in (point, line, turned):
        assert box_iou(box, box) == 0
        assert box_iou(box, [0, 0, 4, 4]) == 0


def test_frames_after_the_first_annotated_one():
    annotated = np.array([[False, True, False, True, True], [False] * 5, [True] + [False] * 4])
    counted = frames_after_first(annotated)
    assert counted[0].tolist() == [False, False, False, True, True]
    assert not counted[1:].any()


def test_long_tracks_weigh_more_among_frames_only():
    target = np.tile([0.0, 0, 1, 1], (2, 4, 1))
    prediction = target.copy()
    prediction[1] += 5
    counted = np.array([[True] * 3 + [False], [True] + [False] * 3])
    assert track_iou(target, prediction, counted).tolist() == [1, 0]
    assert frame_iou(target, prediction, counted) == 0.75


def test_videos_weigh_the_same_and_empty_ones_are_left_out():
    nan = math.nan
    assert mean_over_videos([[1, 1, 1], [0.5, nan, 0], [nan], []]) == 0.625
    assert mean_over_videos([0.5, nan, 1.0]) == 0.75
    assert math.isnan(mean_over_videos([[nan]]))
    with pytest.raises(ValueError, match="at least one video"):
        mean_over_videos([])


def test_nothing_counts():
    boxes, never = np.zeros((2, 3, 4)), np.zeros((2, 3), bool)
    assert np.isnan(track_iou(boxes, boxes, never)).all()
    assert math.isnan(frame_iou(boxes, boxes, never))
    assert track_iou(np.zeros((0, 3, 4)), np.zeros((0, 3, 4)), np.zeros((0, 3), bool)).shape == (0,)


def test_wrong_arguments():
    boxes, counted = np.zeros((2, 3, 4)), np.ones((2, 3), bool)
    with pytest.raises(ValueError, match=r"two arrays \[\.\.\., 4\], got \[3\] and \[3\]"):
        box_iou([0, 0, 1], [0, 0, 1])
    with pytest.raises(ValueError, match=r"prediction \[2, 3, 4\], got \[2, 4, 4\]"):
        track_iou(boxes, np.zeros((2, 4, 4)), counted)
    with pytest.raises(ValueError, match=r"counted \[N, T\] of dtype bool, got .* of int64"):
        frame_iou(boxes, boxes, counted.astype(np.int64))
    with pytest.raises(ValueError, match="finite boxes in prediction"):
        track_iou(boxes, np.full((2, 3, 4), np.nan), counted)
    with pytest.raises(ValueError, match=r"annotated \[N, T\]"):
        frames_after_first([True, False])
