"""How frames become the image tower's input."""

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vdit.models.image_encoder import (
    clip_pixel_values,
    imagenet_round_trip,
    shared_cells,
    to_uint8,
)


@pytest.mark.parametrize("size", [(58, 90), (90, 58), (64, 64), (30, 200)])
def test_equal_to_the_pil_processor(size, generator):
    frames = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=generator)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    expected = processor(images=list(frames.numpy()), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(clip_pixel_values(frames, 56).numpy(), expected, atol=3e-6)


def test_truncation_loses_a_grey_level_on_some_pixels():
    grey = torch.arange(256, dtype=torch.float32).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    video = imagenet_round_trip(grey / 255)
    torch.testing.assert_close(video, grey / 255)
    truncated = to_uint8(video, "truncate").float()
    lost = (grey - truncated).unique().tolist()
    assert lost == [0.0, 1.0]
    assert torch.equal(to_uint8(video, "nearest").float(), grey)


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
