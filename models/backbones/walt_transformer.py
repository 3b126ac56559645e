"""WALT: a transformer on video latents whose layers attend in windows of space or space and time.

Axes: B clips, T latent frames, h x w cells, C channels of the latents, D of the network, L tokens
of a prompt.

Reference: Gupta et al., Photorealistic Video Generation with Diffusion Models (W.A.L.T), ECCV 2024;
Velez et al., From Image to Video: An Empirical Study of Diffusion Representations, 2025, for the
image variant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdit.models.backbones.checkpointing import Run, run_now
from vdit.models.backbones.walt_blocks import (
    FullModulation,
    LowRankModulation,
    WaltBlock,
    normalized,
    spread,
)
from vdit.models.backbones.walt_windows import Window

TIME_FEATURES = 256


@dataclass(frozen=True)
class WaltConfig:
    """Sizes of a WALT.

    Attributes:
        width: D.
        depth: layers; the even ones, counted from 1, span space and time.
        heads: of every attention.
        latent_channels: C.
        frames: latent frames of a clip, all of which are in one window of space and time.
        space_window: rows and columns of the windows of one frame.
        spacetime_window: rows and columns of the windows of all frames.
        sees_other_frames: False = I-WALT: every window is one of a single frame, and every frame
            passes for a picture of its own. The parameters are the same.
        text_dim: channels of the prompt; None = no prompt.
        text_length: tokens of the null prompt, which is learned.
        num_classes: classes that the network can be told; None = none. The null class is learned.
        lora_rank: rank of what each layer adds to the modulation of the first; None = every layer
            has a full modulation.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    latent_channels: int = 8
    frames: int = 5
    space_window: tuple[int, int] = (16, 16)
    spacetime_window: tuple[int, int] = (8, 8)
    sees_other_frames: bool = True
    text_dim: int | None = None
    text_length: int = 32
    num_classes: int | None = None
    lora_rank: int | None = 2

    def window(self, layer: int) -> Window:
        """Give the window of a layer, counted from 0."""
        if self.sees_other_frames and layer % 2:
            return Window(self.frames, *self.spacetime_window)
        return Window(1, *self.space_window)

    def as_image_model(self) -> WaltConfig:
        """Replace every window of space and time by one of space."""
        return replace(self, sees_other_frames=False)


WALT_TINY = WaltConfig(
    width=128,
    depth=12,
    heads=4,
    space_window=(12, 12),
    spacetime_window=(6, 6),
    text_dim=64,
)
WALT_L = WaltConfig(num_classes=1000)
WALT_XL = replace(WALT_L, width=1152, depth=28)
SIZES = {"tiny": WALT_TINY, "L": WALT_L, "XL": WALT_XL}
"""Published sizes, which are told a class, and one that two cores can train."""


class Positions(nn.Module):
    """Learned embeddings of a cell's place in the frame and of its frame, added up."""

    def __init__(self, config: WaltConfig) -> None:
        super().__init__()
        self.space = nn.Parameter(0.02 * torch.randn(*config.space_window, config.width))
        self.time = nn.Parameter(0.02 * torch.randn(config.frames, config.width))

    def forward(self, size: tuple[int, int, int], images: Sequence[bool]) -> Tensor:
        """Give [B, T, h, w, D]; on another grid places are interpolated, pictures are at time 0."""
        T, h, w = size
        space: Tensor = self.space
        if space.shape[:2] != (h, w):
            planes = space.permute(2, 0, 1)[None].float()
            planes = F.interpolate(planes, size=(h, w), mode="bilinear", align_corners=False)
            space = planes[0].permute(1, 2, 0).to(space.dtype)
        clip, first = self.time[:T], self.time[:1].expand(T, -1)
        time = torch.stack([first if is_image else clip for is_image in images])
        return space[None, None] + time[:, :, None, None]


class TimeEmbedding(nn.Module):
    """Sinusoids of the noise level, then two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, levels: Tensor) -> Tensor:
        """Embed levels [B, T] as [B, T, D]."""
        half = TIME_FEATURES // 2
        places = torch.arange(half, device=levels.device, dtype=torch.float32)
        angles = levels.float()[..., None] * torch.exp(-math.log(10_000) * places / half)
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.layers(waves.to(next(self.layers.parameters()).dtype))


class PromptProjection(nn.Module):
    """Prompts in the width of the network; the null prompt is learned."""

    def __init__(self, text_dim: int, length: int, width: int) -> None:
        super().__init__()
        self.null = nn.Parameter(0.02 * torch.randn(length, text_dim))
        self.project = nn.Linear(text_dim, width)

    def forward(self, text: Tensor | None, has_text: Sequence[bool] | None, B: int) -> Tensor:
        """Project [B, L, text_dim]; rows without a prompt, and None, get the null prompt."""
        null = self.null.expand(B, -1, -1)
        if text is None:
            return self.project(null)
        text = text.to(self.null.dtype)
        if has_text is not None:
            known = torch.tensor(list(has_text), device=text.device)[:, None, None]
            text = torch.where(known, text, null)
        return self.project(text)


class Walt(nn.Module):
    """The network; all sizes are in the configuration.

    Args:
        config: sizes.
    """

    def __init__(self, config: WaltConfig) -> None:
        super().__init__()
        self.config = config
        width, channels = config.width, config.latent_channels
        self.patch = nn.Linear(2 * channels, width)
        self.positions = Positions(config)
        self.time_embedding = TimeEmbedding(width)
        if config.num_classes is not None:
            self.classes = nn.Embedding(config.num_classes + 1, width)
            nn.init.normal_(self.classes.weight, std=0.02)
        if config.text_dim is not None:
            self.prompt = PromptProjection(config.text_dim, config.text_length, width)
        self.modulation = FullModulation(width)
        self.added_modulations = nn.ModuleList(self._added(i) for i in range(1, config.depth))
        largest = Window(config.frames, *config.space_window)
        self.blocks = nn.ModuleList(
            WaltBlock(width, config.heads, config.window(i), largest, config.text_dim is not None)
            for i in range(config.depth)
        )
        self.last_modulation = FullModulation(width, 2)
        self.head = nn.Linear(width, channels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def _added(self, layer: int) -> nn.Module:
        rank = self.config.lora_rank
        if rank is None:
            return FullModulation(self.config.width)
        return LowRankModulation(self.config.width, rank)

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        stem = [self.patch, self.positions, self.time_embedding, self.modulation]
        stem += [getattr(self, name) for name in ("classes", "prompt") if hasattr(self, name)]
        blocks: dict[str, list[nn.Module]] = {"in": stem}
        for i, block in enumerate(self.blocks):
            added = [self.added_modulations[i - 1]] if i else []
            blocks[f"block{i + 1}"] = [block, *added]
        return blocks

    # ---- the pass ------------------------------------------------------------------------------

    def forward(
        self,
        latents: Tensor,
        levels: Tensor,
        *,
        text: Tensor | None = None,
        has_text: Sequence[bool] | None = None,
        classes: Tensor | None = None,
        estimate: Tensor | None = None,
        images: Sequence[bool] | None = None,
    ) -> Tensor:
        """Predict the velocity of noisy latents, [B, T, C, h, w].

        Args:
            latents: [B, T, C, h, w].
            levels: [B] timesteps of the clips, or [B, T] of their frames.
            text: [B, L, text_dim]; None = the null prompt.
            has_text: for each clip, whether `text` holds its prompt; None = all.
            classes: [B] int64; None = the null class.
            estimate: [B, T, C, h, w] clean latents as an earlier pass saw them (self-conditioning);
                None = zeros.
            images: for each row, whether its frames are pictures that have nothing to do with each
                other; rows of one frame always are. None = no others.

        Raises:
            ValueError: there are more frames than the windows span.
        """
        walk = self._walk(latents, levels, text, has_text, classes, estimate, images, run_now)
        for _, cells, state in walk:  # noqa: B007
            pass
        shift, scale = spread(self.last_modulation(state), 2)
        return self.head(normalized(cells) * (1 + scale) + shift).movedim(-1, 2)

    def walk(
        self,
        latents: Tensor,
        levels: Tensor,
        *,
        text: Tensor | None = None,
        run: Run = run_now,
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield ("block1".., [B, T, h, w, D]) after each layer; arguments as `forward`."""
        for name, cells, _ in self._walk(latents, levels, text, None, None, None, None, run):
            yield name, cells

    def _walk(
        self,
        latents: Tensor,
        levels: Tensor,
        text: Tensor | None,
        has_text: Sequence[bool] | None,
        classes: Tensor | None,
        estimate: Tensor | None,
        images: Sequence[bool] | None,
        run: Run,
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield (name, cells, c + t) after each layer."""
        B, T, _, h, w = latents.shape
        kinds = self._kinds(B, T, images)
        estimate = torch.zeros_like(latents) if estimate is None else estimate
        inputs = torch.cat([latents, estimate], dim=2).movedim(2, -1)
        cells = self.patch(inputs.to(self.patch.weight.dtype))
        cells = cells + self.positions((T, h, w), kinds)
        state = self.time_embedding(levels[:, None].expand(B, T) if levels.ndim == 1 else levels)
        if self.config.num_classes is not None:
            state = state + self._embed_classes(classes, state)[:, None]
        condition = None
        if self.config.text_dim is not None:
            condition = self.prompt(text, has_text, B)
        first = self.modulation(state)
        for i, block in enumerate(self.blocks):
            modulation = first if i == 0 else first + self.added_modulations[i - 1](state)
            cells = run(block, cells, modulation, condition, kinds)
            yield f"block{i + 1}", cells, state

    def _kinds(self, B: int, T: int, images: Sequence[bool] | None) -> list[bool]:
        """Tell for each row whether its frames are pictures."""
        if T == 1 or not self.config.sees_other_frames:
            return [True] * B
        if T > self.config.frames:
            raise ValueError(
                f"expected at most {self.config.frames} latent frames, which the windows span, "
                f"got {T}; split the video"
            )
        return [False] * B if images is None else [bool(each) for each in images]

    def _embed_classes(self, classes: Tensor | None, state: Tensor) -> Tensor:
        """Embed the classes as [B, D]; None = the null class, which is the last."""
        if classes is None:
            null = self.config.num_classes or 0
            classes = torch.full((len(state),), null, device=state.device)
        return self.classes(classes)
