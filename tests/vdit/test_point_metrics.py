"""TAP-Vid scores: against loops, by hand, invariances, videos in which nothing counts."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.metrics.points import (
    THRESHOLDS,
    PointScores,
    choose_queries,
    score_points,
    summarize,
    to_evaluation_size,
)


def slow_scores(queries, target, target_occluded, tracks, occluded, mode):
    """Count one point, one frame at a time, by the words of the definition."""
    num_points, num_frames = target_occluded.shape
    equal, total, shown = 0, 0, 0
    near, hits, false_alarms = ([0] * len(THRESHOLDS) for _ in range(3))
    for n, t in product(range(num_points), range(num_frames)):
        asked = queries[n][0]
        if t == asked or (mode == "first" and t < asked):
            continue
        total += 1
        equal += target_occluded[n, t] == occluded[n, t]
        shown += not target_occluded[n, t]
        for i, threshold in enumerate(THRESHOLDS):
            x, y = tracks[n, t] - target[n, t]
            within = x * x + y * y < threshold * threshold
            near[i] += within and not target_occluded[n, t]
            if not occluded[n, t]:
                hits[i] += within and not target_occluded[n, t]
                false_alarms[i] += target_occluded[n, t] or not within
    share = [value / shown if shown else math.nan for value in near]
    jaccard = [
        hit / (shown + alarm) if shown + alarm else math.nan
        for hit, alarm in zip(hits, false_alarms, strict=True)
    ]
    return PointScores(equal / total if total else math.nan, np.array(share), np.array(jaccard))


def assert_same(found, expected):
    for name in ("occlusion_accuracy", "within", "jaccard", "average_within", "average_jaccard"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)


def make_video(seed, num_points=5, num_frames=7, spread=6.0):
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 256, (num_points, num_frames, 2))
    # Whole distances too: 1, 2, 4, ... must not count as nearer than themselves.
    tracks = target + np.round(rng.normal(0, spread, target.shape))
    hidden = rng.uniform(size=(2, num_points, num_frames)) < rng.uniform(0, 1, (2, 1, 1))
    frames = rng.integers(0, num_frames, num_points)
    queries = np.column_stack([frames, np.zeros((num_points, 2))])
    return queries, target, hidden[0], tracks, hidden[1]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_points=st.integers(0, 6),
    num_frames=st.integers(1, 8),
    mode=st.sampled_from(["first", "strided"]),
)
def test_equal_to_loops(seed, num_points, num_frames, mode):
    video = make_video(seed, num_points, num_frames)
    assert_same(score_points(*video, mode), slow_scores(*video, mode))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(["first", "strided"]))
def test_order_place_and_hidden_positions_do_not_matter(seed, mode):
    queries, target, target_occluded, tracks, occluded = make_video(seed)
    target, tracks = np.round(target), np.round(tracks)  # so that shifting them is exact
    expected = score_points(queries, target, target_occluded, tracks, occluded, mode)
    order = np.random.default_rng(seed).permutation(len(queries))
    moved = [array[order] for array in (queries, target + 32, target_occluded, tracks + 32)]
    moved[1][moved[2]] = np.nan
    moved[3][moved[2]] = np.inf
    assert_same(score_points(*moved, occluded[order], mode), expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(["first", "strided"]))
def test_scores_grow_with_the_distance_and_are_shares(seed, mode):
    scores = score_points(*make_video(seed, 8, 9), mode)
    for values in (scores.within, scores.jaccard):
        assert np.isnan(values).all() or ((values >= 0) & (values <= 1)).all()
        assert np.isnan(values).all() or (np.diff(values) >= 0).all()
    if not np.isnan(scores.within).any():
        assert (scores.jaccard <= scores.within).all()


def test_true_tracks_score_one():
    queries, target, hidden, _, _ = make_video(0)
    scores = score_points(queries, target, hidden, target, hidden, "strided")
    assert scores.occlusion_accuracy == scores.average_within == scores.average_jaccard == 1


def test_a_visible_point_far_off_is_missed_and_a_false_positive():
    target = np.zeros((1, 3, 2))
    tracks = np.array([[[9, 9], [0.5, 0], [3, 0]]])  # the first is the query
    shown = np.zeros((1, 3), bool)
    scores = score_points([[0, 0, 0]], target, shown, tracks, shown, "first")
    assert scores.within.tolist() == [0.5, 0.5, 1, 1, 1]
    assert scores.jaccard.tolist() == [1 / 3, 1 / 3, 1, 1, 1]


def test_a_distance_is_not_nearer_than_itself():
    shown = np.zeros((1, 2), bool)
    tracks = [[[0, 0], [4, 0]]]
    scores = score_points([[0, 0, 0]], np.zeros((1, 2, 2)), shown, tracks, shown, "first")
    assert scores.within.tolist() == [0, 0, 0, 1, 1]


def test_frames_before_the_query_count_in_one_mode_only():
    shown = np.zeros((1, 3), bool)
    occluded = np.array([[True, False, False]])
    same = np.zeros((1, 3, 2))
    scores = [
        score_points([[1, 0, 0]], same, shown, same, occluded, mode)
        for mode in ("first", "strided")
    ]
    assert [s.occlusion_accuracy for s in scores] == [1, 0.5]


def test_nothing_counts():
    same, hidden = np.zeros((2, 3, 2)), np.ones((2, 3), bool)
    queries = [[2, 0, 0], [2, 0, 0]]
    last = score_points(queries, same, hidden, same, hidden, "first")
    assert math.isnan(last.occlusion_accuracy)
    unseen = score_points(queries, same, hidden, same, hidden, "strided")
    assert unseen.occlusion_accuracy == 1
    assert math.isnan(unseen.average_within)
    assert math.isnan(unseen.average_jaccard)
    claimed = score_points(queries, same, hidden, same, ~hidden, "strided")
    assert claimed.average_jaccard == 0
    assert math.isnan(claimed.average_within)


def test_videos_weigh_the_same_and_empty_ones_are_left_out():
    full, half = np.full(5, 1.0), np.full(5, 0.5)
    nothing = PointScores(1.0, np.full(5, np.nan), np.full(5, np.nan))
    summary = summarize([PointScores(1.0, full, half), PointScores(0.5, half, half), nothing])
    assert summary["AJ"] == summary["Jaccard_4"] == 0.5
    assert summary["delta_avg"] == summary["delta_16"] == 0.75
    assert summary["OA"] == pytest.approx(2.5 / 3)
    assert math.isnan(summarize([nothing])["AJ"])
    with pytest.raises(ValueError, match="at least one video"):
        summarize([])


def test_points_are_brought_to_256():
    assert to_evaluation_size([[0.5, 0.25]], (1, 1)).tolist() == [[128, 64]]
    assert to_evaluation_size([[640, 120]], (480, 1280)).tolist() == [[128, 64]]


def test_queries_in_the_first_visible_frame():
    tracks = np.arange(24.0).reshape(3, 4, 2)
    occluded = np.array([[True, False, False, True], [True] * 4, [False, True, True, True]])
    queries, points = choose_queries(tracks, occluded, "first")
    assert queries.tolist() == [[1, 3, 2], [0, 17, 16]]
    assert points.tolist() == [0, 2]


def test_queries_in_every_second_frame():
    tracks = np.arange(24.0).reshape(3, 4, 2)
    occluded = np.array([[True, False, False, True], [True] * 4, [False, True, False, False]])
    queries, points = choose_queries(tracks, occluded, "strided", stride=2)
    assert queries.tolist() == [[0, 17, 16], [2, 5, 4], [2, 21, 20]]
    assert points.tolist() == [2, 0, 2]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), stride=st.integers(1, 9))
def test_queries_equal_loops(seed, stride):
    _, tracks, occluded, _, _ = make_video(seed)
    num_points, num_frames = occluded.shape
    expected = [
        (t, tracks[n, t, 1], tracks[n, t, 0], n)
        for t in range(0, num_frames, stride)
        for n in range(num_points)
        if not occluded[n, t]
    ]
    queries, points = choose_queries(tracks, occluded, "strided", stride)
    assert [(*q, n) for q, n in zip(queries.tolist(), points.tolist(), strict=True)] == expected


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_no_point_has_no_query(mode):
    queries, points = choose_queries(np.zeros((2, 3, 2)), np.ones((2, 3), bool), mode)
    assert queries.shape == (0, 3)
    assert points.shape == (0,)


def test_wrong_arguments():
    video = make_video(0)
    with pytest.raises(ValueError, match='"first" or "strided", got "last"'):
        score_points(*video, "last")
    with pytest.raises(ValueError, match=r"expected tracks \[5, 7, 2\], got \[5, 7, 3\]"):
        score_points(*video[:3], np.zeros((5, 7, 3)), video[4], "first")
    with pytest.raises(ValueError, match=r"occluded .* of dtype bool, got .* of float64"):
        score_points(*video[:4], np.full((5, 7), 0.3), "first")
    with pytest.raises(ValueError, match=r"queries in the frames 0\.\.6, got 7"):
        score_points(np.full((5, 3), 7.0), *video[1:], "first")
    with pytest.raises(ValueError, match="expected finite tracks"):
        score_points(*video[:3], np.full((5, 7, 2), np.nan), video[4], "strided")
    with pytest.raises(ValueError, match="stride of at least 1"):
        choose_queries(video[1], video[2], "strided", 0)


def test_frames_that_nobody_looked_at_do_not_count():
    queries, target, target_occluded, tracks, occluded = make_video(3)[:5]
    labelled = np.ones_like(occluded)
    labelled[:, 4] = False
    before = score_points(
        queries, target, target_occluded, tracks, occluded, "strided", labelled=labelled
    )
    tracks[:, 4], occluded[:, 4] = np.nan, ~occluded[:, 4]
    target[:, 4], target_occluded[:, 4] = np.nan, ~target_occluded[:, 4]
    after = score_points(
        queries, target, target_occluded, tracks, occluded, "strided", labelled=labelled
    )
    assert_same(after, before)
    everywhere = np.ones_like(occluded)
    args = (queries, *(np.nan_to_num(a) for a in (target,)), target_occluded)
    args = (*args, np.nan_to_num(tracks), occluded, "strided")
    assert_same(score_points(*args, labelled=everywhere), score_points(*args))
    with pytest.raises(ValueError, match="expected labelled"):
        score_points(*args, labelled=everywhere[:, 1:])
