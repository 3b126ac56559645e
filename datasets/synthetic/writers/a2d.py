"""Clips as A2D-Sentences: videos, one sentence for each actor, masks of a few frames."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from vdit.atomic import replace_when_complete
from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.scene import FRAMES_PER_SECOND
from vdit.datasets.synthetic.writers.coco_truth import CocoTruth
from vdit.datasets.synthetic.writers.expressions import list_for_object
from vdit.datasets.synthetic.writers.pictures import spread_frames
from vdit.datasets.synthetic.writers.records import (
    NamedClips,
    as_csv,
    expect_names,
    record_clips,
    write_json,
    write_lines,
    write_text,
    write_video,
)
from vdit.masks import masks_to_boxes_xyxy

_SUBSETS = ("train", "test")
_NO_LABEL = 0  # of the actor and action, which no reader of the sentences looks at


def write_a2d(
    clips: NamedClips,
    root: Path,
    test_names: Collection[str] = (),
    num_labelled: int = 3,
    clips_folder: str = "CLIPS320",
) -> None:
    """Write a tree like A2D-Sentences.

        Release/CLIPS320/<vid>.mp4
        Release/videoset.csv        vid, label, start, end, height, width, frames, labelled, subset
        text_annotations/a2d_annotation.txt                 video_id,instance_id,query
        text_annotations/a2d_missed_videos.txt              videos without a labelled frame
        text_annotations/a2d_annotation_with_instances/<vid>/%05d.h5
        a2d_sentences_single_frame_{train,test}_annotations.json
        a2d_sentences_test_annotations_in_coco_format.json

    Frames count from 1, instances from 0. An h5 file holds, in the transposed order of MATLAB,
    reMask [N, W, H] uint8 (without the first axis if N = 1), reBBox [4, N] (x1, y1, x2, y2) in
    pixels and instance [N], of the instances that are visible. Each object has one sentence, the
    first that names it alone; objects without one have masks only. The JSON files are those that
    the released code of MTTR and its descendants derives and reads.

    Args:
        clips: names of the videos and clips; lossy in the videos, and padded to even sides.
        root: folder of the tree.
        test_names: names of the videos for testing; the others are for training.
        num_labelled: frames with masks in each video, evenly spaced; 3 to 5 in the real data.
        clips_folder: name of the folder of videos, "clips320H" in some copies.

    Raises:
        ValueError: no clip, a test name that no clip has, or h5py is not installed.
    """
    root = Path(root)
    h5py = _import_h5py()
    texts = root / "text_annotations"
    queries: list[tuple[str, int, str]] = []
    videos: list[tuple[Any, ...]] = []
    missed: list[str] = []
    samples: dict[str, list[tuple[str, str, int, int]]] = {subset: [] for subset in _SUBSETS}
    truth = CocoTruth()
    for name, clip in record_clips(clips, root):
        subset = "test" if name in test_names else "train"
        write_video(root / "Release" / clips_folder / f"{name}.mp4", clip)
        masks = clip.masks
        labelled = _choose_frames(masks, num_labelled)
        for t in labelled:
            path = texts / "a2d_annotation_with_instances" / name / f"{t + 1:05d}.h5"
            _write_instances(h5py, path, masks[:, t])
        if not labelled:
            missed.append(name)
        videos.append(_describe_video(name, clip, len(labelled), subset))
        for k, query in _choose_queries(clip):
            queries.append((name, k, query))
            for t in (t for t in labelled if masks[k, t].any()):
                samples[subset].append((query.lower(), name, t + 1, k))
                if subset == "test":
                    truth.add(f"v_{name}_f_{t + 1}_i_{k}", masks[k, t])
    expect_names(test_names, (video[0] for video in videos))
    write_text(root / "Release" / "videoset.csv", as_csv(videos))
    header = ("video_id", "instance_id", "query")
    write_text(texts / "a2d_annotation.txt", as_csv([header, *queries]))
    write_lines(texts / "a2d_missed_videos.txt", missed)
    for subset, rows in samples.items():
        write_json(root / f"a2d_sentences_single_frame_{subset}_annotations.json", rows)
    write_json(root / "a2d_sentences_test_annotations_in_coco_format.json", truth.as_json())


def _import_h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise ValueError(
            "masks of A2D are HDF5 files, which need h5py, and it is not installed; "
            "run `pip install vdit[a2d]`"
        ) from error


def _choose_frames(masks: np.ndarray, count: int) -> list[int]:
    """Evenly spaced frames of those that show an object; masks: [N, T, H, W]."""
    shown = np.flatnonzero(masks.any(axis=(0, 2, 3)))
    return [int(shown[place]) for place in spread_frames(len(shown), count)]


def _choose_queries(clip: RenderedClip) -> list[tuple[int, str]]:
    captions = {k: list_for_object(clip, k) for k in range(clip.num_objects)}
    return [(k, found[0].text) for k, found in captions.items() if found]


def _write_instances(h5py: Any, path: Path, masks: np.ndarray) -> None:
    """masks: [N, H, W] bool, with at least one that is not empty."""
    instances = np.flatnonzero(masks.any(axis=(1, 2)))
    transposed = masks[instances].transpose(0, 2, 1).astype(np.uint8)
    boxes = masks_to_boxes_xyxy(masks[instances]).T.astype(np.float64)
    with replace_when_complete(path) as temporary, h5py.File(temporary, "w") as file:
        file["reMask"] = transposed[0] if len(instances) == 1 else transposed
        file["reBBox"] = boxes
        file["instance"] = instances.astype(np.int64)


def _describe_video(name: str, clip: RenderedClip, labelled: int, subset: str) -> tuple[Any, ...]:
    num_frames, height, width = clip.frames.shape[:3]
    seconds = max(round(num_frames / FRAMES_PER_SECOND), 1)
    end = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return (
        name,
        _NO_LABEL,
        "0:00:00",
        end,
        height,
        width,
        num_frames,
        labelled,
        _SUBSETS.index(subset),
    )
