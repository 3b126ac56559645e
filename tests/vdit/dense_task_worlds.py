"""Videos whose pixels show their truth, for tests of segmentation and depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdit.datasets.labelled_videos import LabelledVideo
from vdit.datasets.truth_videos import DepthVideo
from vdit.datasets.videos import VideoDataset

CLASSES = ("road", "car", "sky")


@dataclass(frozen=True)
class Blocks:
    """Frames of square blocks of one color each; the red channel is what the truth is made of.

    Attributes:
        seed: of the colors.
        shape: rows and columns of blocks.
        side: of a block in pixels.
        count: T.
    """

    seed: int = 0
    shape: tuple[int, int] = (6, 8)
    side: int = 8
    count: int = 5

    @property
    def names(self):
        return tuple(f"{t:03d}" for t in range(self.count))

    def size(self):
        return self.shape[0] * self.side, self.shape[1] * self.side

    def red(self, index):
        """[H, W] in 0, 40, ..., 240."""
        rng = np.random.default_rng((self.seed, index))
        cells = 40 * rng.integers(0, 7, self.shape)
        return cells.repeat(self.side, 0).repeat(self.side, 1)

    def read(self, indices):
        reds = np.stack([self.red(index) for index in indices])
        # on a curve, so that a mixture of two colors is never a third one
        return np.stack([reds, 255 - reds, blue_of(reds)], -1).astype(np.uint8)


def blue_of(red):
    """Blue of a pure color."""
    return 7 * (red // 40) ** 2


def pure(frame):
    """Which pixels of a frame [H, W, 3] have the color of one block."""
    red, green, blue = np.moveaxis(frame.astype(int), -1, 0)
    return (red % 40 == 0) & (red + green == 255) & (blue == blue_of(red))


def labels_of(red):
    """Class of each pixel; the brightest red is void."""
    return np.where(red == 240, 255, red // 80).astype(np.uint8)


def depth_of(red):
    """Depth of each pixel in metres; unknown where there is no red."""
    return np.where(red > 0, 1 + red / 20, 0).astype(np.float32)


@dataclass(frozen=True)
class BlockTruth:
    """Labels and depth of blocks."""

    blocks: Blocks

    def read_labels(self, index, size):
        return labels_of(self.blocks.red(index))

    def read_depth(self, index, size):
        return depth_of(self.blocks.red(index))


def labelled(labelled=(2,), **blocks):
    frames = Blocks(**blocks)
    return LabelledVideo("blocks", "a", f"v{frames.seed}", frames, BlockTruth(frames), labelled)


def with_depth(labelled=(2,), **blocks):
    frames = Blocks(**blocks)
    return DepthVideo("blocks", "a", f"v{frames.seed}", frames, BlockTruth(frames), labelled)


def dataset(videos, classes=()):
    return VideoDataset("blocks", "a", tuple(videos), classes=classes)


GEOMETRIES = (
    {"size": (12, 16)},
    {"size": (24, 16), "crop": (16, 8), "crops": 3},
    {"short_side": 192, "crop": (192, 100), "crops": 3},
    {"size": (24, 40), "crop": (16, 20)},
    {},
)
"""Options of views of frames of 96 x 128 pixels in blocks of 32."""
LARGE_BLOCKS = {"shape": (3, 4), "side": 32}
