"""Backbones of the released sizes with random weights, for measurements and tests."""

from __future__ import annotations

import torch

from vdit.backbone_loading import random_diffusion, random_encoders
from vdit.backbone_loading.families import BACKBONES
from vdit.models.backbones.base import Backbone

BUILDERS = random_diffusion.BUILDERS | random_encoders.BUILDERS
"""Name -> function that builds it; the same names as `families.BACKBONES`."""


def random_backbone(
    name: str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Backbone:
    """Build a frozen backbone of the released size, with its default options, without any file.

    Times, memory and counts do not depend on weights; features do. Parts that `build_backbone`
    keeps in float32 are in float32 here. A network that is told a fixed prompt gets random states
    of its size instead of an encoded sentence.

    Args:
        name: one of `vdit.backbone_loading.families.BACKBONES`.
        device: where it is made; on "meta" no memory is taken.
        dtype: of the weights.
        seed: of the weights.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in BUILDERS:
        raise ValueError(f"expected a backbone among {', '.join(BACKBONES)}; got {name!r}")
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)  # half the memory of a cast afterwards
        try:
            backbone = BUILDERS[name](device)
        finally:
            torch.set_default_dtype(before)
    precise = {id(each) for each in _kept_in_float32(backbone, BACKBONES[name])}
    for module in backbone.modules():
        _cast(module, torch.float32 if id(module) in precise else dtype)
    backbone.freeze()
    return backbone.to(device)


def _kept_in_float32(backbone: Backbone, family: str) -> list[torch.nn.Module]:
    """List the modules whose weights the family's loader reads in float32 whatever the dtype."""
    if family not in ("svd", "sd3", "wan", "open_sora", "walt"):
        return []
    return list(backbone.get_submodule("vae").modules())


def _cast(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Cast a module's own parameters and running statistics; tables stay as they were made."""
    for parameter in module.parameters(recurse=False):
        parameter.data = parameter.data.to(dtype)
    if isinstance(module, torch.nn.BatchNorm2d):
        module.to(dtype)
