"""Clips as exported scans of ScanNet: color, depth in millimetres, poses, intrinsics."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.pictures import write_jpegs, write_png
from vdit.datasets.synthetic.writers.records import NamedClips, record_clips, write_lines

_LARGEST_MM = 65535


def write_scannet(clips: NamedClips, root: Path, split: str = "train", depth_step: int = 2) -> None:
    """Write one split of a tree like the exported scans of ScanNet, with <scene> = scene%04d_00.

        scans/<scene>/color/<n>.jpg            n from 0, without leading zeros
        scans/<scene>/depth/<n>.png            uint16 millimetres, 0 = unknown
        scans/<scene>/pose/<n>.txt             4 x 4 camera to world
        scans/<scene>/intrinsic/intrinsic_{color,depth}.txt and extrinsic_{color,depth}.txt
        scannetv2_<split>.txt                  a scene a line

    Depth is of every `depth_step`-th row and column. Intrinsics count pixels from the center of the
    first one, as in ScanNet, and poses keep the renderer's world, whose y points down.

    Args:
        clips: names, which only rendered.json keeps, and clips.
        root: folder of the tree.
        split: "train" or "val"; the scenes of "val" have numbers from 5000.
        depth_step: rows and columns of color for one of depth.

    Raises:
        ValueError: no clip.
    """
    root = Path(root)
    scenes = []
    for number, (_, clip) in enumerate(record_clips(clips, root, split)):
        scene = f"scene{number + (0 if split == 'train' else 5000):04d}_00"
        _write_scan(root / "scans" / scene, clip, depth_step)
        scenes.append(scene)
    write_lines(root / f"scannetv2_{split}.txt", scenes)


def _write_scan(folder: Path, clip: RenderedClip, step: int) -> None:
    names = [str(t) for t in range(len(clip.frames))]
    write_jpegs(folder / "color", names, clip.frames)
    for t, name in enumerate(names):
        metres = clip.depth[t, ::step, ::step].astype(np.float64)
        stored = np.round(np.where(np.isfinite(metres), metres, 0) * 1000)
        stored[stored > _LARGEST_MM] = 0
        write_png(folder / "depth" / f"{name}.png", stored.astype(np.uint16))
        pose = np.eye(4)
        pose[:3] = clip.camera.world_to_camera[t]
        _write_matrix(folder / "pose" / f"{name}.txt", np.linalg.inv(pose))
    color = np.eye(4)
    color[:3, :3] = clip.camera.intrinsics[0]
    color[:2, 2] -= 0.5  # the renderer counts from the corner of the first pixel
    depth = color.copy()
    depth[:2] /= step
    for kind, matrix in (("color", color), ("depth", depth)):
        _write_matrix(folder / "intrinsic" / f"intrinsic_{kind}.txt", matrix)
        _write_matrix(folder / "intrinsic" / f"extrinsic_{kind}.txt", np.eye(4))


def _write_matrix(path: Path, matrix: np.ndarray) -> None:
    write_lines(path, (" ".join(f"{value:.6f}" for value in row) for row in matrix))
