"""Alignment of maps with an image tower's tokens, and the denoiser that gives the maps."""

import pytest
import torch
from diffusers import UNet3DConditionModel

from vdit.models.backbones.unet3d import denoise
from vdit.stages.alignment import TowerAlignment, token_grid


def test_cells_keep_their_place():
    tokens = torch.zeros(2, 1 + 9, 4)
    tokens[1, 1 + 5] = 1.0  # the sixth cell: second row, third column
    grid = token_grid(tokens)
    assert grid.shape == (2, 4, 3, 3)
    assert grid[1, :, 1, 2].min() > 3
    assert (grid > 0).sum() == 4
    torch.testing.assert_close(grid.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)


def test_maps_that_hold_the_tokens_can_be_aligned():
    torch.manual_seed(0)
    tokens = torch.randn(4, 1 + 36, 8)
    cells = tokens[:, 1:].transpose(1, 2).unflatten(2, (6, 6))
    maps = {"fine": cells.clone(), "coarse": torch.nn.functional.adaptive_avg_pool2d(cells, 3)}
    aligned = TowerAlignment({"fine": 8, "coarse": 8}, 8, hidden_dim=64)
    optimizer = torch.optim.Adam(aligned.parameters(), 1e-2)
    assert aligned(maps, tokens) > 0.9
    for _ in range(200):
        optimizer.zero_grad()
        loss = aligned(maps, tokens)
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    assert aligned(maps, tokens.flip(0)) > 0.8


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
