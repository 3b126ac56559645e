"""What backbones share whose network sees one frame at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.checkpointing import Run, run_now
from vdit.models.backbones.unet3d import collect
from vdit.models.backbones.vision_encoder import RGB, VisionEncoder
from vdit.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD

Walk = Callable[[Tensor], Iterator[tuple[str, Tensor]]]


class TappedNetwork(nn.Module, ABC):
    """A network that gives its feature maps one after the other.

    Attributes:
        blocks: name of every feature map, in the order of `walk`.
    """

    blocks: Mapping[str, BlockInfo]

    @abstractmethod
    def walk(self, frames: Tensor, run: Run = run_now) -> Iterator[tuple[str, Tensor]]:
        """Yield (block name, [N, C, h, w]) of frames [N, 3, H, W] as soon as each is done.

        `run` calls each layer.
        """

    @abstractmethod
    def block_modules(self) -> dict[str, list[nn.Module]]:
        """Give the modules of each block, as `Backbone.block_modules`."""


class FrameBackbone(VisionEncoder):
    """A frozen image network; frames do not see each other.

    Args:
        mean: of R, G, B in 0..1, as the network was trained.
        std: likewise.
        frames_per_pass: frames that go through the network at once; bounds memory.
    """

    temporal = False

    def __init__(
        self, mean: RGB = IMAGENET_MEAN, std: RGB = IMAGENET_STD, frames_per_pass: int = 8
    ) -> None:
        super().__init__(mean, std)
        self.frames_per_pass = frames_per_pass

    @abstractmethod
    def walk(self, frames: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (block name, [N, C, h, w]) of normalized frames [N, 3, H, W], one by one."""

    def compute(self, frames: Tensor, blocks: Sequence[str]) -> dict[str, Tensor]:
        """See `VisionEncoder.compute`; a few frames at a time."""
        return collect_per_frame(self.walk, frames, blocks, self.frames_per_pass)


class ConvnetBackbone(FrameBackbone):
    """A frozen convolutional image network on ImageNet-normalized pixels.

    A block of stride s has ceil(H / s) by ceil(W / s) cells.

    Args:
        network: gives the feature maps.
        frames_per_pass: frames that go through the network at once; bounds memory.
    """

    def __init__(self, network: TappedNetwork, frames_per_pass: int = 8) -> None:
        super().__init__(frames_per_pass=frames_per_pass)
        self.network = network
        self.blocks = network.blocks
        self.freeze()

    def walk(self, frames: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `FrameBackbone.walk`."""
        return self.network.walk(frames, self.run)

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        return self.network.block_modules()


def collect_per_frame(
    walk: Walk, video: Tensor, blocks: Sequence[str], frames_per_pass: int
) -> dict[str, Tensor]:
    """Walk a network for a few frames at a time, up to the last wanted block.

    Args:
        walk: yields (block name, [N, C, h, w]) of frames [N, 3, H, W].
        video: [B, T, 3, H, W] as the network takes it.
        blocks: the wanted names.
        frames_per_pass: frames a walk.

    Returns:
        block name -> [B, T, C, h, w].
    """
    chunks = [collect(walk(chunk), blocks) for chunk in video.flatten(0, 1).split(frames_per_pass)]
    size = video.shape[:2]
    return {
        name: torch.cat([chunk[name] for chunk in chunks]).unflatten(0, size) for name in chunks[0]
    }
