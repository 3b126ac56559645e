"""Learned probes on rendered clips: trained features against chance, random weights, single frames.

python benchmarks/rendered_probes.py --work DIR -o benchmarks/rendered_probes.json

Each case is a file of configs/probe/ and the recipe that it is about. Trees are rendered into DIR
unless they are there, rows are made by `vdit.probing.learned_probe`, which resumes. A case is run
with the features of its configuration, with those of single frames where it says so, and with those
of the same network with one draw of random weights; seeds are those of heads.

`margin` is the distance of two main metrics over the standard error of their difference, positive
where trained features are better. Errors are those of the mean over seeds; `sampling` is that of
the drawn test clips, where the metric is a share of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from vdit.benchmarking.facts import run_facts
from vdit.cli import main as vdit
from vdit.commands.probe import TASKS
from vdit.config import load_config

CONFIGS = Path(__file__).parents[1] / "configs" / "probe"
FIRST_TEST_SEED = 100_000


@dataclass(frozen=True)
class Case:
    """One configuration and the clips it is run on.

    Attributes:
        config: name of the file.
        recipe: of the clips.
        counts: clips of "train" and of "val".
        size: frames, height and width.
        is_about_time: single frames are compared as well.
        layout: of the rendered tree.
        is_share: the main metric is a share of the test clips, where its unit is "%".
    """

    config: str
    recipe: str
    counts: tuple[int, int]
    size: tuple[int, int, int] = (16, 96, 96)
    is_about_time: bool = False
    layout: str = "native"
    is_share: bool = True


CASES = {
    "motion order": Case("rendered_motion_order", "motion-order", (400, 200), is_about_time=True),
    "motion type": Case("rendered_motion", "motion-type", (240, 120)),
    "frame order": Case("rendered_frame_order", "frame-order", (240, 120), is_about_time=True),
    "camera pose": Case("rendered_pose", "camera", (300, 150)),
    "point tracks": Case("rendered_points", "tracking", (96, 48), (24, 64, 64)),
    "box tracks": Case("rendered_boxes", "tracking", (96, 48), (24, 64, 64)),
    "object discovery": Case(
        "discovery_rendered",
        "movi-c",
        (300, 50),
        (24, 128, 128),
        is_about_time=True,
        layout="movi-npy",
        is_share=False,
    ),
}


def render_tree(case: Case, folder: Path) -> None:
    """Render the clips of a case that are not there."""
    for split, count, seed in zip(("train", "val"), case.counts, (0, FIRST_TEST_SEED), strict=True):
        if (folder / split).is_dir():
            continue
        frames, height, width = case.size
        words = ["data", "render", case.recipe, "--layout", case.layout, "--split", split]
        words += ["--count", str(count), "--seed", str(seed), "--frames", str(frames)]
        words += ["--height", str(height), "--width", str(width), "-o", str(folder)]
        if vdit(words):
            raise ValueError(f"{' '.join(words)} did not work out")


def run_case(case: Case, root: Path, output: Path, changes: list[str]) -> dict[str, Any]:
    """Run a case with each kind of features: kind -> row."""
    content = yaml.safe_load((CONFIGS / f"{case.config}.yaml").read_text())
    task = TASKS[content.pop("task")]
    changes = [f"data.root={root}", *changes]
    kinds = {"trained": [], "random weights": ["source.random_weights=0"]}
    if case.is_about_time:
        kinds["single frames"] = ["source.clip_length=1"]
    configs = [load_config(task.schema, content, [*changes, *each]) for each in kinds.values()]
    rows = task.run(configs, output, "cpu") or []
    return dict(zip(kinds, rows, strict=True))


def summarize(rows: dict[str, Any], metric: str, is_share: bool) -> dict[str, Any]:
    """Means, errors and margins of the main metric."""
    found: dict[str, Any] = {}
    means = {"chance": rows["trained"]["chance"][metric]}
    errors = {"chance": 0.0}
    for kind, row in rows.items():
        means[kind] = row["metrics"][metric]
        errors[kind] = row["standard_errors"][metric] or 0.0  # of a single seed nobody knows
        found[kind] = {
            name: row[name]
            for name in ("metrics", "standard_errors", "seeds", "control", "seconds_per_frame")
        }
        if is_share:
            share = means[kind] / 100
            found[kind]["sampling"] = 100 * math.sqrt(share * (1 - share) / row["num_videos"])
    found["chance"] = rows["trained"]["chance"]
    sign = 1 if rows["trained"]["unit"] == "%" else -1  # errors in metres are better if small
    found["margin"] = {
        kind: sign * (means["trained"] - means[kind]) / math.hypot(errors["trained"], errors[kind])
        for kind in means
        if kind != "trained" and errors["trained"] + errors[kind] > 0
    }
    return found


def main() -> None:
    """Run the cases that were asked for and write what they gave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of trees and runs")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for all cases")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name in options.only:
        case = CASES[name]
        tree = options.work / case.recipe
        render_tree(case, tree)
        rows = run_case(case, tree, options.work / f"{case.recipe}-runs", options.set)
        first = rows["trained"]
        metric = first["shown"][0]
        results[name] = {
            "recipe": case.recipe,
            "metric": metric,
            "clips": {"train": first["num_training_clips"], "val": first["num_videos"]},
            "config": first["config"],
            **summarize(rows, metric, is_share=case.is_share and first["task"] == "classification"),
        }
        print(json.dumps({name: results[name]["margin"]}), flush=True)
        if options.output is not None:
            facts = run_facts()
            options.output.write_text(json.dumps({**facts, "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
