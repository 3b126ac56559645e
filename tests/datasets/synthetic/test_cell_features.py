"""Features made from the truth: shares, colors, and what propagation makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vdit.datasets.synthetic.cell_features import mean_colors, object_codes
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import annotate, render_frames
from vdit.metrics.davis import region_similarity
from vdit.propagation import PropagationSettings, stream_labels
from vdit.propagation.mask_labels import mask_from_labels, shares_from_mask

STRIDE = 2
SETTINGS = PropagationSettings.dino(8, 15, 10, 0.1)


def test_shares_of_the_objects():
    labels = np.array([[[0, 1, 2, 2, 9], [1, 1, 2, 2, 9]]])
    codes = object_codes(labels, 2, 2)
    np.testing.assert_array_equal(codes[0, :, 0], [[0.25, 0], [0.75, 0], [0, 1]])
    assert codes.dtype == np.float32


def test_colors_are_far_from_the_first_mean():
    frames = np.zeros((2, 2, 4, 3), np.uint8)
    frames[0, :, 2:] = 255
    frames[1, :, :, 1] = 255
    colors = mean_colors(frames, 2)
    np.testing.assert_allclose(colors[0, :, 0], np.full((3, 2), (-0.5, 0.5)))
    np.testing.assert_allclose(colors[1, :, 0, 0], (-0.5, 0.5, -0.5))


def test_too_large_a_stride():
    with pytest.raises(ValueError, match="expected a stride of at most 4 for frames of 4x9, got 5"):
        object_codes(np.zeros((1, 4, 9), np.int64), 5, 1)


@pytest.fixture(scope="module")
def balls():
    """Two equal balls that cross: frames and labels."""
    scene = make_scene("kubric-similar", 3, 8, 96, 96)
    return render_frames(scene), annotate(scene).instances


def carry(features, labels):
    """J [2] of both balls, mean over the frames after the first."""
    maps = torch.from_numpy(features)
    first = shares_from_mask(torch.from_numpy(labels[0].astype(np.int64)), maps.shape[-2:])
    masks = np.stack(
        [mask_from_labels(soft, labels.shape[1:]) for soft in stream_labels(maps, first, SETTINGS)]
    )
    region = [region_similarity(labels[1:] == k, masks == k).mean() for k in (1, 2)]
    union = region_similarity(labels[1:] > 0, masks > 0).mean()
    return np.array(region), union


def test_codes_tell_identical_balls_apart(balls):
    region, _ = carry(object_codes(balls[1], STRIDE, 2), balls[1])
    assert region.mean() > 0.95


@pytest.mark.parametrize("kind", ["colors", "one code"])
def test_appearance_does_not(balls, kind):
    """It finds the balls, but not which is which."""
    frames, labels = balls
    one = object_codes((labels > 0).astype(np.uint8), STRIDE, 1)
    region, union = carry(mean_colors(frames, STRIDE) if kind == "colors" else one, labels)
    assert union > 0.85
    assert 0.3 < region.mean() < 0.6
