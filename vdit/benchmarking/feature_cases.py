"""What `vdit bench features` measures of each backbone: its block, its clip, its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vdit.backbone_loading.families import BACKBONES, FAMILIES
from vdit.backbone_loading.random_weights import random_backbone

YARDSTICK = "dinov2-l"
PAPER_ROWS = {
    "dinov2-l": (1.0, 1.0),
    "vjepa-l": (1.1, 1.7),
    "sd-2.1": (1.8, 1.1),
    "sd3-medium": (4.6, 3.3),
    "modelscope": (8.3, 2.0),
    "svd-xt": (2.7, 2.1),
}
"""Memory and time over those of DINOv2, as "Video diffusion models learn the structure of the
dynamic world" prints them in Table 5: a batch [6, 256, 256] on one A100, 2.6 GB and 0.224 s. It
does not say which SD and which SVD."""
DENSE_BLOCKS = {
    **dict.fromkeys(("mini", "modelscope", "stable_diffusion", "svd", "i2vgen"), "up2"),
    "sd3": "block24",
    "open_sora": "block24",
    "wan": "block20",
    "walt": "block16",
    "adm": "out7",
    "resnet": "layer3",
    "mobilenet_v2": "features13",
    "vit": "last",
    "vjepa": "last",
    "vjepa2": "last",
    "video_swin": "last",
}
"""Family -> the block that the papers take for dense tasks. Of Wan, which none of them has, it is
that at two thirds of the depth; of convolutional networks the last one at stride 16."""
OTHER_BLOCKS = {"adm-512": "out10", "walt-xl": "block19"}
"""Exceptions: where the larger ADM has the channels and the stride of the smaller one's block, and
two thirds of the depth of the larger WALT."""
UNCONDITIONAL = frozenset({"resnet", "mobilenet_v2", "vit", "vjepa", "vjepa2", "video_swin"})
"""Families whose networks are told no noise level."""
READS_PIXELS_WITH_PIL = frozenset({"mini"})
"""Names whose image tower needs real frames; they are small enough to be run."""
TIMESTEP = 15
"""A level that every schedule has; costs do not depend on it."""
PROMPT_TOKENS = 77


@dataclass(frozen=True)
class FeatureCase:
    """One clip through one backbone, up to one block."""

    name: str
    block: str
    num_frames: int
    height: int
    width: int


def one_of_every_family() -> list[str]:
    """Name the first backbone of each family, or the one that the paper has."""
    return [next((n for n in names if n in PAPER_ROWS), names[0]) for names in FAMILIES.values()]


def make_case(name: str, num_frames: int, height: int, width: int) -> FeatureCase:
    """Choose the papers' block, and the longest clip up to `num_frames` that the network takes.

    Raises:
        ValueError: the name is unknown.
    """
    backbone: Any = random_backbone(name, device="meta")
    block = OTHER_BLOCKS.get(name, DENSE_BLOCKS[BACKBONES[name]])
    return FeatureCase(name, block, fitting_length(backbone, num_frames), height, width)


def fitting_length(backbone: Any, num_frames: int) -> int:
    """Give the longest clip up to `num_frames` that a network takes, or its shortest clip."""
    offset, multiple = backbone.frame_offset, backbone.frame_multiple
    shortest = offset if offset else multiple
    return max(shortest, offset + (num_frames - offset) // multiple * multiple)


def make_inputs(
    case: FeatureCase, backbone: Any, device: str
) -> tuple[Tensor, dict[str, Tensor | int]]:
    """Give the video [1, T, 3, H, W], and the options of `extract` beside the blocks.

    A prompt counts as encoded: it is that of all clips. Noise is drawn by the backbone.
    """
    shape = (1, case.num_frames, 3, case.height, case.width)
    options: dict[str, Tensor | int] = {}
    if BACKBONES[case.name] not in UNCONDITIONAL:
        options["timestep"] = TIMESTEP
    if hasattr(backbone, "encode_text"):
        options["text"] = torch.zeros(1, PROMPT_TOKENS, backbone.text_dim, device=device)
    return torch.rand(shape, device=device), options
