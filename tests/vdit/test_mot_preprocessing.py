"""What MOTChallenge leaves out before it scores."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.metrics.mot_preprocessing import DISTRACTORS, keep_scored_boxes
from vdit.metrics.track_overlaps import box_iou_xywh

CYCLIST, PARKED_CAR, OTHER_VEHICLE = 2, 3, 6


def box(frame, identity, x, width=20):
    return [frame, identity, x, 10, width, 40]


def slow_keep(target, counted, classes, prediction, benchmark):
    """Every assignment of every frame is tried."""
    removed = set()
    for frame in {row[0] for row in target}:
        true = [r for r, row in enumerate(target) if row[0] == frame]
        found = [c for c, row in enumerate(prediction) if row[0] == frame]
        if not found:
            continue
        overlap = box_iou_xywh(target[true, 2:], prediction[found, 2:])
        best = max(
            set(itertools.permutations([*range(len(found)), *[None] * len(true)], len(true))),
            key=lambda chosen: sum(
                overlap[r, c]
                for r, c in enumerate(chosen)
                if c is not None and overlap[r, c] >= 0.5
            ),
        )
        for r, c in enumerate(best):
            if (
                c is not None
                and overlap[r, c] >= 0.5
                and classes[true[r]] in DISTRACTORS[benchmark]
            ):
                removed.add(found[c])
    kept = [r for r in range(len(target)) if counted[r] and classes[r] == 1]
    return target[kept], np.delete(prediction, sorted(removed), axis=0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(DISTRACTORS)))
def test_against_every_assignment(seed, benchmark):
    rng = np.random.default_rng(seed)
    target = np.array([box(t, i, rng.uniform(0, 30)) for t in (1, 2) for i in range(3)])
    prediction = np.array([box(t, i, rng.uniform(0, 30)) for t in (1, 2, 3) for i in range(3)])
    counted, classes = rng.random(6) < 0.7, rng.choice([1, 1, 2, 6, 7, 9, 12], size=6)
    found = keep_scored_boxes(target, counted, classes, prediction, benchmark)
    expected = slow_keep(target, counted, classes, prediction, benchmark)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_box_on_a_distractor_is_forgiven():
    target = [box(1, 1, 0), box(1, 2, 100)]
    prediction = [box(1, 5, 101), box(1, 6, 1), box(2, 5, 100)]
    kept, scored = keep_scored_boxes(target, [True, False], [1, CYCLIST], prediction)
    assert kept.tolist() == [target[0]]
    assert scored.tolist() == prediction[1:]


def test_a_box_that_fits_a_pedestrian_better_stays():
    target = [box(1, 1, 0), box(1, 2, 4)]
    kept, scored = keep_scored_boxes(target, [True, True], [1, CYCLIST], [box(1, 5, 1)])
    assert kept.tolist() == [target[0]]
    assert scored.tolist() == [box(1, 5, 1)]


@pytest.mark.parametrize("kind", [1, PARKED_CAR])
def test_a_box_on_what_does_not_count_is_a_false_alarm(kind):
    kept, scored = keep_scored_boxes([box(1, 1, 0)], [False], [kind], [box(1, 5, 0)])
    assert len(kept) == 0
    assert len(scored) == 1


def test_overlap_of_one_half_is_enough():
    target, shifted = [box(1, 1, 0)], [box(1, 5, 0, width=40)]
    assert len(keep_scored_boxes(target, [False], [CYCLIST], shifted)[1]) == 0
    wider = [box(1, 5, 0, width=40.1)]
    assert len(keep_scored_boxes(target, [False], [CYCLIST], wider)[1]) == 1


def test_benchmarks_differ():
    for benchmark, classes in {"MOT15": [], "MOT17": [CYCLIST], "MOT20": [CYCLIST, 6]}.items():
        for kind in (CYCLIST, PARKED_CAR, OTHER_VEHICLE):
            found = keep_scored_boxes([box(1, 1, 0)], [False], [kind], [box(1, 5, 0)], benchmark)
            assert len(found[1]) == (kind not in classes), (benchmark, kind)


def test_nothing_there():
    assert [len(rows) for rows in keep_scored_boxes([], [], [], [])] == [0, 0]
    assert [len(rows) for rows in keep_scored_boxes([], [], [], [box(1, 1, 0)])] == [0, 1]
    assert [len(rows) for rows in keep_scored_boxes([box(1, 1, 0)], [1], [7], [])] == [0, 0]


def test_errors():
    with pytest.raises(ValueError, match="expected one of MOT15, MOT16, MOT17, MOT20, got 'KITTI'"):
        keep_scored_boxes([], [], [], [], "KITTI")
    with pytest.raises(ValueError, match=r"a class for each of 1 true boxes, got \[1\] and \[2\]"):
        keep_scored_boxes([box(1, 1, 0)], [True], [1, 1], [])
