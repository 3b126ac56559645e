"""CLIP image tokens: the raw tokens of the vision tower, before its last norm."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Rounding = Literal["truncate", "nearest"]


def imagenet_round_trip(video: Tensor) -> Tensor:
    """Normalize with ImageNet statistics and undo it, in float32.

    The released pipeline does both; what the round trip loses decides which grey levels its
    truncation (`to_uint8`) drops.

    Args:
        video: [..., 3, H, W] in 0..1.
    """
    mean = video.new_tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = video.new_tensor(IMAGENET_STD).view(3, 1, 1)
    return ((video - mean) / std) * std + mean


def to_uint8(video: Tensor, rounding: Rounding) -> Tensor:
    """Turn [..., 3, H, W] in 0..1 into uint8.

    "truncate" computes trunc((2 x - 1 + 1) * 127.5) in float32 as the released code does, which
    is one grey level low on some pixels; "nearest" rounds.
    """
    if rounding == "truncate":
        return (((2 * video - 1) + 1) * 127.5).to(torch.int32).to(torch.uint8)
    return (video * 255).round().clamp(0, 255).to(torch.uint8)


def clip_pixel_values(frames: Tensor, size: int) -> Tensor:
    """Resize the short side bicubically, crop the center and normalize, frame by frame with PIL.

    Args:
        frames: [N, 3, H, W] uint8.
        size: side of the square input of the tower, pixels.

    Returns:
        [N, 3, size, size] float32 with CLIP's statistics. Within 3e-7 of the slow
        CLIPImageProcessor; resizing float tensors instead deviates by up to 0.015.
    """
    height, width = frames.shape[-2:]
    short, long = min(height, width), max(height, width)
    scaled_long = int(size * long / short)
    new_height, new_width = (size, scaled_long) if height <= width else (scaled_long, size)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    crops = []
    for frame in frames.permute(0, 2, 3, 1).cpu().numpy():
        resized = Image.fromarray(frame).resize((new_width, new_height), Image.Resampling.BICUBIC)
        crops.append(np.asarray(resized)[top : top + size, left : left + size])
    pixels = np.stack(crops).astype(np.float32) * np.float32(1 / 255)
    mean, std = np.array(CLIP_MEAN, dtype=np.float32), np.array(CLIP_STD, dtype=np.float32)
    pixels = (pixels - mean) / std
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(frames.device)


class ClipImageEncoder(nn.Module):
    """Give every frame the tokens of a CLIP vision tower.

    Args:
        model: a transformers CLIPVisionModelWithProjection.

    Shape:
        frames [N, 3, H, W] uint8 -> tokens [N, 1 + (size / patch)^2, C], class token first, taken
        before the tower's last norm.

    Reference: Zhu et al., VD-IT, ECCV 2024, Sec. 3.2; Radford et al., CLIP, ICML 2021.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.image_size: int = model.config.image_size
        self.dim: int = model.config.hidden_size

    def forward(self, frames: Tensor) -> Tensor:
        pixel_values = clip_pixel_values(frames, self.image_size)
        dtype = self.model.dtype
        return self.model.vision_model(pixel_values=pixel_values.to(dtype)).last_hidden_state


def shared_cells(image_encoder: Any, tokens: Tensor) -> Tensor:
    """Bring the cells of a CLIP image tower to the space of the sentences, at unit length.

    Args:
        image_encoder: transformers CLIPVisionModelWithProjection of square images.
        tokens: [N, 1 + S, C] its last hidden states.

    Returns:
        [N, D, side, side].
    """
    normed = image_encoder.vision_model.post_layernorm(tokens[:, 1:])
    cells = nn.functional.normalize(image_encoder.visual_projection(normed), dim=-1)
    side = round(cells.shape[1] ** 0.5)
    return cells.transpose(1, 2).unflatten(2, (side, side))
