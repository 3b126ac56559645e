"""The video encoder of Open-Sora 1.2: an image VAE on every frame, a causal one over time.

Parameters have the names of the released checkpoint; its decoder is not needed for features.

Reference: Zheng et al., Open-Sora: Democratizing Efficient Video Production for All, 2024;
Yu et al., Language Model Beats Diffusion (MAGVIT-v2), ICLR 2024, for the causal convolutions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNEL_MULTIPLIERS = (1, 2, 2, 4)
HALVES_TIME = (False, True, True)  # behind each stage but the last
TIME_STRIDE = 4
IMAGE_SCALE = 0.18215


class OpenSoraVideoEncoder(nn.Module):
    """Encode up to 17 frames, 17 being what it was trained on, to a latent of every four.

    Every latent joins its frames with earlier ones: zeros stand in for frames before the first.
    Later frames matter only through the norms, which average over the clip.

    Args:
        image_vae: diffusers AutoencoderKL of four latent channels (that of SDXL).
        filters: channels of the first stage.
        num_res_blocks: residual blocks a stage.
        num_groups: groups of every norm.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, image_vae: Any, filters: int = 128, num_res_blocks: int = 4, num_groups: int = 32
    ) -> None:
        super().__init__()
        self.spatial_vae = nn.ModuleDict({"module": image_vae})
        self.temporal_vae = TemporalVae(4, filters, num_res_blocks, num_groups)
        for name, values in {
            "shift": (-0.10, 0.34, 0.27, 0.98),
            "scale": (3.85, 2.32, 2.33, 3.06),
        }.items():
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1, 1))

    @property
    def dtype(self) -> torch.dtype:
        return self.temporal_vae.quant_conv.conv.weight.dtype

    def forward(self, video: Tensor, frames_per_pass: int = 4) -> tuple[Tensor, Tensor]:
        """Compute the posterior's mean and log-variance, each [B, T', 4, H / 8, W / 8], unscaled.

        The image VAE's own posterior is taken at its mean.

        Args:
            video: [B, T, 3, H, W] in -1..1; T' = ceil(T / 4).
            frames_per_pass: frames that the image VAE takes at once; bounds memory.
        """
        vae: Any = self.spatial_vae["module"]
        frames = video.flatten(0, 1).to(self.dtype).split(frames_per_pass)
        latents = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in frames])
        latents = IMAGE_SCALE * latents.unflatten(0, video.shape[:2])
        mean, logvar = self.temporal_vae(latents.transpose(1, 2)).chunk(2, dim=1)
        return mean.transpose(1, 2), logvar.clamp(-30, 20).transpose(1, 2)

    def scale_latents(self, latents: Tensor) -> Tensor:
        """Bring latents [B, T', 4, h, w] to zero mean and unit variance."""
        return (latents - self.shift.transpose(1, 2)) / self.scale.transpose(1, 2)


class TemporalVae(nn.Module):
    """Shorten image latents [B, C, T, h, w] four times: mean and log-variance, [B, 2C, T', h, w].

    Zeros in front make T a multiple of four.
    """

    def __init__(self, channels: int, filters: int, num_res_blocks: int, num_groups: int) -> None:
        super().__init__()
        self.encoder = TemporalEncoder(channels, filters, num_res_blocks, num_groups)
        self.quant_conv = CausalConvolution(2 * channels, 2 * channels, kernel=1)

    def forward(self, latents: Tensor) -> Tensor:
        missing = -latents.shape[2] % TIME_STRIDE
        return self.quant_conv(self.encoder(F.pad(latents, (0, 0, 0, 0, missing, 0))))


class TemporalEncoder(nn.Module):
    """Residual stages, two of which halve the time, as in `TemporalVae`."""

    def __init__(self, channels: int, filters: int, num_res_blocks: int, num_groups: int) -> None:
        super().__init__()
        widths = [filters * multiplier for multiplier in CHANNEL_MULTIPLIERS]
        self.conv_in = CausalConvolution(channels, filters, bias=False)
        self.block_res_blocks = nn.ModuleList()
        self.conv_blocks = nn.ModuleList()
        before = filters
        for i, width in enumerate(widths):
            inputs = [before] + [width] * (num_res_blocks - 1)
            self.block_res_blocks.append(
                nn.ModuleList(ResidualBlock(each, width, num_groups) for each in inputs)
            )
            if i < len(HALVES_TIME):
                halve = CausalConvolution(width, width, time_stride=2)
                self.conv_blocks.append(halve if HALVES_TIME[i] else nn.Identity())
            before = width
        self.res_blocks = nn.ModuleList(
            ResidualBlock(before, before, num_groups) for _ in range(num_res_blocks)
        )
        self.norm1 = nn.GroupNorm(num_groups, before)
        self.conv2 = CausalConvolution(before, 2 * channels, kernel=1)

    def forward(self, latents: Tensor) -> Tensor:
        states = self.conv_in(latents)
        for i, blocks in enumerate(self.block_res_blocks):
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                states = block(states)
            if i < len(self.conv_blocks):
                states = self.conv_blocks[i](states)
        for block in self.res_blocks:
            states = block(states)
        return self.conv2(F.silu(self.norm1(states)))


class ResidualBlock(nn.Module):
    """Two normalized convolutions beside the identity, or a 1x1x1 convolution, "conv3"."""

    def __init__(self, channels: int, filters: int, num_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, channels)
        self.conv1 = CausalConvolution(channels, filters, bias=False)
        self.norm2 = nn.GroupNorm(num_groups, filters)
        self.conv2 = CausalConvolution(filters, filters, bias=False)
        if channels != filters:
            self.conv3 = CausalConvolution(channels, filters, kernel=1, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        change = self.conv1(F.silu(self.norm1(states)))
        change = self.conv2(F.silu(self.norm2(change)))
        return change + (self.conv3(states) if hasattr(self, "conv3") else states)


class CausalConvolution(nn.Module):
    """3D convolution that sees no later frame: all padding in time is zeros in front."""

    def __init__(
        self, channels: int, filters: int, kernel: int = 3, time_stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        side = kernel // 2
        self.padding = (side, side, side, side, kernel - time_stride, 0)
        self.conv = nn.Conv3d(channels, filters, kernel, stride=(time_stride, 1, 1), bias=bias)

    def forward(self, states: Tensor) -> Tensor:
        return self.conv(F.pad(states, self.padding))
