"""Alignment of maps with an image tower's tokens, and the denoiser that gives the maps."""

import pytest
import torch
from diffusers import UNet3DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from vdit.models.backbones.unet3d import denoise
from vdit.stages.alignment import TowerAlignment, shared_cells


@pytest.fixture
def tower():
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        image_size=12, patch_size=4, projection_dim=5,
    )  # fmt: skip
    return CLIPVisionModelWithProjection(config).eval()


def test_cells_keep_their_place(tower):
    tokens = torch.randn(2, 1 + 9, 8)
    changed = tokens.clone()
    changed[1, 1 + 5] += torch.randn(8)  # the sixth cell: second row, third column
    before, after = shared_cells(tower, tokens), shared_cells(tower, changed)
    assert before.shape == (2, 5, 3, 3)
    torch.testing.assert_close(before.norm(dim=1), torch.ones(2, 3, 3))
    differs = (before != after).any(dim=1)
    assert differs[1, 1, 2]
    assert differs.sum() == 1


def test_cells_are_those_of_the_towers_own_output(tower):
    with torch.no_grad():
        output = tower(pixel_values=torch.randn(1, 3, 12, 12))
    tokens = output.last_hidden_state
    first = torch.cat([tokens[:, :1], tokens[:, :1].expand(-1, 9, -1)], dim=1)
    whole = torch.nn.functional.normalize(output.image_embeds, dim=-1)
    torch.testing.assert_close(shared_cells(tower, first)[:, :, 0, 0], whole)


def test_maps_that_hold_the_cells_can_be_aligned():
    torch.manual_seed(0)
    cells = torch.randn(4, 8, 6, 6)
    turn = torch.randn(8, 8, 1, 1)
    maps = {
        "fine": torch.nn.functional.conv2d(cells, turn),
        "coarse": torch.nn.functional.adaptive_avg_pool2d(cells, 3) + 7,
    }
    aligned = TowerAlignment({"fine": 8, "coarse": 8}, 8)
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
