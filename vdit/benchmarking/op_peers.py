"""Implementations of multi-scale deformable attention that are installed here."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from vdit.benchmarking.op_cases import Inputs
from vdit.ops import ms_deform_attn
from vdit.ops.ms_deform_attn_reference import ms_deform_attn_reference

Peer = Callable[[Inputs], Tensor]
IM2COL_STEP = 64


def find_peers(device: str) -> dict[str, Peer]:
    """Give every implementation by name; "vdit" comes first.

    "reference" is ours by grid_sample, level after level; "transformers" is the one that everybody
    falls back to, which stacks what it sampled of all levels. `torch-ms-deform-attn` and mmcv keep
    Deformable-DETR's kernels; they are there if installed.
    """
    peers: dict[str, Peer] = {
        "vdit": lambda x: ms_deform_attn(x.value, x.shapes, x.locations, x.weights),
        "reference": reference,
        "compiled-reference": torch.compile(reference),
        "transformers": _of_transformers(device),
    }
    package = _import("torch_ms_deform_attn")
    if package is not None:
        peers["torch-ms-deform-attn"] = _with_tensors(package.ms_deform_attn, device)
    mmcv = _import("mmcv.ops")
    if mmcv is not None:
        function = mmcv.multi_scale_deform_attn.MultiScaleDeformableAttnFunction
        peers["mmcv"] = _with_tensors(function.apply, device)
    return peers


def peer_versions() -> dict[str, str]:
    """Give the versions of the packages that were found."""
    versions = {}
    for name in ("torch-ms-deform-attn", "mmcv", "transformers"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def reference(inputs: Inputs) -> Tensor:
    """Compute by grid_sample."""
    return ms_deform_attn_reference(inputs.value, inputs.shapes, inputs.locations, inputs.weights)


def _of_transformers(device: str) -> Peer:
    from transformers.models.deformable_detr import modeling_deformable_detr

    layer = modeling_deformable_detr.MultiScaleDeformableAttention()

    def call(inputs: Inputs) -> Tensor:
        shapes = torch.tensor(inputs.shapes, device=device)
        arguments = (inputs.shapes, None, inputs.locations, inputs.weights, IM2COL_STEP)
        return layer(inputs.value, shapes, *arguments)

    return call


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _with_tensors(function: Callable[..., Tensor], device: str) -> Peer:
    """Call with the five tensors of Deformable-DETR; the integers are made once per case."""
    made: dict[tuple[tuple[int, int], ...], tuple[Tensor, Tensor]] = {}

    def call(inputs: Inputs) -> Tensor:
        key = tuple(inputs.shapes)
        if key not in made:
            starts = list(accumulate((h * w for h, w in key[:-1]), initial=0))
            made[key] = (torch.tensor(key, device=device), torch.tensor(starts, device=device))
        return function(inputs.value, *made[key], inputs.locations, inputs.weights, IM2COL_STEP)

    return call
