"""The contract every backbone keeps: a video goes in, named feature maps come out.

Axes: B clips, T frames, T' feature frames, C channels, h x w feature cells, L tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vdit.models.backbones.checkpointing import Run, run_again_later, run_now

Noise = Tensor | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BlockInfo:
    """Where a feature map lies: its channels and how many pixels and frames one cell spans."""

    channels: int
    stride: int
    temporal_stride: int = 1


@dataclass
class Encoded:
    """Everything a backbone knows of a video before any sentence; shared by all prompts.

    Attributes:
        size: (H, W) of the video that was encoded, in pixels.
        latent_mean: [B, T', C, h, w] mean of the latent posterior, unscaled; the frames as the
            network takes them, [B, T, 3, H, W], where it has no latents.
        latent_logvar: [B, T', C, h, w] its log-variance; None where there is no posterior.
        skips: stride -> [B, T, C, h, w] encoder features taken on the way to the latents.
        image_tokens: [B, T, L, C] tokens of an image tower, or None.
        posterior_noise: [B, T', C, h, w] the normal draw that turns the posterior into latents;
            None = drawn by `extract`.
    """

    size: tuple[int, int]
    latent_mean: Tensor
    latent_logvar: Tensor | None = None
    skips: dict[int, Tensor] = field(default_factory=dict)
    image_tokens: Tensor | None = None
    posterior_noise: Tensor | None = None

    @property
    def num_frames(self) -> int:
        return self.latent_mean.shape[1]

    def select_frames(self, frames: slice) -> Encoded:
        """Keep the given feature frames; per-frame encoders only."""
        return self._map(lambda tensor: tensor[:, frames])

    def repeat(self, counts: Tensor) -> Encoded:
        """Repeat clip b `counts[b]` times, for several sentences about one clip."""
        return self._map(lambda tensor: tensor.repeat_interleave(counts.to(tensor.device), dim=0))

    def clone(self) -> Encoded:
        """Copy every tensor, so that a few frames do not keep a whole clip in memory."""
        return self._map(Tensor.clone)

    def to(self, device: torch.device | str) -> Encoded:
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Encoded:
        return replace(
            self,
            latent_mean=change(self.latent_mean),
            latent_logvar=None if self.latent_logvar is None else change(self.latent_logvar),
            skips={stride: change(skip) for stride, skip in self.skips.items()},
            image_tokens=None if self.image_tokens is None else change(self.image_tokens),
            posterior_noise=None if self.posterior_noise is None else change(self.posterior_noise),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Encoded]) -> Encoded:
        """Join encodings of consecutive frames of one video along time."""
        first = parts[0]
        if len(parts) == 1:
            return first

        def join(tensors: list[Tensor | None]) -> Tensor | None:
            kept = [tensor for tensor in tensors if tensor is not None]
            return torch.cat(kept, dim=1) if kept else None

        return cls(
            size=first.size,
            latent_mean=torch.cat([part.latent_mean for part in parts], dim=1),
            latent_logvar=join([part.latent_logvar for part in parts]),
            skips={s: torch.cat([part.skips[s] for part in parts], dim=1) for s in first.skips},
            image_tokens=join([part.image_tokens for part in parts]),
            posterior_noise=join([part.posterior_noise for part in parts]),
        )


@dataclass
class StartedPass:
    """A pass that went as far as it can without a sentence; every prompt goes on from here.

    Attributes:
        encoded: what the pass started from.
        timestep: its noise level.
        stem: the network's own state.
    """

    encoded: Encoded
    timestep: float | None
    stem: Any


class Backbone(nn.Module, ABC):
    """A network that turns a video into feature maps; frozen, in eval mode, unless told otherwise.

    Attributes:
        blocks: name of every feature map it can give -> its channels and strides.
        temporal: True where frames see each other.
        clip_length: frames per joint pass; None = any.
        size_multiple: height and width of the video must be multiples of it.
        frame_offset: T must be `frame_offset` + n * `frame_multiple`; then T' = `frame_offset` + n.
        frame_multiple: frames that one feature frame spans; 1 where every frame has its own.
        learning: names of `block_modules` that are being fine-tuned.
        idle: parts of the names of parameters in these modules that no pass reaches.
        checkpointing: layers run again in the backward pass, see `use_checkpointing`.
    """

    blocks: Mapping[str, BlockInfo]
    temporal: bool
    clip_length: int | None = None
    size_multiple: int = 1
    frame_offset: int = 0
    frame_multiple: int = 1
    learning: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    checkpointing: bool = False

    def freeze(self) -> None:
        """Take every parameter out of training and keep all layers in eval mode."""
        self.learning = ()
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Follow the model into training mode with the blocks in `learning`, and no other.

        Batch norms keep the statistics of the pre-training: batches of clips are small.
        """
        super().train(False)
        if mode and self.learning:
            blocks = self.block_modules()
            for module in (each for name in self.learning for each in blocks[name]):
                for layer in module.modules():
                    layer.training = not isinstance(layer, nn.modules.batchnorm._BatchNorm)
        return self

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """Give block name -> modules that run between the map of the block before and its own.

        Blocks are in the order of the pass. "in" is what runs in front of the first: the stem and
        the embeddings of time and conditions. Encoders of pixels, text and images are in none, and
        neither are layers behind the last map.
        """
        return {}

    def block_parameters(self) -> dict[str, dict[str, nn.Parameter]]:
        """Give block name -> parameter name -> parameter: what can be fine-tuned."""
        names = {parameter: name for name, parameter in self.named_parameters()}
        found: dict[str, dict[str, nn.Parameter]] = {}
        for block, modules in self.block_modules().items():
            inside = {names[each]: each for module in modules for each in module.parameters()}
            found[block] = {
                name: parameter
                for name, parameter in inside.items()
                if not any(part in name for part in self.idle)
            }
        return found

    def layer_modules(self) -> list[nn.Module]:
        """Give the modules inside of the blocks that a pass calls, none inside of another.

        They hold nearly all weights of the blocks, and can be gathered one by one where a process
        keeps only a share of them.
        """
        waiting = [each for modules in self.block_modules().values() for each in modules][::-1]
        found = []
        while waiting:
            module = waiting.pop()
            if self.is_walked(module):
                waiting += [*module.children()][::-1]
            elif any(True for _ in module.parameters()):
                found.append(module)
        return found

    def is_walked(self, module: nn.Module) -> bool:
        """Tell whether a pass reaches into a module of a block, instead of calling it.

        It then calls the module's children, or reads weights of one that has none.
        """
        return type(module) in (nn.ModuleList, nn.Sequential)

    def use_checkpointing(self, on: bool = True) -> None:
        """Keep only the inputs of each layer for the backward pass, and run the layer again there.

        Same features and gradients; less memory for about one more forward pass. Frozen weights
        gain as well, where gradients flow to the noise or the prompt.
        """
        self.checkpointing = on

    @property
    def run(self) -> Run:
        """How a pass calls its layers."""
        return run_again_later if self.checkpointing else run_now

    @abstractmethod
    def encode(self, video: Tensor) -> Encoded:
        """Compute what does not depend on a sentence.

        Args:
            video: [B, T, 3, H, W] in 0..1; H and W multiples of `size_multiple`.
        """

    @abstractmethod
    def extract(
        self,
        video: Tensor | Encoded,
        *,
        blocks: Sequence[str],
        timestep: float | None = None,
        text: Tensor | None = None,
        image: Tensor | None = None,
        noise: Noise | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Compute the named feature maps and stop once the last one is there.

        Args:
            video: [B, T, 3, H, W] in 0..1, or what `encode` made of it.
            blocks: names from `self.blocks`.
            timestep: noise level in the network's native unit; None = clean latents.
            text: [B, L, C] or, different in each frame, [B, T, L, C]; None = the null prompt.
            image: [B, 3, H, W] in 0..1, where the network takes a conditioning image; None = the
                null image of its training.
            noise: [B, T', C, h, w], or a function of the scaled latents of that shape;
                None = Gaussian.
            generator: source of the posterior sample and of Gaussian noise.

        Returns:
            block name -> [B, T', C, h, w]. Gradients may flow to `noise` and `text` while the
            weights stay frozen.

        Raises:
            ValueError: a block is unknown, or a shape does not fit.
        """

    def encoding_weights(self) -> dict[str, Tensor]:
        """Give the tensors that `encode` depends on; all, unless a family knows better."""
        return self.state_dict()

    def encoding_settings(self) -> str:
        """Describe what else `encode` depends on."""
        return type(self).__name__

    def num_feature_frames(self, num_frames: int) -> int:
        """Give T' of a video of T frames."""
        return self.frame_offset + (num_frames - self.frame_offset) // self.frame_multiple

    def check_blocks(self, blocks: Sequence[str]) -> None:
        """Raise a ValueError that names the first unknown block."""
        for block in blocks:
            if block not in self.blocks:
                known = ", ".join(self.blocks)
                raise ValueError(f"expected blocks among {known}; got {block!r}")

    def check_video(self, video: Tensor) -> None:
        """Raise a ValueError unless the video is [B, T, 3, H, W] of a fitting size."""
        if video.ndim != 5 or video.shape[2] != 3:
            raise ValueError(f"expected a video [B, T, 3, H, W], got shape {list(video.shape)}")
        T = video.shape[1]
        if T < 1 or (T - self.frame_offset) % self.frame_multiple:
            start = f"{self.frame_offset} + " if self.frame_offset else ""
            raise ValueError(
                f"expected {start}{self.frame_multiple} n frames, got {T}; repeat the last frame"
            )
        H, W = video.shape[-2:]
        if H % self.size_multiple or W % self.size_multiple:
            raise ValueError(
                f"expected height and width to be multiples of {self.size_multiple}, "
                f"got {H}x{W}; pad or resize the video"
            )


class TextToVideoBackbone(Backbone):
    """A backbone with a text tower and a latent space: what VD-IT stands on.

    Attributes:
        text_dim: channels of the prompt.
        latent_channels: channels of the latents.
    """

    text_dim: int
    latent_channels: int

    @abstractmethod
    def start(
        self,
        encoded: Encoded,
        *,
        timestep: float | None = None,
        noise: Noise | None = None,
        generator: torch.Generator | None = None,
    ) -> StartedPass:
        """Add noise and run the network up to where it meets the prompt; arguments as `extract`."""

    @abstractmethod
    def extract(
        self,
        video: Tensor | Encoded | StartedPass,
        *,
        blocks: Sequence[str],
        timestep: float | None = None,
        text: Tensor | None = None,
        image: Tensor | None = None,
        noise: Noise | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """See `Backbone.extract`; a started pass already holds its timestep and noise."""

    @abstractmethod
    def encode_text(self, captions: Sequence[str] | Tensor) -> Tensor:
        """Compute the prompt [B, L, text_dim] of B sentences, or of token ids [B, L]."""


def refuse_conditions(**conditions: object) -> None:
    """Raise a ValueError that names the first condition that is not None."""
    for name, condition in conditions.items():
        if condition is not None:
            raise ValueError(
                f"expected {name}=None: this network takes none, got {type(condition).__name__}; "
                f"leave `{name}` out"
            )
