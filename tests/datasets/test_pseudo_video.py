"""Videos of one picture: what views show, masks that go with them, ranges of the draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, center_of_mass

from vdit.datasets.pseudo_video import (
    PseudoVideoOptions,
    ViewDraw,
    blur_kernel,
    draw_view,
    make_pseudo_video,
    make_view,
)

H, W = 60, 90
BACKGROUND, OBJECT = (100, 100, 100), (200, 60, 60)


def square(top=20, left=30, side=20):
    mask = np.zeros((H, W), dtype=bool)
    mask[top : top + side, left : left + side] = True
    picture = np.where(mask[..., None], OBJECT, BACKGROUND).astype(np.uint8)
    return Image.fromarray(picture), mask


def test_no_change_is_no_change():
    picture, mask = square()
    view, seen = make_view(picture, mask, ViewDraw())
    np.testing.assert_array_equal(np.asarray(view), np.asarray(picture))
    np.testing.assert_array_equal(seen, mask)


def test_a_shift_is_in_fractions_of_the_sides():
    picture, mask = square()
    view, seen = make_view(picture, mask, ViewDraw(shift=0.1))
    np.testing.assert_array_equal(seen, square(top=26, left=39)[1])
    np.testing.assert_array_equal(np.asarray(view)[6:, 9:], np.asarray(picture)[:-6, :-9])
    assert not np.asarray(view)[:6].any()
    assert not np.asarray(view)[:, :9].any()


def test_a_turn_is_clockwise_about_the_center():
    _, mask = square(top=25, left=70, side=10)  # to the right of the center
    picture = Image.fromarray(np.full((H, W, 3), 100, dtype=np.uint8))
    view, seen = make_view(picture, mask, ViewDraw(angle=20.0))
    y, x = center_of_mass(seen)
    radius, turn = 75 - 45, np.deg2rad(20)
    assert (x + 0.5 - 45, y + 0.5 - 30) == pytest.approx(
        (radius * np.cos(turn), radius * np.sin(turn)), abs=0.6
    )
    assert np.asarray(view)[0, 0].tolist() == [0, 0, 0]  # outside of the picture


def test_corners_move_inwards():
    """A view from half the width on shows the right half only, at the full size."""
    picture, mask = square(top=0, left=45, side=60)
    corners = ((0.5, 0.0), (0.0, 0.0), (0.0, 0.0), (0.5, 0.0))
    view, seen = make_view(picture, mask, ViewDraw(corners=corners))
    assert seen[:, 1:].all()
    assert (np.asarray(view)[:, 2:] == OBJECT).all()


@pytest.mark.parametrize(
    ("corner", "place"), [(0, (0, 0)), (1, (0, W - 1)), (2, (H - 1, W - 1)), (3, (H - 1, 0))]
)
def test_each_corner_shows_its_own_point(corner, place):
    gradient = np.zeros((H, W, 3), dtype=np.uint8)
    gradient[..., 0] = np.arange(W) * 2
    gradient[..., 1] = np.arange(H)[:, None] * 4
    distances = [(0.0, 0.0)] * 4
    distances[corner] = (0.2, 0.1)
    view, _ = make_view(
        Image.fromarray(gradient), np.ones((H, W), bool), ViewDraw(corners=tuple(distances))
    )
    y, x = place
    red = 2 * (x + 0.2 * W * (1 if x == 0 else -1))
    green = 4 * (y + 0.1 * H * (1 if y == 0 else -1))
    assert np.asarray(view)[y, x, :2].tolist() == pytest.approx([red, green], abs=4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_objects_stay_inside_their_masks(seed):
    rng = np.random.default_rng(seed)
    options = PseudoVideoOptions(blur_probability=0.0)
    picture, mask = square(*rng.integers(0, 40, 2))
    pictures, masks = make_pseudo_video(rng, picture, mask, 4, options)
    for view, seen in zip(pictures, masks, strict=True):
        pixels = np.asarray(view).astype(int)
        is_object = pixels.max(axis=-1) - pixels.min(axis=-1) > 60
        assert is_object[binary_erosion(seen, iterations=2)].all()
        assert not is_object[~binary_dilation(seen, iterations=2)].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
@example(seed=100682)
@example(seed=17508)
def test_both_steps_at_once_equal_one_after_the_other(seed):
    """The picture seen from its side, then moved: the same places, interpolated twice."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W]
    smooth = np.stack([60 + 2 * x, 40 + 3 * y, 250 - x - y], axis=-1).astype(np.uint8)
    mask = square(*rng.integers(0, 40, 2))[1]
    drawn = draw_view(rng, PseudoVideoOptions(blur_probability=0.0))
    draw = ViewDraw(corners=drawn.corners, angle=drawn.angle, shift=drawn.shift)
    first, first_mask = make_view(Image.fromarray(smooth), mask, ViewDraw(corners=draw.corners))
    still = ViewDraw(angle=draw.angle, shift=draw.shift)
    expected, expected_mask = make_view(first, first_mask, still)
    found, found_mask = make_view(Image.fromarray(smooth), mask, draw)
    differs = found_mask != expected_mask  # the nearest pixel is taken twice or once
    assert not (differs & binary_erosion(expected_mask, iterations=3)).any()
    assert not (differs & ~binary_dilation(expected_mask, iterations=3)).any()
    expected, found = np.asarray(expected).astype(int), np.asarray(found).astype(int)
    inside = binary_erosion(expected.any(axis=-1), iterations=2)
    assert np.abs(found - expected)[inside].max() <= 3
    outside = binary_erosion(~expected.any(axis=-1), iterations=3)  # a sharp corner may end farther
    assert not found[outside].any()


def test_one_frame_is_the_picture_anywhere():
    picture, mask = square()
    places = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        pictures, masks = make_pseudo_video(rng, picture, mask, 5, PseudoVideoOptions())
        same = [each is picture for each in pictures]
        assert sum(same) == 1
        assert masks.shape == (5, H, W)
        places.append(same.index(True))
        np.testing.assert_array_equal(masks[places[-1]], mask)
    assert set(places) == set(range(5))


def test_brightness_is_clipped():
    picture = Image.fromarray(np.full((4, 4, 3), 240, dtype=np.uint8))
    view, _ = make_view(picture, np.ones((4, 4), bool), ViewDraw(brightness=40))
    assert np.asarray(view).min() == 255
    view, _ = make_view(picture, np.ones((4, 4), bool), ViewDraw(brightness=-40))
    assert np.asarray(view).max() == 200


def test_hue_turns_and_saturation_grows():
    picture = Image.fromarray(np.full((4, 4, 3), (200, 100, 100), dtype=np.uint8))
    view, _ = make_view(picture, np.ones((4, 4), bool), ViewDraw(hue_saturation=5))
    red, green, blue = np.asarray(view)[0, 0].tolist()
    assert red == 200
    assert green > blue  # from red towards yellow
    assert blue < 100


@pytest.mark.parametrize("size", [9, 11])
@pytest.mark.parametrize("direction", [-1.0, 0.0, 0.4])
@pytest.mark.parametrize("angle", [0.0, 37.0, 90.0, 200.0])
def test_blur_spreads_along_a_line(size, direction, angle):
    kernel = blur_kernel(ViewDraw(blur_size=size, blur_direction=direction, blur_angle=angle))
    assert kernel.shape == (size, size)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert (kernel >= 0).all()
    if angle % 90 == 0:
        assert (kernel > 1e-3).sum() <= size
    if angle == 0.0:
        line = kernel[:, size // 2]
        assert np.sign(line[0] - line[-1]).round() == np.sign(round(direction, 6))


def test_blur_keeps_flat_areas_and_the_size():
    flat = Image.fromarray(np.full((H, W, 3), 77, dtype=np.uint8))
    draw = ViewDraw(blur_size=11, blur_angle=30.0)
    view, _ = make_view(flat, np.ones((H, W), bool), draw)
    assert (np.asarray(view) == 77).all()
    picture, mask = square()
    blurred, seen = make_view(picture, mask, draw)
    np.testing.assert_array_equal(seen, mask)
    assert blurred.size == picture.size
    assert np.asarray(blurred).std() < np.asarray(picture).std()


def test_draws_have_the_released_ranges_and_rates():
    rng = np.random.default_rng(0)
    draws = [draw_view(rng, PseudoVideoOptions()) for _ in range(4000)]
    corners = np.array([draw.corners for draw in draws])
    assert 0 <= corners.min() < corners.max() < 0.5
    assert corners.mean() == pytest.approx(0.08 * np.sqrt(2 / np.pi), rel=0.05)
    angles = [draw.angle for draw in draws]
    shifts = [draw.shift for draw in draws]
    assert -20 <= min(angles) < -19.8 < 19.8 < max(angles) <= 20
    assert -0.1 <= min(shifts) < -0.099 < 0.099 < max(shifts) <= 0.1
    brightness = [draw.brightness for draw in draws]
    hues = [draw.hue_saturation for draw in draws]
    assert (min(brightness), max(brightness)) == (-40, 40)
    assert (min(hues), max(hues)) == (-5, 5)
    # One of the two changes half of the time, both the other half; 0 is drawn now and then.
    assert brightness.count(0) / len(draws) == pytest.approx(0.25 + 0.75 / 81, abs=0.03)
    assert hues.count(0) / len(draws) == pytest.approx(0.25 + 0.75 / 11, abs=0.03)
    sizes = [draw.blur_size for draw in draws]
    assert sizes.count(0) / len(draws) == pytest.approx(0.75, abs=0.03)
    assert sizes.count(9) == pytest.approx(sizes.count(11), rel=0.2)


def test_thin_pictures():
    options = PseudoVideoOptions()
    assert options.is_too_thin((199, 640))
    assert options.is_too_thin((640, 199))
    assert options.is_too_thin((398, 1280))
    assert not options.is_too_thin((200, 640))
