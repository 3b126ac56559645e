"""Clips as MOVi: the records of TensorFlow Datasets, and the arrays of MoTok.

MOVi is a world with z up, its depth is the distance to the center of the camera, and its flow is
(rows, columns).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from vdit.atomic import replace_when_complete
from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.pictures import encode_png
from vdit.datasets.synthetic.writers.records import (
    NamedClips,
    record_clips,
    write_lines,
)
from vdit.datasets.synthetic.writers.tfrecord import Feature, encode_example, write_record

_SKY_M = 100.0  # distance of what is infinitely far, or of the farthest point if that is farther
_SENSOR_MM = 32.0  # width of the sensor of MOVi's cameras
_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_BLENDER_CAMERA = np.diag([1.0, -1.0, -1.0])  # looks along -z with y up
_LABELS = "instances-category.labels.txt"


def write_movi_tfrecord(
    clips: NamedClips, root: Path, split: str = "train", name: str = "movi_e", num_shards: int = 1
) -> None:
    """Write one split of a tree like MOVi of TensorFlow Datasets.

        <name>-<split>.tfrecord-%05d-of-%05d
        instances-category.labels.txt             names of the categories, one a line

    Pictures are lists of PNG: video (RGB), segmentations (k + 1 = object k), depth (16 bits).
    forward_flow [T, H, W, 2] is a list of integers of 16 bits, the last frame's being no motion.
    A stored number x means x / 65535 * (max - min) + min, with metadata/depth_range in metres and
    metadata/forward_flow_range in pixels. instances/bboxes are (ymin, xmin, ymax, xmax) of the
    visible parts in 0..1, ragged over the frames of instances/bbox_frames. camera/quaternions are
    (w, x, y, z) of a camera that looks along its -z; its focal length is that of frame 0. Left out
    are physics, events, backward flow, normals and object coordinates. The sky is 100 m away.

    Args:
        clips: names of the videos and clips; clip i goes to shard i modulo the number of shards.
        root: folder of the tree, .../movi_e/128x128/1.0.0 in the real one.
        split: "train", "validation" or "test".
        name: of the data set.
        num_shards: number of files.

    Raises:
        ValueError: fewer clips than shards.
    """
    root = Path(root)
    if num_shards < 1:
        raise ValueError(f"num_shards={num_shards}, expected at least 1; pass a positive number")
    path = root / _LABELS
    labels = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    shards = [
        root / f"{name}-{split}.tfrecord-{number:05d}-of-{num_shards:05d}"
        for number in range(num_shards)
    ]
    count = 0
    with contextlib.ExitStack() as stack:
        temporaries = [stack.enter_context(replace_when_complete(shard)) for shard in shards]
        files = [stack.enter_context(temporary.open("wb")) for temporary in temporaries]
        for video_name, clip in record_clips(clips, root, split):
            features = _describe_video(video_name, clip)
            features |= _describe_instances(clip, labels) | _describe_camera(clip)
            write_record(files[count % num_shards], encode_example(features))
            count += 1
        if count < num_shards:
            raise ValueError(
                f"{count} clips came for num_shards={num_shards}, expected at least one for each; "
                "pass fewer shards"
            )
    write_lines(path, labels)


def write_movi_npy(clips: NamedClips, root: Path, split: str = "train") -> None:
    """Write one split of MOVi as the arrays that MoTok reads.

        <split>/<video>/rgb.npy             [T, H, W, 3] uint8
        <split>/<video>/segment.npy         [T, H, W, 1] uint8, k + 1 = object k
        <split>/<video>/depth.npy           [T, H, W, 1] float32, distance in metres
        <split>/<video>/forward_flow.npy    [T, H, W, 2] float32 (rows, columns) in pixels

    Args:
        clips: names of the videos and clips.
        root: folder of the tree.
        split: "train", "val" or "test".

    Raises:
        ValueError: no clip.
    """
    root = Path(root)
    for name, clip in record_clips(clips, root, split):
        arrays = {
            "rgb": clip.frames,
            "segment": clip.instances[..., None],
            "depth": _distances(clip)[..., None],
            "forward_flow": _row_column_flow(clip),
        }
        for stem, array in arrays.items():
            with replace_when_complete(root / split / name / f"{stem}.npy") as temporary:
                np.save(temporary, array)


def _describe_video(name: str, clip: RenderedClip) -> dict[str, Feature]:
    num_frames, height, width = clip.frames.shape[:3]
    depth, depth_range = _quantize(_distances(clip))
    flow, flow_range = _quantize(_row_column_flow(clip))
    backdrop = clip.scene.backdrop
    return {
        "video": [encode_png(frame) for frame in clip.frames],
        "segmentations": [encode_png(labels) for labels in clip.instances],
        "depth": [encode_png(frame) for frame in depth],
        "forward_flow": flow,
        "background": [f"{backdrop.floor} {backdrop.wall}".encode()],
        "metadata/video_name": [name.encode()],
        "metadata/height": np.array([height]),
        "metadata/width": np.array([width]),
        "metadata/num_frames": np.array([num_frames]),
        "metadata/num_instances": np.array([clip.num_objects]),
        "metadata/depth_range": depth_range,
        "metadata/forward_flow_range": flow_range,
    }


def _describe_instances(clip: RenderedClip, labels: list[str]) -> dict[str, Feature]:
    """Features of the objects; `labels` grows by categories that it has not."""
    objects = clip.scene.objects
    for spec in objects:
        if spec.category not in labels:
            labels.append(spec.category)
    height, width = clip.frames.shape[1:3]
    area = clip.masks.sum(axis=(2, 3))
    boxes = clip.boxes_xyxy[..., [1, 0, 3, 2]] / np.array([height, width, height, width])
    rows, frames = np.nonzero(area)  # by object, then frame
    lengths = (area > 0).sum(axis=1)
    return {
        "instances/category": np.array([labels.index(spec.category) for spec in objects], int),
        "instances/asset_id": [
            "_".join(filter(None, (spec.pattern, spec.color, spec.category))).encode()
            for spec in objects
        ],
        "instances/scale": np.array([spec.size for spec in objects], float),
        "instances/is_dynamic": np.array([spec.motion.program != "still" for spec in objects]),
        "instances/positions": clip.positions @ _Z_UP.T,
        "instances/image_positions": _project(clip) / np.array([width, height]),
        "instances/visibility": np.minimum(area, 65535),
        "instances/bboxes/ragged_flat_values": boxes[rows, frames],
        "instances/bboxes/ragged_row_lengths_0": lengths,
        "instances/bbox_frames/ragged_flat_values": frames,
        "instances/bbox_frames/ragged_row_lengths_0": lengths,
    }


def _describe_camera(clip: RenderedClip) -> dict[str, Feature]:
    camera = clip.camera
    to_world = camera.world_to_camera[..., :3].transpose(0, 2, 1)
    rotations = Rotation.from_matrix(_Z_UP @ to_world @ _BLENDER_CAMERA)
    focal_length = camera.intrinsics[0, 0, 0] / clip.frames.shape[2] * _SENSOR_MM
    return {
        "camera/focal_length": np.array([focal_length]),
        "camera/sensor_width": np.array([_SENSOR_MM]),
        "camera/field_of_view": np.array([2 * np.arctan(_SENSOR_MM / 2 / focal_length)]),
        "camera/positions": camera.centers() @ _Z_UP.T,
        "camera/quaternions": rotations.as_quat()[:, [3, 0, 1, 2]],
    }


def _distances(clip: RenderedClip) -> np.ndarray:
    """Distance to the center of the camera, [T, H, W] float32 in metres."""
    height, width = clip.depth.shape[1:]
    y, x = np.mgrid[:height, :width] + 0.5
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
    rays = np.einsum("tij,hwj->thwi", np.linalg.inv(clip.camera.intrinsics), pixels)
    distance = clip.depth * np.linalg.norm(rays, axis=-1)
    is_finite = np.isfinite(distance)
    sky = max(_SKY_M, float(distance[is_finite].max(initial=0.0)))
    return np.where(is_finite, distance, sky).astype(np.float32)


def _row_column_flow(clip: RenderedClip) -> np.ndarray:
    """(rows, columns) to the next frame, [T, H, W, 2] float32; zeros in the last frame."""
    return np.pad(clip.flow[..., ::-1], ((0, 1), (0, 0), (0, 0), (0, 0))).astype(np.float32)


def _quantize(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """16 bits over the range of the values, and that range [2] float32."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        high = low + 1.0
    stored = np.round((values.astype(np.float64) - low) / (high - low) * 65535)
    return stored.astype(np.uint16), np.array([low, high], dtype=np.float32)


def _project(clip: RenderedClip) -> np.ndarray:
    """Pixels (x, y) of the objects' middles, [N, T, 2]."""
    camera = clip.camera
    points = np.einsum("tij,ntj->nti", camera.world_to_camera[..., :3], clip.positions)
    points = points + camera.world_to_camera[None, ..., 3]
    pixels = np.einsum("tij,ntj->nti", camera.intrinsics, points)
    return pixels[..., :2] / pixels[..., 2:]
