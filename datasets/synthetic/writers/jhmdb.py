"""Clips as J-HMDB and JHMDB-Sentences: one actor with mask, joints and sentence in each video."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import scipy.io

from vdit.atomic import replace_when_complete
from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.coco_truth import CocoTruth
from vdit.datasets.synthetic.writers.expressions import first_for_object
from vdit.datasets.synthetic.writers.pictures import name_frames, spread_frames, write_png
from vdit.datasets.synthetic.writers.records import (
    NamedClips,
    as_csv,
    expect_names,
    name_action,
    record_clips,
    write_json,
    write_lines,
    write_text,
)

_ACTOR = 0  # the object that mask, joints and sentence are about
_NUM_JOINTS = 15
_NUM_SAMPLES = 3
_PREFIX = "./jhmdb_sentences"  # that the paths of the released metadata begin with


def write_jhmdb(clips: NamedClips, root: Path, test_names: Collection[str] = ()) -> None:
    """Write a tree like J-HMDB with the sentences; `root` is the folder jhmdb_sentences.

        Rename_Images/<action>/<vid>/%05d.png                 from 00001
        puppet_mask/<action>/<vid>/puppet_mask.mat            part_mask [H, W, T] uint8
        joint_positions/<action>/<vid>/joint_positions.mat    pos_img, pos_world [2, 15, T]
        splits/<action>_test_split1.txt                       "<vid>.avi 1" = train, 2 = test
        jhmdb_annotation.txt                                  video_id,query
        jhmdb_sentences_samples_metadata.json
        jhmdb_sentences_gt_annotations_in_coco_format.json

    All is about the first object. Its mask is the visible part. pos_img is (x, y) in pixels that
    count from 1, also where a joint is hidden; key points repeat until there are 15. pos_world is
    relative to the middle of the frame, as a share of 0.45 H. Three frames of each video, whether
    for training or testing, are samples, as sentences serve only for evaluation. The folder of a
    clip is its scene's action, or without one how the first object moves.

    Args:
        clips: names of the videos and clips.
        root: folder of the tree.
        test_names: names of the videos for testing; the others are for training.

    Raises:
        ValueError: no clip, one whose first object has no key points or no caption for itself, or
            a test name that no clip has.
    """
    root = Path(root)
    queries = []
    splits: dict[str, list[str]] = {}
    samples: list[tuple[str, str, str, int, str]] = []
    truth = CocoTruth()
    for name, clip in record_clips(clips, root):
        query = first_for_object(name, clip, _ACTOR)
        joints = _place_joints(name, clip)
        action = name_action(clip.scene)
        masks = clip.instances == _ACTOR + 1
        num_frames = len(masks)
        for frame_name, frame in zip(name_frames(num_frames, start=1), clip.frames, strict=True):
            write_png(root / "Rename_Images" / action / name / f"{frame_name}.png", frame)
        mask_path = Path("puppet_mask") / action / name / "puppet_mask.mat"
        _write_mat(root / mask_path, part_mask=masks.transpose(1, 2, 0).astype(np.uint8))
        joint_path = root / "joint_positions" / action / name / "joint_positions.mat"
        _write_mat(joint_path, pos_img=joints, pos_world=_normalize(joints, masks.shape[1:]))
        queries.append((name, query))
        splits.setdefault(action, []).append(f"{name}.avi {2 if name in test_names else 1}")
        for t in spread_frames(num_frames, _NUM_SAMPLES):
            frame_path = f"{_PREFIX}/Rename_Images/{action}/{name}/{t + 1:05d}.png"
            samples.append(
                (name, frame_path, f"{_PREFIX}/{mask_path.as_posix()}", num_frames, query)
            )
            truth.add(f"v_{name}_f_{t + 1}", masks[t])
    expect_names(test_names, (name for name, _ in queries))
    for action, lines in splits.items():
        write_lines(root / "splits" / f"{action}_test_split1.txt", lines)
    write_text(root / "jhmdb_annotation.txt", as_csv([("video_id", "query"), *queries]))
    write_json(root / "jhmdb_sentences_samples_metadata.json", samples)
    write_json(root / "jhmdb_sentences_gt_annotations_in_coco_format.json", truth.as_json())


def _place_joints(name: str, clip: RenderedClip) -> np.ndarray:
    """pos_img [2, 15, T] float64: the center of the first pixel is (1, 1)."""
    points = clip.keypoints.positions[clip.keypoints.objects == _ACTOR]
    if not len(points):
        raise ValueError(
            f"clip {name} has no key points of its first object, expected at least one; leave the "
            "clip out"
        )
    chosen = points[np.arange(_NUM_JOINTS) % len(points)].astype(np.float64)
    return chosen.transpose(2, 0, 1) + 0.5


def _normalize(joints: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    height, width = size
    middle = np.array([width / 2, height / 2])[:, None, None]
    return (joints - middle) / (0.45 * height)


def _write_mat(path: Path, **arrays: np.ndarray) -> None:
    with replace_when_complete(path) as temporary:
        scipy.io.savemat(temporary, arrays, do_compression=True)
