"""WALT's video tokenizer: an autoencoder whose latents see no later frame; no quantization.

1 + 4 n frames become 1 + n latents, the first of which stands for the first frame alone.

Axes: B clips, T frames, T' latent frames, C channels of the latents, s the stride in space.

Reference: Yu et al., Language Model Beats Diffusion: Tokenizer is Key to Visual Generation
(MAGVIT-v2), ICLR 2024, Sec. 3.2 and Appendix A; Gupta et al., W.A.L.T, ECCV 2024, Sec. 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIME_HALVINGS = 2


@dataclass(frozen=True)
class VideoTokenizerConfig:
    """Sizes of a tokenizer.

    Attributes:
        channels: of each level; space halves between two levels.
        res_blocks: of each level, on either side.
        latent_channels: C.
        stem: side of the squares of pixels that the first level sees as one.
        joins_frames: False = a VAE that sees every frame alone and has a latent for each.
    """

    channels: tuple[int, ...] = (128, 256, 256, 512)
    res_blocks: int = 2
    latent_channels: int = 8
    stem: int = 1
    joins_frames: bool = True

    @property
    def stride(self) -> int:
        """Pixels that a latent cell spans."""
        return self.stem * 2 ** (len(self.channels) - 1)

    @property
    def frame_multiple(self) -> int:
        """Frames that a latent frame spans, but for the first."""
        return 2**TIME_HALVINGS if self.joins_frames else 1

    def halves_time(self, step: int) -> bool:
        """Whether time halves too between level `step` and the next; it does in the last two."""
        return self.joins_frames and step >= len(self.channels) - 1 - TIME_HALVINGS


TOKENIZER_TINY = VideoTokenizerConfig(channels=(24, 48, 64), res_blocks=1, stem=2)
TOKENIZER_L = VideoTokenizerConfig()
TOKENIZER_SIZES = {"tiny": TOKENIZER_TINY, "L": TOKENIZER_L}


class VideoTokenizer(nn.Module):
    """Encoder and decoder; both work on any size and length.

    Latents are brought to zero mean and unit variance by `normalize`, whose statistics are those of
    the training data.

    Args:
        config: sizes.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, config: VideoTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("shift", torch.zeros(config.latent_channels))
        self.register_buffer("scale", torch.ones(config.latent_channels))

    @property
    def dtype(self) -> torch.dtype:
        return self.encoder.enter.conv.weight.dtype

    def encode(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the mean and log-variance of the posterior, each [B, T', C, H / s, W / s].

        Args:
            video: [B, T, 3, H, W] in -1..1; T is 1 + 4 n, or any where frames are not joined.
        """
        states = self.encoder(video.to(self.dtype).transpose(1, 2))
        mean, logvar = states.transpose(1, 2).chunk(2, dim=2)
        return mean, logvar.clamp(-30, 20)

    def decode(self, latents: Tensor) -> Tensor:
        """Give the video [B, T, 3, H, W] in about -1..1 of unscaled latents [B, T', C, h, w]."""
        return self.decoder(latents.to(self.dtype).transpose(1, 2)).transpose(1, 2)

    def normalize(self, latents: Tensor) -> Tensor:
        """Bring latents [B, T', C, h, w] to zero mean and unit variance in every channel."""
        return (latents - _plane(self.shift)) / _plane(self.scale)

    def denormalize(self, latents: Tensor) -> Tensor:
        """Undo `normalize`."""
        return latents * _plane(self.scale) + _plane(self.shift)


class Encoder(nn.Module):
    """Pixels [B, 3, T, H, W] to [B, 2 * C, T', H / s, W / s]."""

    def __init__(self, config: VideoTokenizerConfig) -> None:
        super().__init__()
        channels, joins = config.channels, config.joins_frames
        self.stem = config.stem
        self.enter = CausalConvolution(3 * config.stem**2, channels[0], joins)
        self.layers = nn.ModuleList()
        for level, width in enumerate(channels):
            self.layers.extend(ResidualBlock(width, joins) for _ in range(config.res_blocks))
            if level + 1 < len(channels):
                halves = config.halves_time(level)
                self.layers.append(Downsampling(width, channels[level + 1], joins, halves))
        self.norm = ChannelNorm(channels[-1])
        self.leave = CausalConvolution(channels[-1], 2 * config.latent_channels, joins)

    def forward(self, video: Tensor) -> Tensor:
        states = self.enter(_unshuffle(video, self.stem))
        for layer in self.layers:
            states = layer(states)
        return self.leave(F.silu(self.norm(states)))


class Decoder(nn.Module):
    """Latents [B, C, T', h, w] to [B, 3, T, h * s, w * s]; a frame sees no later latent."""

    def __init__(self, config: VideoTokenizerConfig) -> None:
        super().__init__()
        channels, joins = config.channels, config.joins_frames
        self.stem = config.stem
        self.enter = CausalConvolution(config.latent_channels, channels[-1], joins)
        self.layers = nn.ModuleList()
        for level in reversed(range(len(channels))):
            width = channels[level]
            self.layers.extend(ResidualBlock(width, joins) for _ in range(config.res_blocks))
            if level:
                doubles = config.halves_time(level - 1)
                self.layers.append(Upsampling(width, channels[level - 1], joins, doubles))
        self.norm = ChannelNorm(channels[0])
        self.leave = CausalConvolution(channels[0], 3 * config.stem**2, joins)

    def forward(self, latents: Tensor) -> Tensor:
        states = self.enter(latents)
        for layer in self.layers:
            states = layer(states)
        return _shuffle(self.leave(F.silu(self.norm(states))), self.stem)


class CausalConvolution(nn.Module):
    """3D convolution that sees no later frame; the first frame stands still before the clip.

    Args:
        channels: of its input.
        filters: channels of its output.
        joins_frames: False = every frame alone.
        steps: strides of time, rows and columns.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        joins_frames: bool,
        steps: Sequence[int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        self.before = 2 if joins_frames else 0
        self.conv = nn.Conv3d(
            channels,
            filters,
            (1 + self.before, 3, 3),
            stride=tuple(steps),  # type: ignore[arg-type]
            padding=(0, 1, 1),
        )

    def forward(self, states: Tensor) -> Tensor:
        if self.before:
            first = states[:, :, :1].expand(-1, -1, self.before, -1, -1)
            states = torch.cat([first, states], dim=2)
        return self.conv(states)


class ResidualBlock(nn.Module):
    """Two normalized convolutions beside the identity."""

    def __init__(self, width: int, joins_frames: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ChannelNorm(width),
            nn.SiLU(),
            CausalConvolution(width, width, joins_frames),
            ChannelNorm(width),
            nn.SiLU(),
            CausalConvolution(width, width, joins_frames),
        )

    def forward(self, states: Tensor) -> Tensor:
        return states + self.layers(states)


class Downsampling(nn.Module):
    """A convolution of stride 2 in space, and perhaps in time, beside the mean of four cells.

    The shortcut keeps every second frame, the first among them; missing channels are zero.
    """

    def __init__(self, width: int, filters: int, joins_frames: bool, halves_time: bool) -> None:
        super().__init__()
        self.frames = 2 if halves_time else 1
        self.conv = CausalConvolution(width, filters, joins_frames, (self.frames, 2, 2))

    def forward(self, states: Tensor) -> Tensor:
        change = self.conv(states)
        means = F.avg_pool3d(states[:, :, :: self.frames], (1, 2, 2))
        return change + fit_channels(means, change.shape[1])


class Upsampling(nn.Module):
    """A convolution whose channels become twice the rows and columns, and perhaps the frames.

    Where time doubles, the first of the new frames is dropped: the first latent is one frame. The
    shortcut repeats cells and frames.
    """

    def __init__(self, width: int, filters: int, joins_frames: bool, doubles_time: bool) -> None:
        super().__init__()
        self.frames = 2 if doubles_time else 1
        self.filters = filters
        self.conv = CausalConvolution(width, 4 * self.frames * filters, joins_frames)

    def forward(self, states: Tensor) -> Tensor:
        change = _shuffle(self.conv(states), 2)
        kept = fit_channels(states, self.filters)
        kept = kept.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        if self.frames == 1:
            return change + kept
        change = change.unflatten(1, (-1, 2)).movedim(2, 3).flatten(2, 3)
        return (change + kept.repeat_interleave(2, dim=2))[:, :, 1:]


def fit_channels(states: Tensor, count: int) -> Tensor:
    """Keep the first `count` channels of [B, C, T, H, W], or add channels of zeros."""
    missing = count - states.shape[1]
    return states[:, :count] if missing <= 0 else F.pad(states, (0, 0) * 3 + (0, missing))


class ChannelNorm(nn.Module):
    """Divide the channels of every cell of every frame by their root mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, states: Tensor) -> Tensor:
        power = states.square().mean(dim=1, keepdim=True)
        return states * torch.rsqrt(power + 1e-6) * self.weight.view(1, -1, 1, 1, 1)


def _plane(values: Tensor) -> Tensor:
    return values.view(1, 1, -1, 1, 1)


def _unshuffle(video: Tensor, side: int) -> Tensor:
    """Turn squares of pixels into channels: [B, C, T, H, W] to [B, C * side^2, T, H/side, ..]."""
    return F.pixel_unshuffle(video.transpose(1, 2), side).transpose(1, 2) if side > 1 else video


def _shuffle(states: Tensor, side: int) -> Tensor:
    """Undo `_unshuffle`."""
    return F.pixel_shuffle(states.transpose(1, 2), side).transpose(1, 2) if side > 1 else states
