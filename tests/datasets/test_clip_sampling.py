"""Which frames make a clip: the released draws with their duplicates, and the repaired ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.datasets.clip_sampling import choose_window, draw_frames


def draws(length, anchor, count, times=2000):
    rng = np.random.default_rng(0)
    return [draw_frames(rng, length, anchor, count) for _ in range(times)]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 12),
    st.sampled_from(["released", "distinct"]),
    st.data(),
)
def test_clips_have_their_length_and_their_anchor(seed, length, count, rule, data):
    anchor = data.draw(st.integers(0, length - 1))
    frames = draw_frames(np.random.default_rng(seed), length, anchor, count, rule)
    assert len(frames) == count
    assert anchor in frames
    assert frames == sorted(frames)
    assert 0 <= frames[0]
    assert frames[-1] < length
    if rule == "distinct" and length >= count:
        assert len(set(frames)) == count


def test_neighbors_are_one_to_three_frames_away():
    found = draws(length=100, anchor=50, count=3)
    assert {frames[1] for frames in found} == {50}
    assert {frames[0] for frames in found} == {47, 48, 49}
    assert {frames[2] for frames in found} == {51, 52, 53}
    assert all(n > 500 for n in Counter(frames[0] for frames in found).values())


def test_the_last_neighbor_can_be_drawn_again():
    found = draws(length=12, anchor=5, count=5)
    twice = [frame for frames in found for frame, n in Counter(frames).items() if n > 1]
    assert set(twice) == {6, 7, 8}
    for frames in found:
        inside = [f for f in frames if frames.count(f) == 1]
        assert len(inside) >= 3


def test_the_first_frame_comes_twice_around_itself():
    for frames in draws(length=20, anchor=0, count=5, times=100):
        assert frames.count(0) == 2


def test_others_come_from_outside_the_three():
    for frames in draws(length=30, anchor=15, count=5):
        before = [f for f in (12, 13, 14) if f in frames]
        after = [f for f in (16, 17, 18) if f in frames]
        assert before
        assert after
        others = Counter(frames) - Counter([max(before), 15, min(after)])
        assert all(f < max(before) or f >= min(after) for f in others)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_short_videos(length):
    for frames in draws(length=length, anchor=0, count=5, times=50):
        assert set(frames) <= set(range(length))
        if length == 2:
            assert set(frames) == {0, 1}


def test_one_frame_is_the_anchor():
    for seed in range(50):
        assert draw_frames(np.random.default_rng(seed), 9, 7, 1, reverse=0.3) == [7]


def test_clips_run_backwards_at_their_rate():
    rng = np.random.default_rng(1)
    found = [draw_frames(rng, 60, 30, 5, reverse=0.3) for _ in range(3000)]
    backwards = [frames for frames in found if frames == sorted(frames, reverse=True)]
    assert len(backwards) / len(found) == pytest.approx(0.3, abs=0.03)
    assert all(frames in (sorted(frames), sorted(frames, reverse=True)) for frames in found)


def test_windows():
    assert choose_window(20, 10, 5, centered=True) == [8, 9, 10, 11, 12]
    assert choose_window(20, 0, 5, centered=True) == [0, 0, 0, 1, 2]
    assert choose_window(4, 3, 5, centered=True) == [1, 2, 3, 3, 3]
    assert choose_window(20, 10, 4, centered=True) == [8, 9, 10, 11]
    assert choose_window(12, 10, 5, centered=False) == [10, 11, 11, 11, 11]


@pytest.mark.parametrize(("length", "anchor", "count"), [(5, 5, 3), (5, -1, 3), (5, 2, 0)])
def test_what_cannot_be_drawn(length, anchor, count):
    with pytest.raises(ValueError, match="anchor in a video of 5 frames"):
        draw_frames(np.random.default_rng(0), length, anchor, count)
