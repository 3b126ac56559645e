"""How frames become the image tower's input."""

import numpy as np
import pytest
import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vdit.models.image_encoder import clip_pixel_values, imagenet_round_trip, to_uint8


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
