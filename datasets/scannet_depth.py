"""ScanNet: depth of every frame of scans of rooms.

The tree is what the owners' exporter writes, once for each scan with all four options:

    scans/<scene>/color/<n>.jpg                            n from 0, without leading zeros; 1296x968
    scans/<scene>/depth/<n>.png                            uint16 millimetres, 0 = unknown; 640x480
    scans/<scene>/pose/<n>.txt                             4 x 4 camera to world; not read here
    scans/<scene>/intrinsic/intrinsic_{color,depth}.txt    4 x 4 in pixels
    scannetv2_{train,val}.txt                              a scene a line

Depth is brought to the pixels of the color frame by the two intrinsics.

Reference: Dai et al., ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes, CVPR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.truth_videos import DepthVideo
from vdit.datasets.videos import VideoDataset
from vdit.masks import read_mask_png

__all__ = ["SCANNET_DEPTH", "ScanNetDepth", "read_scannet_depth"]

_SPLITS = ("train", "val")
_MILLIMETRES = 1000.0
_KINDS = ("color", "depth")


@dataclass(frozen=True)
class ScanNetDepth:
    """Depth of the frames of one scan.

    Both cameras are taken to stand at one place and to look along one axis, as they do in the
    exported scans: a color pixel then sees the depth pixel on the same ray.

    Attributes:
        folder: of the scan.
        names: of the frames.
    """

    folder: Path
    names: tuple[str, ...]

    def read_depth(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Read the depth [H, W] float32 by nearest neighbors; see `DepthVideo.depth`.

        It is 0, unknown, also where the color camera sees more than the depth camera.
        """
        path = self.folder / "depth" / f"{self.names[index]}.png"
        stored = read_mask_png(path)
        if stored.dtype != np.uint16:
            raise ValueError(
                f"{path} has {8 * stored.dtype.itemsize} bits a pixel, expected 16; export the "
                "depth images again"
            )
        color, depth = self._intrinsics
        rows = _matching(size[0], color[1, 1], color[1, 2], depth[1, 1], depth[1, 2])
        columns = _matching(size[1], color[0, 0], color[0, 2], depth[0, 0], depth[0, 2])
        has_row = (rows >= 0) & (rows < stored.shape[0])
        has_column = (columns >= 0) & (columns < stored.shape[1])
        found = np.zeros(size, dtype=np.float32)
        found[np.ix_(has_row, has_column)] = stored[np.ix_(rows[has_row], columns[has_column])]
        return found / np.float32(_MILLIMETRES)

    @cached_property
    def _intrinsics(self) -> tuple[np.ndarray, np.ndarray]:
        color, depth = (
            _read_matrix(self.folder / "intrinsic" / f"intrinsic_{kind}.txt") for kind in _KINDS
        )
        return color, depth


def read_scannet_depth(
    root: Path, split: str = "val", *, step: int = 1
) -> VideoDataset[DepthVideo]:
    """Read the scans of one split; every frame has depth.

    Args:
        root: folder that holds scans and the lists.
        split: "train" or "val".
        step: every so many frames become the video; scans have 30 frames a second.

    Raises:
        ValueError: an unknown split or step; the list is missing, empty or names a scan twice; a
            frame has another name than its number.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    if step < 1:
        raise ValueError(f"expected a step of 1 frame or more, got {step}")
    root = Path(root)
    path = _list_path(root, split)
    scenes = read_text(path).split()
    if not scenes or len(set(scenes)) < len(scenes):
        what = "names a scene twice" if scenes else "names no scene"
        raise ValueError(f"{path} {what}, expected every scene of the split once; copy it again")
    videos = []
    for scene in scenes:
        folder = root / "scans" / scene
        names = _list_frames(folder)[::step]
        videos.append(
            DepthVideo(
                dataset="scannet-depth",
                split=split,
                name=scene,
                frame_source=PictureFrames(folder / "color", names),
                depth_source=ScanNetDepth(folder, names),
                labelled=tuple(range(len(names))),
            )
        )
    return VideoDataset("scannet-depth", split, tuple(videos))


def _list_path(root: Path, split: str) -> Path:
    return Path(root) / f"scannetv2_{split}.txt"


def _list_frames(folder: Path) -> tuple[str, ...]:
    """Numbers of the frames that have a color or a depth picture, in order, as they are written."""
    names = {
        path.stem
        for kind, ending in zip(_KINDS, (".jpg", ".png"), strict=True)
        for path in (folder / kind).glob(f"*{ending}")
        if not path.name.startswith(".")
    }
    wrong = sorted(name for name in names if not name.isdigit())
    if wrong:
        raise ValueError(
            f"{folder} has a frame {wrong[0]!r}, expected numbers as 0, 1, 2; export the scan with "
            "the owners' reader.py"
        )
    return tuple(sorted(names, key=int))


def _read_matrix(path: Path) -> np.ndarray:
    """Read intrinsics, the upper left 3 x 3 of the file's matrix."""
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    try:
        matrix = np.array(lines, float)
    except ValueError as error:
        raise ValueError(f"{path} holds no matrix of numbers ({error}); export it again") from error
    if matrix.shape not in ((4, 4), (3, 3)) or not (np.diag(matrix)[:2] > 0).all():
        raise ValueError(
            f"{path} holds a matrix {list(matrix.shape)}, expected 4 x 4 intrinsics with focal "
            "lengths above 0; export it again"
        )
    return matrix[:3, :3]


def _matching(
    count: int, focal: float, center: float, focal_to: float, center_to: float
) -> np.ndarray:
    """Positions of the pixels of one camera in another one, in one direction, rounded.

    The first pixel has its center at 0, as in the owners' intrinsics.
    """
    positions = (np.arange(count) - center) / focal * focal_to + center_to
    return np.floor(positions + 0.5).astype(int)


SCANNET_DEPTH = Benchmark(
    name="scannet-depth",
    splits=_SPLITS,
    list_path=_list_path,
    read=read_scannet_depth,
    published=("http://www.scan-net.org/", "https://github.com/ScanNet/ScanNet"),
    counts={"train": {"published": (1201, None)}, "val": {"published": (312, None)}},
)
