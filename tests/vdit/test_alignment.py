"""Alignment of maps with cells, and the denoiser that gives the maps."""

import numpy as np
import pytest
import torch
from diffusers import UNet3DConditionModel

from vdit.models.backbones.unet3d import denoise
from vdit.stages.alignment import CellAlignment, NameAlignment


def test_maps_that_hold_the_cells_can_be_aligned():
    torch.manual_seed(0)
    cells = torch.randn(4, 8, 6, 6)
    turn = torch.randn(8, 8, 1, 1)
    maps = {
        "fine": torch.nn.functional.conv2d(cells, turn),
        "coarse": torch.nn.functional.adaptive_avg_pool2d(cells, 3) + 7,
    }
    aligned = CellAlignment({"fine": 8, "coarse": 8}, 8)
    optimizer = torch.optim.Adam(aligned.parameters(), 1e-2)
    assert aligned(maps, cells) > 0.8
    for _ in range(800):
        optimizer.zero_grad()
        loss = aligned(maps, cells)
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    assert aligned(maps, cells.flip(0)) > 0.8
    torch.testing.assert_close(aligned(maps, 3 * cells + 5), loss.detach(), atol=1e-3, rtol=0)


def test_cells_weigh_as_far_as_they_are_from_the_mean():
    torch.manual_seed(0)
    cells = 0.01 * torch.randn(4, 8, 12, 12)
    cells[:, :, 3:5, 3:5] += torch.randn(4, 8, 1, 1)
    aligned = CellAlignment({"up": 8}, 8)
    torch.nn.init.dirac_(aligned.projections["up"].weight)
    torch.nn.init.zeros_(aligned.projections["up"].bias)
    std, mean = torch.std_mean(cells, dim=(0, 2, 3), keepdim=True)
    maps = (cells - mean) / std
    assert float(aligned({"up": maps}, cells).detach()) == pytest.approx(0, abs=1e-5)
    without = maps.clone()
    without[:, :, 3:5, 3:5] *= -1
    reach = maps.norm(dim=1)
    share = float(reach[:, 3:5, 3:5].sum() / reach.sum())
    assert share > 5 * 4 / 144
    assert float(aligned({"up": without}, cells).detach()) == pytest.approx(2 * share, abs=1e-4)


def names_of_one_channel(block):
    aligned = NameAlignment({block: 1})
    torch.nn.init.ones_(aligned.projections[block].weight)
    torch.nn.init.zeros_(aligned.projections[block].bias)
    return aligned


def test_a_map_that_marks_what_is_named_is_right():
    named = torch.zeros(2, 6, 6)
    named[0, 2, 3] = 1
    named[1, 4, 4] = 0.5
    aligned = names_of_one_channel("up")
    found = 40.0 * (named[:, None] > 0)
    assert float(aligned({"up": found}, named).detach()) == pytest.approx(0, abs=1e-6)
    assert float(aligned({"up": 0 * found}, named).detach()) == pytest.approx(np.log(36))
    elsewhere = found.roll(1, dims=2)
    assert float(aligned({"up": elsewhere}, named).detach()) == pytest.approx(40)
    weak = torch.cat([found[:1], elsewhere[1:]])  # half as much named: half the weight
    assert float(aligned({"up": weak}, named).detach()) == pytest.approx(40 / 3)


def test_a_coarse_cell_is_named_as_those_below_it():
    named = torch.zeros(1, 6, 6)
    named[0, 2, 3] = named[0, 3, 3] = named[0, 5, 0] = 1
    found = torch.full((1, 1, 3, 3), -50.0)
    found[0, 0, 1, 1], found[0, 0, 2, 0] = np.log(2), 0
    entropy = np.log(3) - 2 / 3 * np.log(2)
    loss = names_of_one_channel("coarse")({"coarse": found}, named)
    assert float(loss.detach()) == pytest.approx(entropy, rel=1e-5)


def test_where_nothing_is_named_there_is_nothing_to_learn():
    found = torch.randn(2, 1, 6, 6, requires_grad=True)
    loss = names_of_one_channel("up")({"up": found}, torch.zeros(2, 6, 6))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(found.grad.abs().max()) == 0


@pytest.mark.parametrize("num_frames", [1, 3])
def test_denoising_is_the_networks_own_forward(num_frames):
    torch.manual_seed(0)
    unet = UNet3DConditionModel(
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        norm_num_groups=8,
        attention_head_dim=8,
        cross_attention_dim=24,
        layers_per_block=1,
    ).eval()
    if num_frames > 1:  # else temporal layers are skipped, and fresh temporal convolutions add 0
        for name, value in unet.named_parameters():
            if "temp_convs" in name:
                torch.nn.init.normal_(value, std=0.05)
    sample, text = torch.randn(2, num_frames, 4, 8, 8), torch.randn(2, 5, 24)
    levels = torch.tensor([3, 11])
    with torch.no_grad():
        found, maps = denoise(unet, sample, levels, text.repeat_interleave(num_frames, dim=0))
        wanted = unet(sample.transpose(1, 2), levels, text).sample.transpose(1, 2)
    assert found.shape == sample.shape
    assert maps["up1"].shape == (2 * num_frames, 16, 8, 8)
    if num_frames > 1:
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)
    else:
        assert not torch.allclose(found, wanted, atol=1e-3)
