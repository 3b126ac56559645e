r"""A trained tracker on held-out rendered clips with crossing lanes, beside association by overlap.

    vdit data render mot --layout mot --count 400 --seed 0 $SIZE -o DIR/train
    vdit data render mot --layout mot --count 16 --seed 200000 $SIZE -o DIR/val
    vdit data render mot --layout mot --count 16 --seed 100000 $SIZE -o DIR/heldout
    vdit train configs/tracking/rendered.yaml data.root=DIR/train validation.root=DIR/val -o T
    python benchmarks/track_rendered.py --tracker T --features T-features/heldout \
        --root DIR/heldout -o FILE

with SIZE="--frames 20 --height 160 --width 256". The baseline names the tracker's own boxes, and
those of det.txt, by IoU, with several thresholds and patiences; the best of them on these clips is
printed, and the usual one.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vdit.build import quiet_libraries
from vdit.datasets.mot import read_mot
from vdit.metrics.track_overlaps import box_iou_xywh
from vdit.metrics.tracking import TrackingScores
from vdit.probing.feature_sources import Backbones
from vdit.tracking.following import as_detections, follow, follow_by_overlap
from vdit.tracking.frame_features import FrameFeatures, Levels, name_weights
from vdit.tracking.frame_tracks import join_frames, shares_of
from vdit.tracking.scoring import score_video
from vdit.tracking.tracker_files import load_tracker

NAMES = ("MOTA", "IDF1", "HOTA", "DetA", "AssA", "FP", "FN", "IDSw", "Frag")
USUAL = (0.3, 0)
"""Least IoU as SORT has it; a track ends with the first frame that misses it."""
BASELINES = [(iou, patience) for iou in (0.1, 0.3, 0.5) for patience in (0, 2, 5)]


def count_crossings(video):
    """Pairs of objects whose centers change sides between frames in one of which they overlap."""
    rows = video.sequence.truth().rows
    tracks = {
        i: {int(row[0]): row[2:] for row in rows[rows[:, 1] == i]} for i in np.unique(rows[:, 1])
    }
    ids, count = sorted(tracks), 0
    for n, a in enumerate(ids):
        for b in ids[:n]:
            times = sorted(set(tracks[a]) & set(tracks[b]))
            first, second = (np.array([tracks[i][t] for t in times]).reshape(-1, 4) for i in (a, b))
            side = (first[:, 0] + first[:, 2] / 2) > (second[:, 0] + second[:, 2] / 2)
            touch = np.diag(box_iou_xywh(first, second)) > 0
            count += int(((side[1:] != side[:-1]) & (touch[1:] | touch[:-1])).any())
    return count


def score(videos, frames):
    """Scores of all videos together."""
    scores = [
        score_video(video, join_frames(each, video.size, video.sequence.first))
        for video, each in zip(videos, frames, strict=True)
    ]
    summary = TrackingScores.combine(scores).summary()
    return {name: round(float(summary[name]), 4) for name in NAMES}


def score_baselines(videos, frames):
    """Association by overlap: the best IDF1, the usual setting, and all of them."""
    rows = []
    for iou, patience in BASELINES:
        named = [list(follow_by_overlap(each, iou, patience)) for each in frames]
        rows.append({"least_iou": iou, "patience": patience} | score(videos, named))
    usual = next(row for row in rows if (row["least_iou"], row["patience"]) == USUAL)
    return {"best": max(rows, key=lambda row: row["IDF1"]), "usual": usual, "all": rows}


def main():
    """Score the tracker and both baselines, and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracker", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--features", required=True, help="folder of kept features")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    quiet_libraries()
    model, spec = load_tracker(arguments.tracker)
    backbone = Backbones().get(spec.features.source)
    levels = Levels.of(backbone, spec.features.blocks)
    spec.expect(name_weights(backbone))
    videos = list(read_mot(Path(arguments.root)))
    features = FrameFeatures(Path(arguments.features), spec.features, levels, spec.weights)
    features.complete(videos, backbone)
    maps, public = [], []
    for video in videos:
        maps.append([features.read(video, t) for t in range(len(video.frame_names))])
        given = video.sequence.detections()
        numbers = range(1, len(video.frame_names) + 1)
        public.append([shares_of(given, number, video.size) for number in numbers])
    begin = time.process_time()
    found = {"private": [list(follow(model, each, spec.options)) for each in maps]}
    seconds = time.process_time() - begin
    changes = {"private, patience 0": {"inactive_patience": 0}}
    changes |= {f"public, {rule}": {"public": rule} for rule in ("center_distance", "min_iou_0_5")}
    for name, change in changes.items():
        options = replace(spec.options, **change)
        pairs = zip(maps, public, strict=True)
        found[name] = [list(follow(model, each, options, given)) for each, given in pairs]
    detections = [[as_detections(boxes) for boxes in each] for each in public]
    result = {
        "clips": len(videos),
        "frames": sum(len(video.frame_names) for video in videos),
        "objects": sum(len(video.boxes().labelled) for video in videos),
        "crossings": sum(count_crossings(video) for video in videos),
        "track_queries": {name: score(videos, frames) for name, frames in found.items()},
        "overlap_on_own_boxes": score_baselines(videos, found["private"]),
        "overlap_on_det_txt": score_baselines(videos, detections),
        "cpu_ms_per_frame_without_backbone": round(
            1000 * seconds / sum(len(video.frame_names) for video in videos), 1
        ),
    }
    Path(arguments.output).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if not k.startswith("overlap")}, indent=1))
    for name in ("overlap_on_own_boxes", "overlap_on_det_txt"):
        print(name, "best:", result[name]["best"], "usual:", result[name]["usual"])


if __name__ == "__main__":
    main()
