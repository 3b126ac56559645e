"""The renderer's own layout: a clip to watch, and everything that is true of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from vdit.atomic import replace_when_complete
from vdit.datasets.synthetic.writers.pictures import name_frames, write_jpegs
from vdit.datasets.synthetic.writers.records import (
    NamedClips,
    record_clips,
    write_json,
    write_video,
)


def write_native(clips: NamedClips, root: Path, split: str = "train") -> None:
    """Write one folder for each clip.

        <split>/<name>/clip.mp4, frames/%05d.jpg
        <split>/<name>/scene.json, captions.json
        <split>/<name>/truth.npz      arrays named as in RenderedClip; tracks_*, keypoints_*

    Args:
        clips: names of the videos and clips.
        root: folder of the tree.
        split: part of the data set.

    Raises:
        ValueError: no clip, or a name that cannot be the name of a file.
    """
    root = Path(root)
    for name, clip in record_clips(clips, root, split):
        folder = root / split / name
        write_jpegs(folder / "frames", name_frames(len(clip.frames)), clip.frames)
        write_video(folder / "clip.mp4", clip)
        write_json(folder / "scene.json", clip.scene.as_json())
        write_json(folder / "captions.json", [asdict(caption) for caption in clip.captions])
        arrays = {
            "instances": clip.instances,
            "amodal": clip.amodal,
            "depth": clip.depth,
            "flow": clip.flow,
            "intrinsics": clip.camera.intrinsics,
            "world_to_camera": clip.camera.world_to_camera,
            "positions": clip.positions,
        }
        for kind, tracks in (("tracks", clip.tracks), ("keypoints", clip.keypoints)):
            arrays |= {f"{kind}_{field}": np.array(each) for field, each in vars(tracks).items()}
        with (
            replace_when_complete(folder / "truth.npz") as temporary,
            temporary.open("wb") as file,
        ):
            np.savez_compressed(file, allow_pickle=False, **arrays)
