"""Bytes that the backward pass keeps of a frozen full-size network, with and without checkpointing.

Gradients flow to the prompt and the noise, as where VD-IT is trained. The networks have no numbers
(torch's meta device): what autograd and checkpointing keep is counted, each piece of memory once,
beside the weights. Attention is counted as torch's fused kernels, which keep no scores; on the meta
device torch itself would keep them.

python benchmarks/kept_activations.py --json benchmarks/kept_activations.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from vdit.backbone_loading.random_weights import random_backbone
from vdit.benchmarking.facts import run_facts
from vdit.models.backbones.base import Backbone
from vdit.models.backbones.modelscope import ModelScopeBackbone

CASES = {
    "modelscope": ("down0", "up1", "up2"),
    "sd-2.1": ("up1", "up2"),
    "svd": ("up1", "up2"),
    "i2vgen-xl": ("up1", "up2"),
    "wan-2.1-1.3b": ("block20",),
}


class FusedAttention(torch.autograd.Function):
    """What fused kernels keep: queries, keys, values, the result, and a number a query."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = query.new_empty(*query.shape[:-1], value.shape[-1])
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, result, sums)
        return result


def fused_attention(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
    return FusedAttention.apply(query, key, value)


def tensors_in(value: object) -> list[Tensor]:
    """Tensors in nested tuples and lists."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for each in value for tensor in tensors_in(each)]
    return []


def kept_bytes(backbone: Backbone, blocks: tuple[str, ...], size: tuple[int, int, int]) -> int:
    """Count what one pass over a clip (frames, height, width) keeps for its backward pass."""
    frames, height, width = size
    with torch.no_grad():
        encoded = backbone.encode(torch.empty(1, frames, 3, height, width, device="meta"))
    dtype = next(backbone.parameters()).dtype
    text = torch.empty(1, 77, backbone.text_dim, device="meta", dtype=dtype, requires_grad=True)
    factor = torch.ones((), device="meta", requires_grad=True)
    weights = {each.untyped_storage()._cdata for each in backbone.parameters()}
    kept: dict[int, Tensor] = {}  # a tensor of each, so that no storage is freed and used again

    def keep(value: object) -> object:
        for tensor in tensors_in(value):
            kept[tensor.untyped_storage()._cdata] = tensor
        return value

    run = backbone.run

    def run_and_keep(layer, *inputs):
        return run(layer, *keep(inputs))

    if backbone.checkpointing:
        type(backbone).run = property(lambda self: run_and_keep)
    attention = patch("torch.nn.functional.scaled_dot_product_attention", fused_attention)
    with attention, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        backbone.extract(encoded, blocks=blocks, timestep=0, text=text, noise=lambda z: factor * z)
    if backbone.checkpointing:
        del type(backbone).run
    return sum(
        tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in weights
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--height", type=int, default=352)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--json", type=Path, help="file of the results")
    arguments = parser.parse_args()
    size = (arguments.frames, arguments.height, arguments.width)
    results = {}
    for name, blocks in CASES.items():
        backbone = random_backbone(name, device="meta", dtype=torch.bfloat16)
        if isinstance(backbone, ModelScopeBackbone):
            backbone.image_encoder = None
        plain = kept_bytes(backbone, blocks, size)
        backbone.use_checkpointing()
        again = kept_bytes(backbone, blocks, size)
        results[name] = {"blocks": blocks, "kept": plain, "checkpointing": again}
        print(f"{name}: {plain / 2**20:.0f} MiB, with checkpointing {again / 2**20:.0f} MiB")
    if arguments.json is not None:
        report = {**run_facts(), "size": size, "dtype": "bfloat16", "networks": results}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
