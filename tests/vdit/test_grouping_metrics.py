"""Scores of object discovery: against a slow version, by hand, and what must not change them."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.metrics import grouping

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)
SCORES = (grouping.foreground_ari, grouping.best_overlap, grouping.hungarian_overlap)


def random_video(seed, shape=(3, 4, 5)):
    """True objects 0..3 of random shares, and segments that follow them now and then."""
    rng = np.random.default_rng(seed)
    target = rng.choice(rng.integers(0, 4, size=rng.integers(1, 5)), size=shape)
    noise = rng.integers(0, rng.integers(1, 6), size=shape)
    prediction = np.where(rng.random(shape) < rng.random(), (target + 2) % 4, noise)
    return target, prediction, rng.random(shape) < 0.8


def slow_adjusted_rand_index(target, prediction):
    """All ordered pairs of two pixels: together in both, in one, and by chance."""
    pairs = list(itertools.permutations(zip(target.ravel(), prediction.ravel(), strict=True), 2))
    true = [one[0] == two[0] for one, two in pairs]
    found = [one[1] == two[1] for one, two in pairs]
    both = sum(a and b for a, b in zip(true, found, strict=True))
    if not pairs or sum(true) == sum(found) == len(pairs) or not sum(true) + sum(found):
        return 1.0
    chance = sum(true) * sum(found) / len(pairs)
    return (both - chance) / ((sum(true) + sum(found)) / 2 - chance)


def slow_overlaps(target, prediction, counted):
    """Rows: objects; columns: segments."""
    return [
        [
            (counted & (target == k) & (prediction == m)).sum()
            / (counted & ((target == k) | (prediction == m))).sum()
            for m in np.unique(prediction[counted])
        ]
        for k in np.unique(target[counted])
        if k != 0
    ]


# ---- the slow version --------------------------------------------------------------------------


@quick
@given(seeds)
def test_adjusted_rand_index_against_all_pairs(seed):
    target, prediction, counted = random_video(seed)
    expected = slow_adjusted_rand_index(target[counted], prediction[counted])
    found = grouping.adjusted_rand_index(target, prediction, counted)
    assert found == pytest.approx(expected, abs=1e-12)
    foreground = counted & (target > 0)
    expected = slow_adjusted_rand_index(target[foreground], prediction[foreground])
    found = grouping.foreground_ari(target, prediction, counted)
    assert found == pytest.approx(expected, abs=1e-12)


@quick
@given(seeds)
def test_overlaps_against_all_pairs(seed):
    target, prediction, counted = random_video(seed)
    overlaps = slow_overlaps(target, prediction, counted)
    best, paired = (
        score(target, prediction, counted)
        for score in (grouping.best_overlap, grouping.hungarian_overlap)
    )
    if not overlaps:
        assert math.isnan(best)
        assert math.isnan(paired)
        return
    assert best == pytest.approx(np.mean([max(row) for row in overlaps]))
    columns = [*range(len(overlaps[0])), *[None] * len(overlaps)]
    sums = [
        sum(row[c] for row, c in zip(overlaps, chosen, strict=True) if c is not None)
        for chosen in set(itertools.permutations(columns, len(overlaps)))
    ]
    assert paired == pytest.approx(max(sums) / len(overlaps))


# ---- what must hold for all --------------------------------------------------------------------


@quick
@given(seeds, seeds)
def test_names_of_segments_and_places_mean_nothing(seed, other):
    target, prediction, _ = random_video(seed)
    rng = np.random.default_rng(other)
    names, objects = rng.permutation(250), np.array([0, *(1 + rng.permutation(100))])
    order = rng.permutation(target.size)

    def move(labels):
        return labels.ravel()[order].reshape(labels.shape)

    for score in SCORES:
        found = score(move(objects[target]), move(names[prediction]))
        assert found == pytest.approx(score(target, prediction), nan_ok=True)


@quick
@given(seeds)
def test_perfect_prediction(seed):
    target, _, counted = random_video(seed)
    names = np.array([9, 3, 5, 0])
    scores = grouping.score_grouping(target, names[target], counted)
    assert (scores.fg_ari, scores.frame_fg_ari) == (1, 1)
    seen = scores.num_objects > 0
    for name in ("best_overlap", "hungarian_overlap"):
        for found in (getattr(scores, name), getattr(scores, f"frame_{name}")):
            assert found == 1 if seen else math.isnan(found)


@quick
@given(seeds)
def test_ranges(seed):
    target, prediction, _ = random_video(seed)
    best, paired = (score(target, prediction) for score in SCORES[1:])
    assert grouping.foreground_ari(target, prediction) <= 1
    assert not (target > 0).any() or 0 <= paired <= best + 1e-12 <= 1 + 1e-9
    swapped = grouping.adjusted_rand_index(prediction, target)
    assert swapped == pytest.approx(grouping.adjusted_rand_index(target, prediction))


@quick
@given(seeds, seeds)
def test_background_is_free_for_the_index_only(seed, other):
    target, prediction, _ = random_video(seed)
    anything = np.random.default_rng(other).integers(0, 9, size=target.shape)
    changed = np.where(target == 0, anything, prediction)
    found = grouping.foreground_ari(target, changed)
    assert found == grouping.foreground_ari(target, prediction)


@quick
@given(seeds)
def test_one_frame_is_a_video(seed):
    target, prediction, counted = random_video(seed, (1, 6, 7))
    scores = grouping.score_grouping(target, prediction, counted)
    assert scores.frame_fg_ari == scores.fg_ari
    assert scores.frame_best_overlap == pytest.approx(scores.best_overlap, nan_ok=True)
    assert scores.frame_hungarian_overlap == pytest.approx(scores.hungarian_overlap, nan_ok=True)


@quick
@given(seeds)
def test_pixels_that_do_not_count_are_as_if_cut_away(seed):
    target, prediction, counted = random_video(seed)
    for score in SCORES:
        found = score(target, prediction, counted)
        assert found == pytest.approx(score(target[counted], prediction[counted]), nan_ok=True)


# ---- by hand -----------------------------------------------------------------------------------


def two_objects(num_frames):
    """Left half object 1, right half object 2, the lowest row background."""
    target = np.tile(np.repeat([1, 2], 4), (num_frames, 5, 1))
    target[:, -1] = 0
    return target


def test_segments_that_change_places_cost_only_the_video():
    target = two_objects(4)
    prediction = target.copy()
    prediction[2:] = np.array([0, 2, 1])[target[2:]]
    scores = grouping.score_grouping(target, prediction)
    assert scores.frame_fg_ari == scores.frame_best_overlap == 1
    assert scores.fg_ari < 0.01
    assert scores.best_overlap == pytest.approx(1 / 3)
    assert scores.num_degenerate_frames == 0
    assert not scores.degenerate


def test_one_segment_may_serve_two_objects_or_one():
    target = two_objects(2)
    everything = np.zeros_like(target)
    assert grouping.foreground_ari(target, everything) == 0
    assert grouping.best_overlap(target, everything) == pytest.approx(0.4)
    assert grouping.hungarian_overlap(target, everything) == pytest.approx(0.2)


def test_large_counts_do_not_overflow():
    target = np.repeat(np.arange(1, 5, dtype=np.uint8), 500_000)
    assert grouping.foreground_ari(target, target[::-1].copy()) == 1
    half = np.tile([0, 1], target.size // 2).astype(np.uint8)
    assert grouping.foreground_ari(target, half) == pytest.approx(0, abs=1e-5)


# ---- videos that say little --------------------------------------------------------------------


def test_videos_without_objects_are_counted():
    empty, pair = np.zeros((2, 5, 8), np.int64), two_objects(2)
    single = np.where(pair == 2, 0, pair)
    split = np.arange(80).reshape(2, 5, 8)
    videos = [
        grouping.score_grouping(empty, split),
        grouping.score_grouping(single, split),
        grouping.score_grouping(single, empty),
        grouping.score_grouping(pair, empty),
    ]
    assert [video.num_objects for video in videos] == [0, 1, 1, 2]
    assert [video.fg_ari for video in videos] == [1, 0, 1, 0]
    assert [video.num_degenerate_frames for video in videos] == [2, 2, 2, 0]
    summary = grouping.summarize(videos)
    assert summary["FG-ARI"] == 0.5
    assert summary["FG-ARI, two objects or more"] == 0
    assert [summary[n] for n in ("videos", "degenerate videos", "videos without objects")] == [
        4,
        3,
        1,
    ]
    assert summary["mBO"] == pytest.approx(np.mean([v.best_overlap for v in videos[1:]]))


def test_an_object_may_come_late():
    target = two_objects(3)
    target[0] = 0
    target[1][target[1] == 2] = 0
    scores = grouping.score_grouping(target, target)
    assert (scores.num_objects, scores.num_degenerate_frames) == (2, 2)
    assert scores.frame_best_overlap == 1


def test_errors():
    labels = np.zeros((2, 3, 4), np.int64)
    good = grouping.score_grouping(labels, labels)
    assert all(math.isnan(v) for k, v in dataclasses.asdict(good).items() if "overlap" in k)
    for arguments, message in (
        ((labels, labels[:, :2]), r"one shape, got \[2, 3, 4\] and \[2, 2, 4\]; resize"),
        ((labels, labels.astype(float)), "prediction of an integer dtype, got float64"),
        ((labels - 1, labels), "labels >= 0 in target, got -1"),
        ((labels[0], labels[0]), r"\[T, H, W\] with T >= 1, got \[3, 4\]"),
        ((labels[:0], labels[:0]), r"\[T, H, W\] with T >= 1, got \[0, 3, 4\]"),
        ((labels, labels, labels), r"counted as bool \[2, 3, 4\], got int64"),
    ):
        with pytest.raises(ValueError, match=message):
            grouping.score_grouping(*arguments)
    with pytest.raises(ValueError, match="at least one video"):
        grouping.summarize([])
