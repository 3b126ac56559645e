"""Propagation between two identical balls that cross: by codes of the objects, and by appearance.

python benchmarks/identical_balls.py [--tree DIR] -o benchmarks/identical_balls.json

Without a tree, the 14 clips of the recipe kubric-similar with the seeds 0 to 13 are rendered. Codes
are the shares of each object in a cell, which follow it; appearance is the mean color of a cell.
`J` is that of each ball with its own label, `J_any` with whichever label fits it best, `J_both` of
the two balls as one foreground: it says whether they are found at all. `ahead` and `behind` are J
of the larger and of the smaller ball in the first frame.
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

from vdit.datasets.kubric_similar import read_kubric_similar
from vdit.datasets.synthetic.cell_features import mean_colors, object_codes
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.metrics.davis import (
    region_similarity,
    score_semi_supervised,
    score_unsupervised,
    summarize,
)
from vdit.propagation import PropagationSettings, stream_labels
from vdit.propagation.mask_labels import mask_from_labels, shares_from_mask

SETTINGS = PropagationSettings.dino(num_context=15, radius=15, topk=10, temperature=0.1)
NUM_BALLS = 2


def read_clips(tree: Path | None, count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, frames [T, H, W, 3] and labels [T, H, W] of every clip."""
    if tree is None:
        for seed, clip in enumerate(RenderedClips("kubric-similar", count)):
            yield f"seed {seed}", clip.frames, clip.instances
        return
    for video in read_kubric_similar(tree):
        yield video.name, video.frames(), np.stack([video.labels(t) for t in video.labelled])


def carry(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Carry the first labels through a clip: [T, H, W] uint8."""
    maps = torch.from_numpy(features)
    first = shares_from_mask(torch.from_numpy(labels[0].astype(np.int64)), maps.shape[-2:])
    masks = [
        mask_from_labels(soft, labels.shape[1:]).numpy()
        for soft in stream_labels(maps, first, SETTINGS)
    ]
    return np.stack([labels[0], *masks]).astype(np.uint8)


def score(labels: np.ndarray, found: np.ndarray) -> dict[str, float]:
    own = score_semi_supervised(labels, found)
    summary = summarize([own])
    of_ball = own.region.mean(axis=1)
    larger = int((labels[0] == 2).sum() > (labels[0] == 1).sum())
    row = {
        "J": summary["J-Mean"],
        "F": summary["F-Mean"],
        "J_any": summarize([score_unsupervised(labels[1:-1], found[1:-1])])["J-Mean"],
        "J_both": float(region_similarity(labels[1:-1] > 0, found[1:-1] > 0).mean()),
        "J_ahead": float(of_ball[larger]),
        "J_behind": float(of_ball[1 - larger]),
        "J_first_half": float(own.region[:, : own.region.shape[1] // 2].mean()),
        "J_second_half": float(own.region[:, own.region.shape[1] // 2 :].mean()),
    }
    return {name: round(value, 4) for name, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, help="of Kubric-Similar (default: render)")
    parser.add_argument("--count", type=int, default=14, help="clips to render")
    parser.add_argument("--stride", type=int, default=4, help="pixels of a cell")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.process_time()
    rows: dict[str, dict[str, dict[str, float]]] = {"codes": {}, "appearance": {}}
    for name, frames, labels in read_clips(options.tree, options.count):
        for kind, features in (
            ("codes", object_codes(labels, options.stride, NUM_BALLS)),
            ("appearance", mean_colors(frames, options.stride)),
        ):
            rows[kind][name] = score(labels, carry(features, labels))
            print(name, kind, rows[kind][name], flush=True)
    means = {
        kind: {
            name: round(float(np.mean([row[name] for row in of_kind.values()])), 4)
            for name in next(iter(of_kind.values()))
        }
        for kind, of_kind in rows.items()
    }
    print(json.dumps(means, indent=1))
    result = {
        "date": date.today().isoformat(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "hardware": "2 cores of an AMD EPYC with AVX-512, one thread, beside other work",
        "clips": "rendered by recipe" if options.tree is None else "photo-realistic tree",
        "stride": options.stride,
        "settings": vars(SETTINGS),
        "processor_seconds": round(time.process_time() - begin, 1),
        "means": means,
        "clips_one_by_one": rows,
    }
    if options.output is not None:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
