"""Drive diffusers' UNet3DConditionModel layer by layer and tap it on the way.

The model's own forward repeats one prompt over all frames, always runs to the end and, for a single
frame, runs temporal layers that the released VD-IT skips. Calling the same layers ourselves
gives per-frame prompts, early stop and the one-frame rule without changing a weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class _Pass:
    """One pass through the network: what every layer needs beside its input."""

    def __init__(self, num_frames: int, time_embed: Tensor, context: Tensor) -> None:
        self.num_frames = num_frames
        self.time_embed = time_embed
        self.context = context

    @property
    def is_temporal(self) -> bool:
        """A single frame skips every temporal layer but the first of the middle block."""
        return self.num_frames > 1

    def cell(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        """Resnet, temporal convolution, spatial and temporal attention of one layer."""
        hidden = block.resnets[index](hidden, self.time_embed)
        if self.is_temporal:
            hidden = block.temp_convs[index](hidden, num_frames=self.num_frames)
        if hasattr(block, "attentions"):
            hidden = self.attend(block, index, hidden)
        return hidden

    def attend(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        attention = block.attentions[index]
        hidden = attention(hidden, encoder_hidden_states=self.context, return_dict=False)[0]
        if self.is_temporal:
            hidden = block.temp_attentions[index](
                hidden, num_frames=self.num_frames, return_dict=False
            )[0]
        return hidden

    def middle(self, block: Any, hidden: Tensor) -> Tensor:
        hidden = block.resnets[0](hidden, self.time_embed)
        hidden = block.temp_convs[0](hidden, num_frames=self.num_frames)
        for index in range(len(block.attentions)):
            hidden = self.attend(block, index, hidden)
            hidden = block.resnets[index + 1](hidden, self.time_embed)
            if self.is_temporal:
                hidden = block.temp_convs[index + 1](hidden, num_frames=self.num_frames)
        return hidden


def walk_unet3d(
    unet: Any, sample: Tensor, timestep: int, context: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Yield (block name, [B * T, C, h, w]) as soon as each block is done.

    Names, in order: "in" (after `conv_in` and the first temporal transformer), "down0".. (after
    the block's downsampler), "mid", "up0".. (after the block's upsampler). A caller that stops
    iterating stops the network. Sizes that are no multiple of the network's total stride are
    upsampled to the size of the matching skip.

    Args:
        unet: a UNet3DConditionModel.
        sample: [B, T, C, h, w] noisy latents.
        timestep: 0..num_train_timesteps - 1.
        context: [B * T, L, C] prompt of every frame, clip-major.
    """
    B, T = sample.shape[:2]
    time = torch.full((B,), timestep, dtype=torch.long, device=sample.device)
    time_embed = unet.time_embedding(unet.time_proj(time).to(sample.dtype))
    run = _Pass(T, time_embed.repeat_interleave(T, dim=0), context)

    hidden = unet.conv_in(sample.flatten(0, 1))
    if run.is_temporal:
        hidden = unet.transformer_in(hidden, num_frames=T, return_dict=False)[0]
    yield "in", hidden

    skips = [hidden]
    for i, block in enumerate(unet.down_blocks):
        for index in range(len(block.resnets)):
            hidden = run.cell(block, index, hidden)
            skips.append(hidden)
        if block.downsamplers is not None:
            hidden = block.downsamplers[0](hidden)
            skips.append(hidden)
        yield f"down{i}", hidden

    hidden = run.middle(unet.mid_block, hidden)
    yield "mid", hidden

    for i, block in enumerate(unet.up_blocks):
        for index in range(len(block.resnets)):
            hidden = run.cell(block, index, torch.cat([hidden, skips.pop()], dim=1))
        if block.upsamplers is not None:
            height, width = hidden.shape[-2:]
            target = skips[-1].shape[-2:]
            exact = target == (2 * height, 2 * width)
            hidden = block.upsamplers[0](hidden, None if exact else target)
        yield f"up{i}", hidden


def collect(walk: Iterator[tuple[str, Tensor]], blocks: Sequence[str]) -> dict[str, Tensor]:
    """Run a walk until every wanted block was seen and keep those."""
    wanted = set(blocks)
    found: dict[str, Tensor] = {}
    if not wanted:
        return found
    for name, hidden in walk:
        if name in wanted:
            found[name] = hidden
            if len(found) == len(wanted):
                break
    return found
