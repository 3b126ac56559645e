"""Clips as Cityscapes: snippets of 30 frames, one of them with labels, disparity and camera."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.pictures import write_png
from vdit.datasets.synthetic.writers.records import NamedClips, record_clips, write_json

_SNIPPET = 30
_LABELLED = 19
_ROAD, _BUILDING, _SKY = 7, 11, 23
_THINGS = (24, 25, 26, 27, 28, 31, 32, 33)  # person to bicycle, those that are evaluated
_BASELINE_M = 0.209313
_GROUND_M = 0.01  # how far from the ground a point may be that counts as ground


def write_cityscapes(
    clips: NamedClips,
    root: Path,
    split: str = "train",
    city: str = "renderburg",
    label_ids: Mapping[str, int] | None = None,
    baseline_m: float = _BASELINE_M,
    labelled: int = _LABELLED,
) -> None:
    """Write one split of a tree like Cityscapes, with <stem> = <split>/<city>/<city>_%06d_%06d.

        leftImg8bit_sequence/<stem>_leftImg8bit.png     frames 000000 to 000029
        leftImg8bit/<stem>_leftImg8bit.png              the labelled frame, 000019
        gtFine/<stem>_gtFine_labelIds.png               [H, W] uint8
        gtFine/<stem>_gtFine_instanceIds.png            [H, W] uint16
        disparity/<stem>_disparity.png                  [H, W] uint16
        camera/<stem>_camera.json

    The first number of a name counts the clips, the second their frames; clips are cut after 30
    frames, and of a clip that is too short the last frame is labelled. The ground is road, the sky
    sky, what else is behind the objects a building. Objects k of one label are instances 1000 *
    label + k. A disparity p > 0 means (p - 1) / 256 pixels, which is baseline * fx / depth; 0 = no
    measurement, as in the sky.

    Args:
        clips: names, which only rendered.json keeps, and clips.
        root: folder of the tree.
        split: "train", "val" or "test".
        city: name of the folder, without _; those of the splits should differ.
        label_ids: labelIds (not trainIds) of categories; each other category always gets the same
            of the eight evaluated things.
        baseline_m: distance of the two cameras in metres.
        labelled: position of the labelled frame, 19 in the real snippets of 30 frames.

    Raises:
        ValueError: no clip, or a city with _.
    """
    if not city.isalnum():
        raise ValueError(f"city={city!r}, expected letters and digits only; rename it")
    root = Path(root)
    for sequence, (_, clip) in enumerate(record_clips(clips, root, split)):
        frames = clip.frames[:_SNIPPET]
        stems = [f"{split}/{city}/{city}_{sequence:06d}_{t:06d}" for t in range(len(frames))]
        for stem, frame in zip(stems, frames, strict=True):
            write_png(root / "leftImg8bit_sequence" / f"{stem}_leftImg8bit.png", frame)
        t = min(labelled, len(frames) - 1)
        labels, instances = _label_frame(clip, t, label_ids or {})
        write_png(root / "leftImg8bit" / f"{stems[t]}_leftImg8bit.png", frames[t])
        write_png(root / "gtFine" / f"{stems[t]}_gtFine_labelIds.png", labels)
        write_png(root / "gtFine" / f"{stems[t]}_gtFine_instanceIds.png", instances)
        disparity = _measure_disparity(clip, t, baseline_m)
        write_png(root / "disparity" / f"{stems[t]}_disparity.png", disparity)
        camera = _describe_camera(clip, t, baseline_m)
        write_json(root / "camera" / f"{stems[t]}_camera.json", camera)


def _label_frame(
    clip: RenderedClip, t: int, label_ids: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Make labelIds [H, W] uint8 and instanceIds [H, W] uint16 of one frame."""
    labels = np.full(clip.depth.shape[1:], _BUILDING, dtype=np.uint8)
    labels[_is_ground(clip, t)] = _ROAD
    labels[np.isinf(clip.depth[t])] = _SKY
    instances = labels.astype(np.uint16)
    counts: dict[int, int] = {}
    for k, spec in enumerate(clip.scene.objects):
        label = label_ids.get(spec.category, _choose_label(spec.category))
        mask = clip.instances[t] == k + 1
        labels[mask] = label
        instances[mask] = 1000 * label + counts.get(label, 0)
        counts[label] = counts.get(label, 0) + 1
    return labels, instances


def _choose_label(category: str) -> int:
    return _THINGS[zlib.crc32(category.encode()) % len(_THINGS)]


def _is_ground(clip: RenderedClip, t: int) -> np.ndarray:
    """[H, W] bool: the point that a pixel shows is at the height of the ground."""
    depth = np.where(np.isfinite(clip.depth[t]), clip.depth[t], np.nan).astype(np.float64)
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(clip.camera.intrinsics[t]).T
    # row 1 of the transposed rotation turns a point in the camera to its height in the world
    pose = clip.camera.world_to_camera[t]
    heights = (rays * depth[..., None] - pose[:, 3]) @ pose[:, 1]
    return np.abs(heights) < _GROUND_M


def _measure_disparity(clip: RenderedClip, t: int, baseline_m: float) -> np.ndarray:
    depth = clip.depth[t].astype(np.float64)
    disparity = baseline_m * clip.camera.intrinsics[t, 0, 0] / depth
    stored = np.minimum(np.round(disparity * 256) + 1, 65535)
    return np.where(np.isfinite(depth), stored, 0).astype(np.uint16)


def _describe_camera(clip: RenderedClip, t: int, baseline_m: float) -> dict[str, Any]:
    """Intrinsics in pixels; of the extrinsics only what a stereo pair needs is known."""
    matrix = clip.camera.intrinsics[t]
    height_m = -float(clip.camera.centers()[t, 1])
    return {
        "extrinsic": {
            "baseline": baseline_m,
            "pitch": 0.0,
            "roll": 0.0,
            "x": 0.0,
            "y": 0.0,
            "yaw": 0.0,
            "z": height_m,
        },
        "intrinsic": {
            "fx": float(matrix[0, 0]),
            "fy": float(matrix[1, 1]),
            "u0": float(matrix[0, 2]),
            "v0": float(matrix[1, 2]),
        },
    }
