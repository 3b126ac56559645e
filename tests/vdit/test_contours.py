"""Masks as integers give the numbers of the definition, whatever the masks: bit for bit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from vdit.metrics import davis
from vdit.metrics.contours import boundary_map, contour_radius, draw_outlines, match_contours


def slow_scores(target, prediction, radius):
    """J and F of two masks [H, W], with whole maps and a disk as the structuring element."""
    union = (target | prediction).sum()
    region = (target & prediction).sum() / union if union else 1.0
    true, predicted = boundary_map(target), boundary_map(prediction)
    if not true.any() or not predicted.any():
        return region, float(true.any() == predicted.any())
    reach = math.floor(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = y**2 + x**2 <= radius**2
    precision = (predicted & ndimage.binary_dilation(true, disk)).sum() / predicted.sum()
    recall = (true & ndimage.binary_dilation(predicted, disk)).sum() / true.sum()
    total = precision + recall
    return region, 2 * precision * recall / total if total else 0.0


@st.composite
def masks_of_one_frame(draw, count):
    """Masks of one size: empty, full, a pixel, noise, and boxes that often touch the border."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    masks = []
    for _ in range(count):
        kind = draw(st.sampled_from(["empty", "full", "pixel", "box", "noise"]))
        mask = np.full((height, width), kind == "full")
        y = draw(st.integers(0, height - 1))
        x = draw(st.integers(0, width - 1))
        if kind == "pixel":
            mask[y, x] = True
        elif kind == "box":
            rows, columns = draw(st.integers(1, height)), draw(st.integers(1, width))
            mask[y : y + rows, x : x + columns] = True
        elif kind == "noise":
            rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
            mask = rng.random((height, width)) < draw(st.sampled_from([0.01, 0.3, 0.97]))
        masks.append(mask)
    return masks


@settings(max_examples=150, deadline=None)
@given(masks_of_one_frame(3), st.sampled_from([0.008, 0.1, 0.3, 1, 1.5, 2.9, 8, 9, 11, 17.5]))
def test_equals_whole_maps(masks, bound_th):
    target, prediction, void = (mask[None] for mask in masks)
    radius = contour_radius(*masks[0].shape, bound_th)
    for hidden in (None, void):
        kept = ~masks[2] if hidden is not None else np.ones_like(masks[2])
        expected = slow_scores(masks[0] & kept, masks[1] & kept, radius)
        region, contour = davis.region_and_contour(target, prediction, hidden, bound_th)
        assert (region[0], contour[0]) == expected
        assert davis.region_similarity(target, prediction, hidden)[0] == expected[0]
        assert davis.contour_accuracy(target, prediction, hidden, bound_th)[0] == expected[1]


@settings(max_examples=60, deadline=None)
@given(masks_of_one_frame(4), st.integers(0, 20))
def test_other_masks_of_the_frame_change_nothing(masks, radius):
    together = draw_outlines(masks, radius)
    for i, first in enumerate(masks):
        for j, second in enumerate(masks):
            alone = draw_outlines([first, second], radius)
            assert match_contours(together[i], together[j]) == match_contours(*alone)


@settings(max_examples=60, deadline=None)
@given(masks_of_one_frame(2), st.integers(0, 20), st.integers(0, 5), st.integers(0, 5))
def test_padding_around_a_frame_matters_only_at_its_border(masks, radius, rows, columns):
    """Away from the border, where a mask sits in the frame does not matter."""
    inner = [np.pad(mask, 1) for mask in masks]
    moved = [np.pad(mask, ((rows, 2), (columns, 3))) for mask in inner]
    assert match_contours(*draw_outlines(inner, radius)) == match_contours(
        *draw_outlines(moved, radius)
    )


@pytest.mark.parametrize("radius", [0, 1, 1.5, 2, 2.9, 4.5, 8, 9, 10, 11, 12, 18, 25.3])
def test_disk_around_one_pixel(radius):
    """A mask in the first corner has one contour pixel, so that no neighbor hides a hole."""
    corner = np.zeros((30, 30), dtype=bool)
    corner[0, 0] = True
    y, x = np.mgrid[:30, :30]
    everything = (y + x) % 2 == 0  # all but the last pixel are contour
    dot, dots = draw_outlines([corner, everything], radius)
    assert dot.length == 1
    assert (dot.near & dots.contour).bit_count() == (y**2 + x**2 <= radius**2).sum()


@pytest.mark.parametrize("shape", [(480, 854), (30, 2000), (200, 1090)])
def test_real_sizes(shape):
    rng = np.random.default_rng(5)
    noise = ndimage.gaussian_filter(rng.standard_normal((2, *shape)), (0, 9, 9))
    target, prediction = noise[0] > 0, 0.8 * noise[0] + 0.2 * noise[1] > 0
    radius = contour_radius(*shape, 0.008)
    expected = slow_scores(target, prediction, radius)
    assert 0.3 < expected[1] < 1
    region, contour = davis.region_and_contour(target[None], prediction[None])
    assert (region[0], contour[0]) == expected
