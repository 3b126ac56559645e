"""Video transformers whose tokens are tubelets: a patch over a few consecutive frames."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

from torch import Tensor

from vdit.models.backbones.unet3d import collect
from vdit.models.backbones.vision_encoder import (
    RGB,
    VisionEncoder,
    resize_to_multiple,
    transformer_blocks,
)
from vdit.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD

Grid = tuple[int, int, int]


class TubeletEncoder(VisionEncoder):
    """A joint pass over all frames of a clip, on a grid of tubelets.

    Blocks: "block1".."blockN" (the residual stream after each layer) and "last" (after the final
    norm). Frames are resized to the nearest multiples of the patch size, and features stay on the
    grid of the patches. `clip_length` is that of the training; other lengths work.

    Args:
        depth: layers.
        channels: width of a token.
        patch_size: pixels.
        tubelet_size: frames of one token.
        clip_frames: frames that the network was trained on.
        repeat_frames: show the network every frame as often as one tubelet is long, so that every
            frame has its own features; otherwise T' = T / `tubelet_size`.
        mean: of R, G, B in 0..1, as the network was trained.
        std: likewise.
    """

    temporal = True

    def __init__(
        self,
        *,
        depth: int,
        channels: int,
        patch_size: int,
        tubelet_size: int,
        clip_frames: int,
        repeat_frames: bool,
        mean: RGB = IMAGENET_MEAN,
        std: RGB = IMAGENET_STD,
    ) -> None:
        super().__init__(mean, std)
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size
        self.repeat_frames = repeat_frames
        self.frame_multiple = 1 if repeat_frames else tubelet_size
        self.clip_length = clip_frames // tubelet_size if repeat_frames else clip_frames
        self.blocks = transformer_blocks(depth, channels, patch_size, self.frame_multiple)

    @abstractmethod
    def walk_tokens(self, frames: Tensor, grid: Grid) -> Iterator[tuple[str, Tensor]]:
        """Yield (block, tokens [B, t * h * w, C]) of frames [B, T, 3, H, W] on a grid (t, h, w)."""

    def resize(self, frames: Tensor) -> Tensor:
        return resize_to_multiple(frames, self.patch_size)

    def compute(self, frames: Tensor, blocks: Sequence[str]) -> dict[str, Tensor]:
        """See `VisionEncoder.compute`."""
        return collect(self.walk(frames), blocks)

    def walk(self, frames: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (block, [B, T', C, h, w]) one by one; tokens are in the order time, row, column."""
        if self.repeat_frames:
            frames = frames.repeat_interleave(self.tubelet_size, dim=1)
        T, _, H, W = frames.shape[1:]
        grid = (T // self.tubelet_size, H // self.patch_size, W // self.patch_size)
        for name, tokens in self.walk_tokens(frames, grid):
            yield name, tokens.unflatten(1, grid).permute(0, 1, 4, 2, 3).contiguous()
