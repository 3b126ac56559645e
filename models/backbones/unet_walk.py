"""Drive the UNets of diffusers layer by layer and tap them on the way.

A UNet's own forward always runs to the end. The families differ in what one layer holds (a
`UnetLayers`); the way through the layers and their skips is the same, and stops where the caller
stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.checkpointing import Run, run_now


class UnetLayers(Protocol):
    """How one layer of a family runs; holds what every layer needs beside its input."""

    def convolve(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        """Run the convolutions of layer `index` of a block on [N, C, h, w]."""

    def attend(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        """Run its attentions."""


class ImageLayers:
    """Layers of UNet2DConditionModel: a resnet and a spatial transformer.

    Args:
        time_embed: [N, C] embedding of the timestep.
        context: [N, L, C] prompt of every frame.
    """

    def __init__(self, time_embed: Tensor, context: Tensor) -> None:
        self.time_embed = time_embed
        self.context = context

    def convolve(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        return block.resnets[index](hidden, self.time_embed)

    def attend(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        return block.attentions[index](
            hidden, encoder_hidden_states=self.context, return_dict=False
        )[0]


def walk_unet(
    unet: Any, entry: Tensor, layers: UnetLayers, run: Run = run_now
) -> Iterator[tuple[str, Tensor]]:
    """Yield (block name, [N, C, h, w]) as soon as each block is done.

    Names, in order: "in" (`entry`), "down0".. (after the block's downsampler), "mid", "up0"..
    (after the block's upsampler). A caller that stops iterating stops the network. Sizes that are
    no multiple of the network's total stride are upsampled to the size of the matching skip.

    Args:
        unet: a UNet with `down_blocks`, `mid_block` and `up_blocks`.
        entry: [N, C, h, w] what enters the first block.
        layers: how one layer runs.
        run: calls each layer.
    """
    hidden = entry
    yield "in", hidden

    skips = [hidden]
    for i, block in enumerate(unet.down_blocks):
        for index in range(len(block.resnets)):
            hidden = run(_layer, layers, block, index, hidden)
            skips.append(hidden)
        if block.downsamplers is not None:
            hidden = run(block.downsamplers[0], hidden)
            skips.append(hidden)
        yield f"down{i}", hidden

    hidden = run(layers.convolve, unet.mid_block, 0, hidden)
    for index in range(len(unet.mid_block.attentions)):
        hidden = run(layers.attend, unet.mid_block, index, hidden)
        hidden = run(layers.convolve, unet.mid_block, index + 1, hidden)
    yield "mid", hidden

    for i, block in enumerate(unet.up_blocks):
        for index in range(len(block.resnets)):
            hidden = run(_layer, layers, block, index, torch.cat([hidden, skips.pop()], dim=1))
        if block.upsamplers is not None:
            height, width = hidden.shape[-2:]
            target = skips[-1].shape[-2:]
            exact = target == (2 * height, 2 * width)
            hidden = run(block.upsamplers[0], hidden, None if exact else target)
        yield f"up{i}", hidden


def _layer(layers: UnetLayers, block: Any, index: int, hidden: Tensor) -> Tensor:
    hidden = layers.convolve(block, index, hidden)
    return layers.attend(block, index, hidden) if hasattr(block, "attentions") else hidden


def unet_modules(unet: Any, entrance: Sequence[nn.Module]) -> dict[str, list[nn.Module]]:
    """Give the modules of each block that `walk_unet` yields, as `Backbone.block_modules`.

    Args:
        unet: a UNet with `down_blocks`, `mid_block` and `up_blocks`.
        entrance: what runs in front of the first block.
    """
    down = {f"down{i}": [block] for i, block in enumerate(unet.down_blocks)}
    up = {f"up{i}": [block] for i, block in enumerate(unet.up_blocks)}
    return {"in": list(entrance), **down, "mid": [unet.mid_block], **up}


def unet_blocks(widths: Sequence[int], stride: int) -> dict[str, BlockInfo]:
    """Tell the channels and strides of the blocks that `walk_unet` yields.

    Args:
        widths: `block_out_channels` of the UNet.
        stride: pixels that one cell of the latents spans.
    """
    last = len(widths) - 1
    table = {"in": BlockInfo(widths[0], stride)}
    for i, width in enumerate(widths):
        table[f"down{i}"] = BlockInfo(width, stride * 2 ** min(i + 1, last))
    table["mid"] = BlockInfo(widths[-1], stride * 2**last)
    for i, width in enumerate(reversed(widths)):
        table[f"up{i}"] = BlockInfo(width, stride * 2 ** max(last - i - 1, 0))
    return table
