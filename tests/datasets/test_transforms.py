"""Transforms of clips: against the steps one by one, and what they must keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.datasets import slow_transforms
from vdit.datasets.clip_recipe import AugmentationOptions, picture_augmentation
from vdit.datasets.transforms import (
    GeometryDraw,
    Window,
    draw_geometry,
    flip_boxes,
    nearest_indices,
    swap_sides,
    transform_boxes,
    transform_masks,
    transform_picture,
)
from vdit.frame_sizes import output_size

SEEDS = st.integers(0, 2**32 - 1)
SMALL = AugmentationOptions(
    short_sides=[30, 41, 56],
    max_side=80,
    crop_short_sides=[50, 63],
    crop_smallest=33,
    crop_largest=70,
)


def noise(rng, height, width):
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(20, 150), st.integers(20, 150), st.booleans())
def test_steps_at_once_equal_steps_one_by_one(seed, height, width, flip_first):
    rng = np.random.default_rng(seed)
    draw = draw_geometry(rng, (height, width), SMALL, flip_first)
    picture = noise(rng, height, width)
    expected = np.asarray(slow_transforms.transform_picture(picture, draw))
    np.testing.assert_array_equal(np.asarray(transform_picture(picture, draw)), expected)
    masks = rng.random((2, height, width)) < 0.5
    found = transform_masks(masks, draw)
    np.testing.assert_array_equal(found, slow_transforms.transform_masks(masks, draw))
    assert found.shape[1:] == expected.shape[:2] == draw.size


@pytest.mark.parametrize("seed", range(4))
def test_released_sizes_of_a_real_frame(seed):
    rng = np.random.default_rng(seed)
    options = AugmentationOptions(crop_probability=1.0)
    draw = draw_geometry(rng, (720, 1280), options)
    picture = noise(rng, 720, 1280)
    expected = np.asarray(slow_transforms.transform_picture(picture, draw))
    np.testing.assert_array_equal(np.asarray(transform_picture(picture, draw)), expected)


@given(st.integers(1, 900), st.integers(1, 900))
def test_nearest_is_that_of_torch(length, new_length):
    row = torch.arange(length, dtype=torch.float32)[None, None]
    expected = F.interpolate(row, new_length, mode="nearest")[0, 0].numpy()
    np.testing.assert_array_equal(nearest_indices(length, new_length), expected)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 800))
def test_short_side_and_aspect(height, width, short_side):
    new_height, new_width = output_size((height, width), short_side)
    assert min(new_height, new_width) == short_side
    ratio = max(height, width) / min(height, width)
    assert ratio * short_side - 1 <= max(new_height, new_width) <= ratio * short_side + 1


@settings(max_examples=300, deadline=None)
@given(SEEDS, st.sampled_from([AugmentationOptions(), picture_augmentation()]))
def test_draws_stay_within_the_released_ranges(seed, options):
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(100, 1100)), int(rng.integers(100, 1100)))
    draw = draw_geometry(rng, size, options)
    if draw.window is None:
        assert draw.size in [output_size(size, s, options.max_side) for s in options.short_sides]
        return
    window = draw.window
    assert min(draw.crop_size) in (400, 500, 600)
    for start, length, side in (
        (window.top, window.height, draw.crop_size[0]),
        (window.left, window.width, draw.crop_size[1]),
    ):
        assert 384 <= length <= 600
        assert 0 <= start <= side - length
    assert max(draw.size) <= 640 + 3


def test_all_sizes_and_both_ways_are_drawn():
    rng = np.random.default_rng(0)
    draws = [draw_geometry(rng, (720, 1280), AugmentationOptions()) for _ in range(400)]
    cropped = [draw for draw in draws if draw.window]
    assert 150 < len(cropped) < 250
    assert 150 < sum(draw.flip for draw in draws) < 250
    assert {min(draw.crop_size) for draw in cropped} == {400, 500, 600}
    whole = {draw.size for draw in draws if not draw.window}
    assert whole == {output_size((720, 1280), s, 640) for s in AugmentationOptions().short_sides}


# ---- boxes ---------------------------------------------------------------------------------------


def boxes_of(masks):
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return np.array(boxes, dtype=np.float32)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.booleans())
def test_boxes_follow_rectangles(seed, flip_first):
    """A full rectangle keeps its box through crops, up to the rounding of the pixels."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((1, 90, 120), dtype=bool)
    top, left = rng.integers(0, 40, 2)
    masks[0, top : top + 45, left : left + 70] = True
    draw = draw_geometry(rng, (90, 120), SMALL, flip_first)
    boxes, valid = transform_boxes(boxes_of(masks), np.array([True]), (90, 120), draw)
    final = transform_masks(masks, draw)
    assert valid.tolist() == [True]
    np.testing.assert_allclose(boxes, boxes_of(final), atol=3.0)


def test_objects_that_are_cut_off_are_no_longer_valid():
    draw = GeometryDraw((40, 40), (80, 80), Window(40, 0, 40, 40))
    boxes = np.array([[0, 0, 30, 40], [0, 30, 30, 41]], dtype=np.float32)
    found, valid = transform_boxes(boxes, np.array([True, True]), (80, 80), draw)
    assert valid.tolist() == [False, True]
    assert found.tolist() == [[0, 0, 0, 0], [0, 0, 30, 1]]


def test_absent_boxes_of_mirror_images():
    """Mirrored at the end, zeros become (width, 0, width, 0); before the check, they stay zero."""
    boxes, valid = np.zeros((1, 4), dtype=np.float32), np.array([False])
    late = GeometryDraw((50, 60), flip=True)
    found, is_valid = transform_boxes(boxes, valid, (50, 60), late)
    assert found.tolist() == [[60, 0, 60, 0]]
    assert not is_valid[0]
    early = GeometryDraw((50, 60), flip=True, flip_first=True)
    assert transform_boxes(boxes, valid, (50, 60), early)[0].tolist() == [[0, 0, 0, 0]]


def test_mirror_twice_is_nothing():
    boxes = np.array([[3, 4, 10, 20]], dtype=np.float32)
    assert flip_boxes(flip_boxes(boxes, 64), 64).tolist() == boxes.tolist()


# ---- sentences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caption", "letters", "words"),
    [
        ("the left dog on the right", "the right dog on the left", "the right dog on the left"),
        ("a bright light", "a bleft light", "a bright light"),
        ("standing upright", "standing upleft", "standing upright"),
        ("the leftmost one", "the rightmost one", "the rightmost one"),
        ("on the left-hand side", "on the right-hand side", "on the right-hand side"),
        ("moving rightwards", "moving leftwards", "moving leftwards"),
        ("turning clockwise", "turning clockwise", "turning counterclockwise"),
        ("turning counter-clockwise", "turning counter-clockwise", "turning clockwise"),
        ("the copyright sign", "the copyleft sign", "the copyright sign"),
        ("a man who left", "a man who right", "a man who right"),
        ("the cat at the front", "the cat at the front", "the cat at the front"),
    ],
)
def test_sides(caption, letters, words):
    assert swap_sides(caption) == letters
    assert swap_sides(caption, "words") == words


# ---- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"short_sides": []}, "short_sides=.*at least one size"),
        ({"crop_smallest": 401}, "crop_smallest=401 exceeds"),
        ({"flip_probability": 1.5}, "flip_probability=1.5 is no probability"),
    ],
)
def test_options_out_of_range(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        AugmentationOptions(**change)
