"""Rendered clips as data sets of learned probes: everything is known, and nothing is published.

A tree of `vdit data render RECIPE --layout native --split train`, and again with `--split val` and
another `--seed`, into one folder:

    rendered.json                            {"clips": {"<split>/<name>": scene}}
    <split>/<name>/frames/%05d.jpg
    <split>/<name>/truth.npz                 masks, depth, cameras, tracks

The recipe decides what can be asked: motion-type and motion-order have actions, category has one
object, geometry moves the camera among standing objects, tracking has points and boxes to follow.
Classes are all those of the tree, whatever the split, in the order of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vdit.datasets.annotation_files import read_json
from vdit.datasets.checking import Benchmark
from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.labelled_videos import LabelledVideo
from vdit.datasets.rendered_truth import (
    RenderedBoxes,
    RenderedCameras,
    RenderedDepth,
    RenderedLabels,
    RenderedPoints,
)
from vdit.datasets.truth_videos import (
    BoxTrackVideo,
    ClassifiedVideo,
    DepthVideo,
    PointTrackVideo,
    PosedVideo,
)
from vdit.datasets.videos import Video, VideoDataset
from vdit.frame_sizes import Size

__all__ = [
    "BACKGROUND",
    "RENDERED_BENCHMARKS",
    "read_rendered_boxes",
    "read_rendered_category",
    "read_rendered_depth",
    "read_rendered_motion",
    "read_rendered_points",
    "read_rendered_pose",
    "read_rendered_segments",
]

BACKGROUND = "background"
"""Class 0 of `read_rendered_segments`."""

_LIST = "rendered.json"
_SPLITS = ("train", "val", "test")

V = TypeVar("V", bound=Video)


@dataclass(frozen=True)
class _Clip:
    """What the list says of a clip.

    Attributes:
        split: part of the tree.
        name: its folder.
        num_frames: T.
        size: (H, W).
        action: "" where the recipe names none.
        categories: of its objects.
    """

    split: str
    name: str
    num_frames: int
    size: Size
    action: str
    categories: tuple[str, ...]

    def common(self, dataset: str, root: Path) -> dict[str, Any]:
        """Give the arguments that all kinds of videos share."""
        names = tuple(f"{t:05d}" for t in range(self.num_frames))
        frames = PictureFrames(root / self.split / self.name / "frames", names)
        return {
            "dataset": dataset,
            "split": self.split,
            "name": self.name,
            "frame_source": frames,
        }

    def truth(self, root: Path) -> Path:
        return root / self.split / self.name / "truth.npz"


def read_rendered_motion(root: Path, split: str = "train") -> VideoDataset[ClassifiedVideo]:
    """Read clips and what happens in them; recipes motion-type and motion-order.

    Args:
        root: of the tree.
        split: "train", "val" or "test".

    Raises:
        ValueError: the list is missing or damaged, has no such split, or a clip has no action.
    """
    clips = _read_list(root)
    for clip in clips:
        if not clip.action:
            raise ValueError(
                f"{clip.split}/{clip.name} has no action, expected one; render the recipe "
                "motion-type or motion-order"
            )
    classes = tuple(sorted({clip.action for clip in clips}))
    name = "rendered-motion"
    videos = tuple(
        ClassifiedVideo(**clip.common(name, root), label=classes.index(clip.action))
        for clip in _of_split(clips, split)
    )
    return VideoDataset(name, split, videos, classes=classes)


def read_rendered_category(root: Path, split: str = "train") -> VideoDataset[ClassifiedVideo]:
    """Read clips of one object each and what it is; recipe category.

    Clips of several objects or none are left out: nobody can say which one is meant.

    Args:
        root: of the tree.
        split: "train", "val" or "test".

    Raises:
        ValueError: the list is missing or damaged or has no such split, or no clip has one object.
    """
    clips = _read_list(root)
    single = [clip for clip in clips if len(clip.categories) == 1]
    classes = tuple(sorted({clip.categories[0] for clip in single}))
    wanted = _of_split(clips, split)
    name = "rendered-category"
    videos = tuple(
        ClassifiedVideo(**clip.common(name, root), label=classes.index(clip.categories[0]))
        for clip in wanted
        if len(clip.categories) == 1
    )
    if not videos:
        raise ValueError(
            f"no clip of {root} {split} has one object alone; render the recipe category"
        )
    left_out = len(wanted) - len(videos)
    note = f"left out {left_out} clips without exactly one object" if left_out else ""
    return VideoDataset(name, split, videos, note, classes)


def read_rendered_depth(
    root: Path, split: str = "train", labelled: Sequence[int] | None = None
) -> VideoDataset[DepthVideo]:
    """Read clips and their depth, which is unknown in the sky; recipe geometry.

    Args:
        root: of the tree.
        split: "train", "val" or "test".
        labelled: positions of the frames whose depth is told; None = all.

    Raises:
        ValueError: the list is missing or damaged, has no such split, or a clip no such frame.
    """
    name = "rendered-depth"

    def make(clip: _Clip) -> DepthVideo:
        source = RenderedDepth(clip.truth(root))
        frames = tuple(range(clip.num_frames)) if labelled is None else tuple(labelled)
        if not frames or not set(frames) <= set(range(clip.num_frames)):
            raise ValueError(
                f"expected labelled frames in 0..{clip.num_frames - 1} of {clip.split}/"
                f"{clip.name}, got {list(frames)}; choose others"
            )
        return DepthVideo(**clip.common(name, root), depth_source=source, labelled=frames)

    return _read_split(name, root, split, make)


def read_rendered_pose(root: Path, split: str = "train") -> VideoDataset[PosedVideo]:
    """Read clips and their cameras, in metres; recipe geometry. See `read_rendered_depth`."""
    name = "rendered-pose"

    def make(clip: _Clip) -> PosedVideo:
        source = RenderedCameras(clip.truth(root), clip.size)
        return PosedVideo(**clip.common(name, root), camera_source=source)

    return _read_split(name, root, split, make)


def read_rendered_points(root: Path, split: str = "train") -> VideoDataset[PointTrackVideo]:
    """Read clips and points on surfaces; recipe tracking. See `read_rendered_depth`."""
    name = "rendered-points"

    def make(clip: _Clip) -> PointTrackVideo:
        source = RenderedPoints(clip.truth(root), clip.size)
        return PointTrackVideo(**clip.common(name, root), point_source=source)

    return _read_split(name, root, split, make)


def read_rendered_boxes(root: Path, split: str = "train") -> VideoDataset[BoxTrackVideo]:
    """Read clips and boxes around visible parts; recipe tracking. See `read_rendered_depth`."""
    name = "rendered-boxes"

    def make(clip: _Clip) -> BoxTrackVideo:
        source = RenderedBoxes(clip.truth(root), clip.categories)
        return BoxTrackVideo(**clip.common(name, root), box_source=source)

    return _read_split(name, root, split, make)


def read_rendered_segments(root: Path, split: str = "train") -> VideoDataset[LabelledVideo]:
    """Read clips and the category of every pixel, 0 = background. See `read_rendered_depth`."""
    clips = _read_list(root)
    classes = (BACKGROUND, *sorted({each for clip in clips for each in clip.categories}))
    name = "rendered-segments"
    videos = tuple(
        LabelledVideo(
            **clip.common(name, root),
            label_source=RenderedLabels(
                clip.truth(root), (0, *(classes.index(each) for each in clip.categories))
            ),
            labelled=tuple(range(clip.num_frames)),
        )
        for clip in _of_split(clips, split)
    )
    return VideoDataset(name, split, videos, classes=classes)


def _read_split(name: str, root: Path, split: str, make: Callable[[_Clip], V]) -> VideoDataset[V]:
    """Read clips whose truth needs nothing but themselves."""
    return VideoDataset(name, split, tuple(map(make, _of_split(_read_list(root), split))))


def _read_list(root: Path) -> list[_Clip]:
    path = Path(root) / _LIST
    clips = read_json(path, dict).get("clips")
    if not isinstance(clips, dict) or not clips:
        raise ValueError(f'{path} lists no clip under "clips", expected at least one')
    return [_read_clip(path, key, scene) for key, scene in clips.items()]


def _read_clip(path: Path, key: str, scene: Any) -> _Clip:
    split, _, name = key.partition("/")
    try:
        return _Clip(
            split=split,
            name=name,
            num_frames=int(scene["num_frames"]),
            size=(int(scene["height"]), int(scene["width"])),
            action=str(scene["action"]),
            categories=tuple(str(each["category"]) for each in scene["objects"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {key} is no scene ({error!r}); render it again") from error


def _of_split(clips: list[_Clip], split: str) -> list[_Clip]:
    found = [clip for clip in clips if clip.split == split]
    if not found:
        known = ", ".join(sorted({clip.split for clip in clips}))
        raise ValueError(
            f"{_LIST} lists no clip of split {split!r}, but of {known}; render more with "
            f"--layout native --split {split}"
        )
    return found


def _benchmark(name: str, read: Callable[[Path, str], VideoDataset[Any]]) -> Benchmark:
    return Benchmark(
        name=name,
        splits=_SPLITS,
        list_path=lambda root, split: Path(root) / split,
        read=read,
        published=(),
    )


RENDERED_BENCHMARKS = (
    _benchmark("rendered-motion", read_rendered_motion),
    _benchmark("rendered-category", read_rendered_category),
    _benchmark("rendered-depth", read_rendered_depth),
    _benchmark("rendered-pose", read_rendered_pose),
    _benchmark("rendered-points", read_rendered_points),
    _benchmark("rendered-boxes", read_rendered_boxes),
    _benchmark("rendered-segments", read_rendered_segments),
)
"""One tree serves all of them, as far as its recipe goes."""
