"""Cityscapes: depth of one frame of each snippet, from the disparity of its stereo pair.

    disparity/<split>/<city>/<name>_disparity.png    [H, W] uint16
    camera/<split>/<city>/<name>_camera.json         {"extrinsic": {"baseline": metres, ...},
                                                      "intrinsic": {"fx": pixels, ...}}

Frames are those of `vdit.datasets.cityscapes_files`. Disparities were computed by semi-global
matching; they are no laser measurement.

Reference: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016;
the README of the owners' scripts for the unit of the disparity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.annotation_files import read_json
from vdit.datasets.checking import Benchmark
from vdit.datasets.cityscapes_files import AFTER, BEFORE, PAGES, list_snippets, published_counts
from vdit.datasets.mask_sources import expect_size
from vdit.datasets.truth_videos import DepthVideo
from vdit.datasets.videos import VideoDataset
from vdit.masks import read_mask_png

__all__ = ["CITYSCAPES_DEPTH", "CityscapesDepth", "depth_from_disparity", "read_cityscapes_depth"]

MAX_DEPTH_M = 80.0
_SPLITS = ("train", "val", "test")
_ENDING = "_disparity.png"


def depth_from_disparity(
    disparity: np.ndarray, baseline_m: float, fx: float, max_depth: float = MAX_DEPTH_M
) -> np.ndarray:
    """Turn stored disparities into depths.

    A stored p > 0 is a disparity of d = (p - 1) / 256 pixels, and a depth of baseline * fx / d; 0
    is no measurement. Depths above `max_depth`, d = 0 among them, are not moved to it but become
    unknown: there the disparity is a few quantized pixels and the depth mostly noise.

    Args:
        disparity: [H, W] uint16.
        baseline_m: distance of the two cameras in metres.
        fx: focal length in pixels of the disparity map.
        max_depth: in metres.

    Returns:
        [H, W] float32 in metres, 0 where unknown.
    """
    pixels = (disparity.astype(np.float64) - 1) / 256
    depth = np.full(disparity.shape, np.inf)
    np.divide(baseline_m * fx, pixels, out=depth, where=pixels > 0)
    return np.where(depth <= max_depth, depth, 0).astype(np.float32)


@dataclass(frozen=True)
class CityscapesDepth:
    """Depth of one frame.

    Attributes:
        disparity: picture of the disparities.
        camera: JSON of the cameras.
        max_depth: in metres, beyond which depth is unknown.
    """

    disparity: Path
    camera: Path
    max_depth: float = MAX_DEPTH_M

    def read_depth(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Compute the depth [H, W] float32; see `DepthVideo.depth`."""
        disparity = read_mask_png(self.disparity)
        if disparity.dtype != np.uint16:
            raise ValueError(
                f"{self.disparity} has {8 * disparity.dtype.itemsize} bits a pixel, expected 16; "
                "copy it again"
            )
        expect_size(self.disparity, disparity.shape, size)
        camera = read_json(self.camera, dict)
        baseline = self._number(camera, "extrinsic", "baseline")
        return depth_from_disparity(
            disparity, baseline, self._number(camera, "intrinsic", "fx"), self.max_depth
        )

    def _number(self, camera: dict[str, Any], part: str, key: str) -> float:
        section = camera.get(part)
        value = section.get(key) if isinstance(section, dict) else None
        number = value if isinstance(value, int | float) else math.nan
        if not (math.isfinite(number) and number > 0):
            raise ValueError(
                f"{self.camera} has {value} as {part}.{key}, expected a number above 0; copy it "
                "again"
            )
        return float(number)


def read_cityscapes_depth(
    root: Path,
    split: str = "val",
    *,
    before: int = BEFORE,
    after: int = AFTER,
    max_depth: float = MAX_DEPTH_M,
) -> VideoDataset[DepthVideo]:
    """Read the snippets of one split, of which one frame has depth.

    Where leftImg8bit_sequence is not there, videos are the single frames of leftImg8bit, and the
    note of the data set says so.

    Args:
        root: folder that holds disparity and camera.
        split: "train", "val" or "test".
        before: frames of a snippet before the one with depth; the published ones have 19.
        after: frames after it; the published ones have 10.
        max_depth: in metres, beyond which depth is unknown.

    Raises:
        ValueError: an unknown split, no disparities, or names that have not the published form.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    snippets, note = list_snippets(root, split, "disparity", (_ENDING,), before, after)
    source = partial(CityscapesDepth, max_depth=max_depth)
    videos = tuple(
        DepthVideo(
            dataset="cityscapes-depth",
            split=split,
            name=each.name,
            frame_source=each.frames,
            depth_source=source(
                root / "disparity" / split / each.city / f"{each.name}{_ENDING}",
                root / "camera" / split / each.city / f"{each.name}_camera.json",
            ),
            labelled=(each.labelled,),
        )
        for each in snippets
    )
    return VideoDataset("cityscapes-depth", split, videos, note)


CITYSCAPES_DEPTH = Benchmark(
    name="cityscapes-depth",
    splits=_SPLITS,
    list_path=lambda root, split: Path(root) / "disparity" / split,
    read=read_cityscapes_depth,
    published=PAGES,
    counts={
        "train": published_counts(2975),
        "val": published_counts(500),
        "test": published_counts(1525),
    },
)
