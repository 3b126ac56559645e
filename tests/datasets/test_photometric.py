"""Changes of color: against the way through hue, saturation and value, ranges, overflow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets import slow_transforms
from vdit.datasets.photometric import ColorDraw, ColorOptions, apply_color, draw_color


def planes_of(seed, height=19, width=23):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (3, height, width), dtype=np.uint8)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equal_to_the_way_through_hue_but_for_rounding(seed):
    draw = draw_color(np.random.default_rng(seed), ColorOptions())
    planes = planes_of(seed)
    expected, exact = slow_transforms.distort(planes.transpose(1, 2, 0), draw)
    found = apply_color(planes, draw).transpose(1, 2, 0)
    differs = found != expected
    is_near_a_level = np.abs(exact - np.rint(exact)) < 1e-3
    assert is_near_a_level[differs].all()
    distance = (found[differs].astype(int) - expected[differs]) % 256
    assert np.isin(distance, [1, 255]).all()


def test_bright_colors_wrap_around_or_are_clipped():
    planes = np.full((3, 1, 1), 250, dtype=np.uint8)
    draw = ColorDraw(contrast=1.2)
    assert apply_color(planes, draw).ravel().tolist() == [300 - 256] * 3
    assert apply_color(planes, draw, "clip").ravel().tolist() == [255] * 3


def test_dark_channels_wrap_around_or_are_clipped():
    planes = np.array([200, 0, 20], dtype=np.uint8).reshape(3, 1, 1)
    draw = ColorDraw(saturation=1.2)
    assert apply_color(planes, draw).ravel().tolist() == [200, 256 - 40, 256 - 16]
    assert apply_color(planes, draw, "clip").ravel().tolist() == [200, 0, 0]


def test_brightness_is_clipped_before_contrast():
    planes = np.array([250, 100, 10], dtype=np.uint8).reshape(3, 1, 1)
    draw = ColorDraw(brightness=20.0, contrast=0.8)
    assert apply_color(planes, draw).ravel().tolist() == [204, 96, 24]
    draw = ColorDraw(brightness=-20.0, contrast=0.8, contrast_first=False)
    assert apply_color(planes, draw).ravel().tolist() == [184, 64, 0]


def test_contrast_and_saturation_take_their_order():
    """Both are linear, so that the order only tells where the truth is rounded."""
    planes = planes_of(1)
    first = apply_color(planes, ColorDraw(contrast=0.9, saturation=0.9))
    last = apply_color(planes, ColorDraw(contrast=0.9, saturation=0.9, contrast_first=False))
    assert np.abs(first.astype(int) - last).max() <= 1


def test_channels_change_places():
    planes = planes_of(2)
    found = apply_color(planes, ColorDraw(order=(2, 0, 1)))
    np.testing.assert_array_equal(found, planes[[2, 0, 1]])


def test_nothing_drawn_is_nothing_done():
    planes = planes_of(3)
    np.testing.assert_array_equal(apply_color(planes, ColorDraw()), planes)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_gray_stays_gray(level, seed):
    draw = draw_color(np.random.default_rng(seed), ColorOptions())
    found = apply_color(np.full((3, 2, 2), level, dtype=np.uint8), draw).astype(int)
    assert np.ptp(found) <= 1


def test_draws_have_the_released_ranges_and_rates():
    rng = np.random.default_rng(0)
    draws = [draw_color(rng, ColorOptions()) for _ in range(4000)]
    brightness = [draw.brightness for draw in draws if draw.brightness is not None]
    contrast = [draw.contrast for draw in draws if draw.contrast != 1]
    saturation = [draw.saturation for draw in draws if draw.saturation != 1]
    for values, low, high in (
        (brightness, -32, 32),
        (contrast, 0.8, 1.2),
        (saturation, 0.8, 1.2),
    ):
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high >= max(values) > high - 0.02 * (high - low)
        assert len(values) / len(draws) == pytest.approx(0.5, abs=0.03)
    shuffled = sum(draw.order != (0, 1, 2) for draw in draws)
    assert shuffled / len(draws) == pytest.approx(0.2 * 5 / 6, abs=0.02)
    assert len({draw.order for draw in draws}) == 6
    assert sum(draw.contrast_first for draw in draws) / len(draws) == pytest.approx(0.5, abs=0.03)
