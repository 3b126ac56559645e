"""Videos of sliding squares in the layouts of data sets with tracks, written without the readers.

A square of a color of its own slides over a gray ground in every clip; a second one leaves the
frame. Points are the centers of the squares, boxes their edges.
"""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vdit.video_writer import VideoWriter

COLORS = np.array([[230, 40, 40], [40, 60, 230]], np.uint8)


@dataclass
class Squares:
    """Frames [T, H, W, 3] uint8, edges [2, T, 4] in pixels, and which squares are wholly seen."""

    frames: np.ndarray
    edges: np.ndarray
    seen: np.ndarray

    @property
    def size(self):
        return np.array(self.frames.shape[2:0:-1], float)

    @property
    def points(self):
        """Centers [2, T, 2] (x, y) in shares of the frame."""
        return (self.edges[..., :2] + self.edges[..., 2:]) / 2 / self.size

    @property
    def boxes(self):
        """[2, T, 4] in shares of the frame."""
        return self.edges / np.tile(self.size, 2)


def make_squares(seed, num_frames=6, height=32, width=48, side=8):
    rng = np.random.default_rng(seed)
    frames = np.full((num_frames, height, width, 3), 120, np.uint8)
    edges = np.zeros((2, num_frames, 4))
    start = np.array([[2, 2], [width - 3 * side, height - side - 4]]) + rng.integers(0, 4, (2, 2))
    step = np.array([[rng.integers(1, 3), 1], [3 * side // num_frames + 1, 0]])
    for t in range(num_frames):
        for square in (0, 1):
            x, y = start[square] + t * step[square]
            edges[square, t] = x, y, x + side, y + side
            frames[t, y : y + side, x : x + side] = COLORS[square]
    seen = (edges[..., 2] <= width) & (edges[..., 3] <= height)
    return Squares(frames, edges, seen)


def jpegs(frames):
    encoded = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=95)
        encoded.append(file.getvalue())
    return encoded


def tap_vid_entry(squares, frames=None):
    return {
        "video": squares.frames if frames is None else frames,
        "points": squares.points.astype(np.float32),
        "occluded": ~squares.seen,
    }


def write_tap_vid_davis(root, clips, protocol=4):
    """Clips by name."""
    content = {name: tap_vid_entry(each) for name, each in clips.items()}
    _dump(root / "tapvid_davis" / "tapvid_davis.pkl", content, protocol)


def write_tap_vid_rgb_stacking(root, clips):
    content = [tap_vid_entry(each) for each in clips]
    _dump(root / "tapvid_rgb_stacking" / "tapvid_rgb_stacking.pkl", content)


def write_tap_vid_kinetics(root, clips, num_shards=2):
    for shard in range(num_shards):
        content = [tap_vid_entry(each, jpegs(each.frames)) for each in clips[shard::num_shards]]
        _dump(root / "tapvid_kinetics" / f"{shard:04d}_of_{num_shards:04d}.pkl", content)


def write_perception_test(root, clips, split, name, box_every=2):
    """Clips by name; boxes in every `box_every`-th frame, as the release has one a second."""
    content = {}
    (root / "videos").mkdir(parents=True, exist_ok=True)
    for video, each in clips.items():
        with VideoWriter(root / "videos" / f"{video}.mp4", 30) as writer:
            for frame in each.frames:
                writer.add(frame)
        content[video] = {
            "metadata": {
                "split": split,
                "video_id": video,
                "frame_rate": 30.0,
                "num_frames": len(each.frames),
                "resolution": list(each.frames.shape[1:3]),
                "is_camera_moving": False,
            },
            "point_tracking": [_point_track(each, k) for k in (0, 1)],
            "object_tracking": [_object_track(each, k, box_every) for k in (0, 1)],
            "mc_question": [],
        }
    (root / name).write_text(json.dumps(content))


def write_waymo(root, clips, split, camera="FRONT", suffix=".png"):
    """Clips by segment."""
    for segment, each in clips.items():
        folder = root / split / segment / camera
        folder.mkdir(parents=True)
        for number, frame in enumerate(each.frames):
            Image.fromarray(frame).save(folder / f"{number:04d}{suffix}")
        objects = []
        for square in (0, 1):
            frames = np.flatnonzero(each.seen[square])
            low, high = each.edges[square, frames, :2], each.edges[square, frames, 2:]
            boxes = np.hstack([(low + high) / 2, high - low])
            objects.append(
                {
                    "id": f"track-{square}",
                    "type": "VEHICLE",
                    "frames": frames.tolist(),
                    "boxes": boxes.tolist(),
                }
            )
        height, width = each.frames.shape[1:3]
        content = {"width": width, "height": height, "objects": objects}
        (folder.parent / f"{camera}.json").write_text(json.dumps(content))


def _point_track(squares, square):
    frames = np.flatnonzero(squares.seen[square])
    x, y = squares.points[square, frames].T
    return {
        "id": square,
        "label": "a square",
        "parent_objects": [square],
        "frame_ids": frames.tolist(),
        "points": [y.tolist(), x.tolist()],
    }


def _object_track(squares, square, every):
    frames = [t for t in np.flatnonzero(squares.seen[square]).tolist() if t % every == 0]
    return {
        "id": square,
        "label": f"square {square}",
        "is_occluder": 0,
        "bounding_boxes": squares.boxes[square, frames].tolist(),
        "initial_tracking_box": [1] + [0] * (len(frames) - 1),
        "frame_ids": frames,
        "timestamps": [t * 1e6 / 30 for t in frames],
        "is_masked": [0] * len(frames),
    }


def _dump(path, content, protocol=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))
