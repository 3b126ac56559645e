"""What backbones share whose network sees one frame at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Backbone, BlockInfo, Encoded, Noise
from vdit.models.backbones.unet3d import collect
from vdit.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD

Walk = Callable[[Tensor], Iterator[tuple[str, Tensor]]]


class TappedNetwork(nn.Module, ABC):
    """A network that gives its feature maps one after the other.

    Attributes:
        blocks: name of every feature map, in the order of `walk`.
    """

    blocks: Mapping[str, BlockInfo]

    @abstractmethod
    def walk(self, frames: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (block name, [N, C, h, w]) of frames [N, 3, H, W] as soon as each is done."""


class FrameBackbone(Backbone):
    """A frozen convolutional image network, frame by frame, on ImageNet-normalized pixels.

    It takes no text, image, timestep or noise. Any height and width will do; a block of stride s
    has ceil(H / s) by ceil(W / s) cells.

    Args:
        network: gives the feature maps.
        frames_per_pass: frames that go through the network at once; bounds memory.
    """

    temporal = False

    def __init__(self, network: TappedNetwork, frames_per_pass: int = 8) -> None:
        super().__init__()
        self.network = network
        self.frames_per_pass = frames_per_pass
        self.blocks = network.blocks
        self.freeze()

    def encode(self, video: Tensor) -> Encoded:
        """Normalize the frames; they stand in `Encoded.latent_mean`, [B, T, 3, H, W] float32.

        Args:
            video: [B, T, 3, H, W] in 0..1.
        """
        self.check_video(video)
        mean = video.new_tensor(IMAGENET_MEAN, dtype=torch.float32).view(3, 1, 1)
        std = video.new_tensor(IMAGENET_STD, dtype=torch.float32).view(3, 1, 1)
        return Encoded((video.shape[-2], video.shape[-1]), (video.float() - mean) / std)

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
        """See `Backbone.extract`; everything but `video` and `blocks` must be None.

        Nothing is drawn here, so that `generator` changes nothing.

        Raises:
            ValueError: also where a timestep, text, an image or noise is given.
        """
        self.check_blocks(blocks)
        refuse_conditions(timestep=timestep, text=text, image=image, noise=noise)
        encoded = self.encode(video) if isinstance(video, Tensor) else video
        frames = encoded.latent_mean.to(next(self.parameters()).dtype)
        return collect_per_frame(self.network.walk, frames, blocks, self.frames_per_pass)


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


def refuse_conditions(**conditions: object) -> None:
    """Raise a ValueError that names the first condition that is not None."""
    for name, condition in conditions.items():
        if condition is not None:
            raise ValueError(
                f"expected {name}=None: this network takes none, got {type(condition).__name__}; "
                f"leave `{name}` out"
            )
