"""Drive diffusers' UNet3DConditionModel layer by layer and tap it on the way.

The model's own forward repeats one prompt over all frames, always runs to the end and, for a single
frame, runs temporal layers that the released VD-IT skips. Calling the same layers ourselves
gives per-frame prompts, early stop, the one-frame rule and a stem that prompts share, without
changing a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vdit.models.backbones.checkpointing import Run, run_now

CELLS_PER_PASS = 4096
"""Cells that a layer takes at once where frames, or cells, do not see each other; bounds memory.
Wide layers inside of a block would otherwise hold several times the maps between blocks."""


@dataclass
class Stem:
    """What the network computes of N = B * T frames before it meets a prompt.

    Prompts of one video share it. It ends inside the first layer, after the self-attention.

    Attributes:
        num_frames: T.
        time_embed: [N, C] embedding of the timestep.
        entry: [N, C, h, w] after `conv_in` and the first temporal transformer.
        first: the first layer, half done.
    """

    num_frames: int
    time_embed: Tensor
    entry: Tensor
    first: HalfLayer


class HalfLayer(NamedTuple):
    """One layer up to its first cross-attention.

    Attributes:
        hidden: [N, C, h, w] after resnet and temporal convolution.
        tokens: [N, h * w, C] after the self-attention; None = a layer without attention.
    """

    hidden: Tensor
    tokens: Tensor | None


class _Pass:
    """One pass through the network: what every layer needs beside its input."""

    def __init__(self, num_frames: int, time_embed: Tensor, run: Run) -> None:
        self.num_frames = num_frames
        self.time_embed = time_embed
        self.run = run

    @property
    def is_temporal(self) -> bool:
        """A single frame skips every temporal layer but the first of the middle block."""
        return self.num_frames > 1

    def layer(self, block: Any, index: int, hidden: Tensor, context: Tensor) -> Tensor:
        """Resnet, temporal convolution, spatial and temporal attention of one layer."""
        return self.finish(block, index, self.begin(block, index, hidden), context)

    def begin(self, block: Any, index: int, hidden: Tensor) -> HalfLayer:
        """Run a layer as far as it goes without the prompt."""
        hidden = self.convolve(block, index, hidden)
        if not hasattr(block, "attentions"):
            return HalfLayer(hidden, None)
        return HalfLayer(hidden, self._attend_to_self(block.attentions[index], hidden))

    def finish(self, block: Any, index: int, half: HalfLayer, context: Tensor) -> Tensor:
        """Run the rest of a layer, with the prompt [N, L, D] of every frame."""
        if half.tokens is None:
            return half.hidden
        hidden = in_parts(
            partial(attend_to_prompt, block.attentions[index]),
            frames_at_once(half.hidden),
            half.hidden,
            half.tokens,
            context,
        )
        if self.is_temporal:
            hidden = attend_over_time(block.temp_attentions[index], hidden, self.num_frames)
        return hidden

    def convolve(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        hidden = self._convolve_frames(block, index, hidden)
        if self.is_temporal:
            hidden = block.temp_convs[index](hidden, num_frames=self.num_frames)
        return hidden

    def middle(self, block: Any, hidden: Tensor, context: Tensor) -> Tensor:
        hidden = self.run(self._middle_entry, block, hidden)
        for index in range(len(block.attentions)):
            hidden = self.run(self._middle_layer, block, index, hidden, context)
        return hidden

    def _middle_entry(self, block: Any, hidden: Tensor) -> Tensor:
        hidden = self._convolve_frames(block, 0, hidden)
        return block.temp_convs[0](hidden, num_frames=self.num_frames)

    def _middle_layer(self, block: Any, index: int, hidden: Tensor, context: Tensor) -> Tensor:
        half = HalfLayer(hidden, self._attend_to_self(block.attentions[index], hidden))
        hidden = self.finish(block, index, half, context)
        return self.convolve(block, index + 1, hidden)

    def _convolve_frames(self, block: Any, index: int, hidden: Tensor) -> Tensor:
        return in_parts(block.resnets[index], frames_at_once(hidden), hidden, self.time_embed)

    def _attend_to_self(self, attention: Any, hidden: Tensor) -> Tensor:
        return in_parts(partial(attend_to_self, attention), frames_at_once(hidden), hidden)


def in_parts(layer: Callable[..., Tensor], size: int, *inputs: Tensor) -> Tensor:
    """Run a layer on `size` rows at a time; rows of its inputs do not see each other in it.

    Args:
        layer: takes the inputs, each [n, ...], and gives [n, ...].
        size: rows of a part.
        inputs: each [N, ...].
    """
    if len(inputs[0]) <= size:
        return layer(*inputs)
    parts = zip(*(each.split(size) for each in inputs), strict=True)
    return torch.cat([layer(*part) for part in parts])


def frames_at_once(hidden: Tensor) -> int:
    """Give how many frames of the size of `hidden`, [N, C, h, w], a layer takes at once."""
    return max(1, CELLS_PER_PASS // hidden.shape[-2:].numel())


def attend_to_self(attention: Any, hidden: Tensor) -> Tensor:
    """First half of a spatial transformer: [N, C, h, w] -> tokens [N, h * w, C]."""
    (block,) = attention.transformer_blocks
    tokens = attention.proj_in(attention.norm(hidden).flatten(2).transpose(1, 2).contiguous())
    return block.attn1(block.norm1(tokens)) + tokens


def attend_to_prompt(attention: Any, hidden: Tensor, tokens: Tensor, context: Tensor) -> Tensor:
    """Second half: cross-attention and feed-forward of the tokens, added to `hidden`."""
    (block,) = attention.transformer_blocks
    tokens = block.attn2(block.norm2(tokens), encoder_hidden_states=context) + tokens
    tokens = block.ff(block.norm3(tokens)) + tokens
    return attention.proj_out(tokens).transpose(1, 2).reshape(hidden.shape) + hidden


def attend_over_time(attention: Any, hidden: Tensor, num_frames: int) -> Tensor:
    """Temporal transformer: every cell [N, C, h, w] attends to itself in the other frames.

    The module's own forward hands its linear layer a permuted view, for which torch copies the
    weight once a cell on a CPU: that took half of the network's time.
    """
    clips = hidden.unflatten(0, (-1, num_frames))
    B, T, _, h, w = clips.shape
    cells = attention.norm(clips.transpose(1, 2)).permute(0, 3, 4, 2, 1).flatten(0, 2).contiguous()

    def transform(cells: Tensor) -> Tensor:
        cells = attention.proj_in(cells)
        for block in attention.transformer_blocks:
            cells = block(cells)
        return attention.proj_out(cells)

    cells = in_parts(transform, max(1, CELLS_PER_PASS // T), cells)
    moved = cells.view(B, h, w, T, -1).permute(0, 3, 4, 1, 2)
    return moved.reshape(hidden.shape) + hidden


def run_stem(unet: Any, sample: Tensor, timestep: int | Tensor, run: Run = run_now) -> Stem:
    """Run the part of a UNet3DConditionModel that no prompt reaches.

    Args:
        unet: a UNet3DConditionModel.
        sample: [B, T, C, h, w] noisy latents.
        timestep: 0..num_train_timesteps - 1, of all clips or of each [B].
        run: calls each layer.
    """
    B, T = sample.shape[:2]
    time = torch.as_tensor(timestep, device=sample.device).expand(B)
    time_embed = unet.time_embedding(unet.time_proj(time).to(sample.dtype))
    steps = _Pass(T, time_embed.repeat_interleave(T, dim=0), run)
    entry = unet.conv_in(sample.flatten(0, 1))
    if steps.is_temporal:
        entry = run(attend_over_time, unet.transformer_in, entry, T)
    return Stem(T, steps.time_embed, entry, run(steps.begin, unet.down_blocks[0], 0, entry))


def walk_unet3d(
    unet: Any, stem: Stem, context: Tensor, run: Run = run_now
) -> Iterator[tuple[str, Tensor]]:
    """Yield (block name, [B * T, C, h, w]) as soon as each block is done.

    Names, in order: "in" (after `conv_in` and the first temporal transformer), "down0".. (after
    the block's downsampler), "mid", "up0".. (after the block's upsampler). A caller that stops
    iterating stops the network. Sizes that are no multiple of the network's total stride are
    upsampled to the size of the matching skip.

    Args:
        unet: a UNet3DConditionModel.
        stem: what `run_stem` computed.
        context: [B * T, L, C] prompt of every frame, clip-major.
        run: calls each layer.
    """
    steps = _Pass(stem.num_frames, stem.time_embed, run)
    hidden = stem.entry
    yield "in", hidden

    skips = [hidden]
    for i, block in enumerate(unet.down_blocks):
        for index in range(len(block.resnets)):
            if i == index == 0:
                hidden = run(steps.finish, block, index, stem.first, context)
            else:
                hidden = run(steps.layer, block, index, hidden, context)
            skips.append(hidden)
        if block.downsamplers is not None:
            hidden = run(block.downsamplers[0], hidden)
            skips.append(hidden)
        yield f"down{i}", hidden

    hidden = steps.middle(unet.mid_block, hidden, context)
    yield "mid", hidden

    for i, block in enumerate(unet.up_blocks):
        for index in range(len(block.resnets)):
            hidden = run(
                steps.layer, block, index, torch.cat([hidden, skips.pop()], dim=1), context
            )
        if block.upsamplers is not None:
            height, width = hidden.shape[-2:]
            target = skips[-1].shape[-2:]
            exact = target == (2 * height, 2 * width)
            upsample = partial(block.upsamplers[0], output_size=None if exact else target)
            hidden = run(partial(in_parts, upsample, frames_at_once(hidden)), hidden)
        yield f"up{i}", hidden


def denoise(
    unet: Any, sample: Tensor, timesteps: Tensor, context: Tensor, run: Run = run_now
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the whole network, a single frame without temporal layers, and keep every block.

    Args:
        unet: a UNet3DConditionModel.
        sample: [B, T, C, h, w] noisy latents.
        timesteps: [B] of the schedule.
        context: [B * T, L, D] prompt of every frame, clip-major.
        run: calls each layer.

    Returns:
        prediction of the shape of `sample`, and block -> [B * T, C', h', w'].
    """
    found = dict(walk_unet3d(unet, run_stem(unet, sample, timesteps, run), context, run))
    hidden = unet.conv_act(unet.conv_norm_out(found[f"up{len(unet.up_blocks) - 1}"]))
    return unet.conv_out(hidden).unflatten(0, sample.shape[:2]), found


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
