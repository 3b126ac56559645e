"""A2D-Sentences: videos of several actors, one sentence an actor, masks of three to five frames.

    Release/CLIPS320/<video>.mp4                  "CLIPS320H" in some copies
    text_annotations/a2d_annotation_with_instances/<video>/%05d.h5
    a2d_sentences_single_frame_{train,test}_annotations.json    [text, video, frame, instance]

Frames count from 1, instances from 0. Masks lie transposed, as MATLAB writes them. The lists are
those that MTTR derived and all descendants use; videos of a2d_missed_videos.txt are not in them.

References: Xu et al., CVPR 2015; Gavrilyuk et al., CVPR 2018.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.annotation_files import read_json
from vdit.datasets.checking import Benchmark
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import VideoFrames
from vdit.datasets.mask_sources import expect_size
from vdit.datasets.referring import ReferringDataset, ReferringSample

__all__ = ["A2D", "InstanceMasks", "read_a2d"]

_NAME = "a2d"
_SPLITS = ("train", "test")
_CLIP_FOLDERS = ("CLIPS320", "CLIPS320H")
_BROKEN_HDF5 = (OSError, KeyError, ValueError)


@dataclass(frozen=True)
class InstanceMasks:
    """Masks of one video, a HDF5 file for each labelled frame.

    Attributes:
        folder: of the files.
    """

    folder: Path

    def path(self, index: int) -> Path:
        return self.folder / f"{index + 1:05d}.h5"

    def read(
        self, indices: Sequence[int], object_ids: Sequence[int], size: tuple[int, int]
    ) -> np.ndarray:
        """Decode masks; see `ReferringSample.masks`."""
        masks = np.zeros((len(object_ids), len(indices), *size), dtype=bool)
        for t, index in enumerate(indices):
            path = self.path(index)
            instances, found = _read_file(path)
            expect_size(path, found.shape[1:], size)
            for n, object_id in enumerate(object_ids):
                if object_id not in instances:
                    raise ValueError(
                        f"{path} has the instances {instances}, not {object_id}; take lists and "
                        "masks of one release"
                    )
                masks[n, t] = found[instances.index(object_id)]
        return masks

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Load every labelled frame."""
        size = None
        seen: set[int] = set()
        for index in indices:
            path = self.path(index)
            if not path.is_file():
                findings.add("masks are missing", path)
                continue
            try:
                instances, masks = _read_file(path)
            except ValueError as error:
                findings.add("masks cannot be read", error)
                continue
            seen.update(instances)
            found = int(masks.shape[1]), int(masks.shape[2])
            size = size or found
            if found != size:
                findings.add("masks differ in size from the first one of their video", path)
        for object_id in set(object_ids) - seen if size else ():
            findings.add("instances of expressions have no mask", f"{self.folder}: {object_id}")
        return size


def _read_file(path: Path) -> tuple[list[int], np.ndarray]:
    """Ids of the instances and their masks [N, H, W] bool; reMask is [N, W, H], or [W, H]."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; run `vdit data check`")
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError as error:
        raise ValueError(
            "masks of A2D are HDF5 files, which need h5py, and it is not installed; "
            "run `pip install vdit[a2d]`"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            instances = [int(instance) for instance in np.ravel(file["instance"])]
            masks = np.asarray(file["reMask"])
    except _BROKEN_HDF5 as error:
        raise ValueError(f"{path} cannot be read ({error}); copy it again") from error
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or len(masks) != len(instances):
        raise ValueError(
            f"{path} has masks of the shape {list(masks.shape)} for {len(instances)} instances, "
            "expected one [W, H] each; copy it again"
        )
    return instances, masks.transpose(0, 2, 1) > 0


def read_a2d(root: Path, split: str = "train") -> ReferringDataset:
    """Read the list of one split; a sample is a sentence at one labelled frame of a video.

    Videos are decoded later. The expression is "f_<frame>_i_<instance>", so that the truth in
    COCO's form calls a sample v_<video>_<expression>.

    Args:
        root: folder of the tree.
        split: "train" or "test".

    Raises:
        ValueError: another split; the list is missing, damaged or empty.
    """
    root = Path(root)
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    path = _list_path(root, split)
    rows = read_json(path, list)
    if not rows:
        raise ValueError(f"{path} names no sample, expected at least one")
    release = root / "Release"
    folders = [release / name for name in _CLIP_FOLDERS if (release / name).is_dir()]
    clips = folders[0] if folders else release / _CLIP_FOLDERS[0]
    videos: dict[str, VideoFrames] = {}
    samples = []
    for row in rows:
        text, video, frame, instance = _read_row(path, row)
        frames = videos.setdefault(video, VideoFrames(clips / f"{video}.mp4"))
        samples.append(
            ReferringSample(
                dataset=_NAME,
                split=split,
                video=video,
                expression=f"f_{frame}_i_{instance}",
                text=text,
                object_ids=(instance,),
                frame_source=frames,
                mask_source=InstanceMasks(
                    root / "text_annotations" / "a2d_annotation_with_instances" / video
                ),
                labelled=(frame - 1,),
            )
        )
    return ReferringDataset(_NAME, split, tuple(samples))


def _list_path(root: Path, split: str) -> Path:
    return root / f"a2d_sentences_single_frame_{split}_annotations.json"


def _read_row(path: Path, row: Any) -> tuple[str, str, int, int]:
    try:
        text, video, frame, instance = row
        frame, instance = int(frame), int(instance)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} holds {str(row)[:80]}, expected [text, video, frame, instance]"
        ) from error
    if frame < 1:
        raise ValueError(f"{path}: frame {frame} of {video}, expected frames from 1")
    return str(text), str(video), frame, instance


def _inspect(root: Path, split: str, dataset: ReferringDataset, findings: Findings) -> list[str]:
    """Compare labelled frames with the lengths of the videos."""
    for sample in dataset:
        try:
            num_frames = len(sample.frame_names)
        except ValueError:
            continue  # a missing or damaged video, which is noted already
        for index in sample.labelled or ():
            if index >= num_frames:
                findings.add(
                    "labelled frames are past the end of their video",
                    f"{sample.video}: frame {index + 1} of {num_frames}",
                )
    return []


A2D = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_a2d,
    published=(
        "https://web.eecs.umich.edu/~jjcorso/r/a2d/",
        "https://kgavrilyuk.github.io/publication/actor_action/",
        "https://github.com/mttr2021/MTTR",  # the lists of samples
    ),
    inspect=_inspect,
)
