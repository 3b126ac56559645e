"""Layers that take a few cells at once give what they give on all."""

import copy

import pytest
import torch

from vdit.build import build_backbone
from vdit.models.backbones import unet3d
from vdit.models.backbones.unet3d import frames_at_once, in_parts


@pytest.fixture(scope="module")
def backbone():
    return copy.deepcopy(build_backbone("mini")).double()


def test_rows_come_back_in_order():
    sizes = []

    def layer(rows, factors):
        sizes.append(len(rows))
        return rows * factors[:, None]

    rows, factors = torch.arange(14.0).view(7, 2), torch.arange(7.0)
    assert torch.equal(in_parts(layer, 3, rows, factors), rows * factors[:, None])
    assert sizes == [3, 3, 1]
    in_parts(layer, 7, rows, factors)
    assert sizes[3:] == [7]


def test_a_part_has_at_least_one_frame():
    assert frames_at_once(torch.empty(9, 1, 32, 32)) == 4
    assert frames_at_once(torch.empty(9, 1, 64, 112)) == 1


@pytest.mark.parametrize("num_cells", [1, 70])
def test_parts_equal_the_whole(backbone, generator, monkeypatch, num_cells):
    """At 70 cells, a part is two frames of the finest level, whose 5 frames it does not divide."""
    video = torch.rand(2, 5, 3, 32, 64, generator=generator, dtype=torch.float64)
    encoded = backbone.encode(video)
    text = torch.randn(2, 5, 7, backbone.text_dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(encoded.latent_mean.shape, generator=generator)
    blocks = list(backbone.blocks)
    options = {"blocks": blocks, "timestep": 15, "text": text, "noise": noise}
    parts, upsamplings = [], []
    with torch.no_grad():
        whole = backbone.extract(encoded, **options)
        monkeypatch.setattr(unet3d, "CELLS_PER_PASS", num_cells)
        resnet = backbone.unet.down_blocks[0].resnets[0]
        upsampler = backbone.unet.up_blocks[0].upsamplers[0]
        handles = [
            module.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(len(args[0])))
            for module, seen in ((resnet, parts), (upsampler, upsamplings))
        ]
        found = backbone.extract(encoded, **options)
    for handle in handles:
        handle.remove()
    assert parts == ([1] * 10 if num_cells == 1 else [2] * 5)
    assert sum(upsamplings) == 10
    for name in blocks:
        torch.testing.assert_close(found[name], whole[name], rtol=1e-9, atol=1e-9)


def test_gradients_pass_through_parts(backbone, generator, monkeypatch):
    monkeypatch.setattr(unet3d, "CELLS_PER_PASS", 8)
    video = torch.rand(1, 3, 3, 32, 32, generator=generator, dtype=torch.float64)
    text = torch.randn(1, 3, backbone.text_dim, generator=generator, dtype=torch.float64)
    text.requires_grad_()
    found = backbone.extract(video, blocks=["up1"], timestep=15, text=text)["up1"]
    found.square().sum().backward()
    assert text.grad.abs().sum(dim=(0, 2)).gt(0).all()


def test_maps_of_the_vae_are_kept_only_where_they_are_wanted(backbone, generator):
    video = torch.rand(1, 3, 3, 32, 32, generator=generator, dtype=torch.float64)
    assert list(backbone.encode(video).skips) == [4]
    alone = backbone.extract(video, blocks=["in"])
    both = backbone.extract(video, blocks=["vae4", "in"])
    assert torch.equal(alone["in"], both["in"])
    assert both["vae4"].shape[1] == 3
