"""Jumps at window borders: found where windows hand over, and nowhere else."""

import numpy as np
import pytest

from vdit.evaluation.window_borders import border_steps, mean_jumps


def test_steps_into_through_and_out_of_the_shared_frames():
    steps = border_steps(num_frames=10, window=6, overlap=2)
    # windows 0..5 and 4..9 share frames 4 and 5
    assert np.flatnonzero(steps).tolist() == [3, 4, 5]


def test_one_window_has_no_border():
    assert not border_steps(num_frames=6, window=6, overlap=2).any()


def test_windows_without_shared_frames():
    assert np.flatnonzero(border_steps(9, window=3, overlap=0)).tolist() == [2, 5]


def test_a_jump_counts_on_its_side():
    ious = np.full(10, 0.9)
    ious[5:] = 0.3
    assert mean_jumps([ious], 6, 2) == pytest.approx((0.6 / 3, 0.0))
    ious = np.full(10, 0.9)
    ious[2:] = 0.3
    assert mean_jumps([ious], 6, 2) == pytest.approx((0.0, 0.6 / 6))


def test_short_videos_are_refused():
    with pytest.raises(ValueError, match="longer than a window of 6 frames, got 5"):
        mean_jumps([np.zeros(5)], 6, 2)
