"""The readout of single pixels: places, frames apart, learning."""

import pytest
import torch
from torch.nn import functional as F

from tests.models.probes.learning import clips, overfit, silent_parameters
from vdit.models.probes.pixel_readout import PixelReadout, pixel_centers
from vdit.models.probes.query_transformer import QueryTransformerConfig

SIZES = QueryTransformerConfig(channels=16, width=32, num_layers=2, num_heads=4, mlp_width=48)


def test_shape_and_gradients():
    torch.manual_seed(0)
    head = PixelReadout(SIZES)
    output = head(clips(batch=3), pixel_centers(4, 6))
    assert output.shape == (3, 2, 24, 1)
    assert silent_parameters(head, output) == []


def test_pixels_may_be_asked_for_in_any_order_and_in_parts():
    torch.manual_seed(0)
    head, features, pixels = PixelReadout(SIZES), clips(batch=2), pixel_centers(4, 6)
    whole, order = head(features, pixels), torch.randperm(24)
    torch.testing.assert_close(head(features, pixels[order]), whole[:, :, order])
    torch.testing.assert_close(head(features, pixels[5:9]), whole[:, :, 5:9])


def test_frames_do_not_see_each_other():
    torch.manual_seed(0)
    head, features, pixels = PixelReadout(SIZES), clips(batch=2, steps=4), pixel_centers(4, 6)
    torch.testing.assert_close(head(features[1:, 2:3], pixels), head(features, pixels)[1:, 2:3])


def test_centers_of_pixels():
    expected = [
        [0.25, 1 / 6],
        [0.75, 1 / 6],
        [0.25, 0.5],
        [0.75, 0.5],
        [0.25, 5 / 6],
        [0.75, 5 / 6],
    ]
    torch.testing.assert_close(pixel_centers(3, 2), torch.tensor(expected))


def test_depth_overfits():
    torch.manual_seed(0)
    head, features, pixels = PixelReadout(SIZES), clips(batch=2), pixel_centers(4, 6)
    depth = torch.rand(2, 2, 24, 1)
    overfit(head, lambda: F.l1_loss(head(features, pixels), depth), steps=150, rate=5e-3)
    assert (head(features, pixels) - depth).abs().mean() < 0.05


def test_wrong_pixels_are_refused():
    with pytest.raises(ValueError, match=r"expected pixels \[Q, 2\]"):
        PixelReadout(SIZES)(clips(), torch.rand(12, 5, 2))
