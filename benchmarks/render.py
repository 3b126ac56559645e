"""Frames a second of the renderer on one core, and whether a training step would wait for it.

    OMP_NUM_THREADS=1 python benchmarks/render.py -o benchmarks/render.json

The second part stands in for training: batches of clips with all truth come from a DataLoader with
two workers, and each step keeps one core busy for half a second.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from vdit.benchmarking.facts import run_facts
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render, render_frames
from vdit.datasets.synthetic.scene import Scene

STEP_SECONDS = 0.5


def four_object_scenes(count: int, size: int) -> list[Scene]:
    scenes = (make_scene("referring", seed, None, size, size) for seed in range(100 * count))
    return [scene for scene in scenes if len(scene.objects) == 4][:count]


def frames_per_second(draw, scenes: list[Scene]) -> float:
    draw(scenes[0])  # textures and sprites are read once
    start = time.perf_counter()
    for scene in scenes:
        draw(scene)
    return sum(scene.num_frames for scene in scenes) / (time.perf_counter() - start)


def waiting(num_steps: int, batch: int, num_frames: int) -> dict[str, float]:
    """Seconds that a training loop of half-second steps waits for its batches."""
    clips = RenderedClips("referring", num_steps * batch, 1000, num_frames)
    loader = iter(DataLoader(clips, batch_size=batch, num_workers=2, collate_fn=list))
    next(loader)  # the first batch of an epoch comes late anyway
    waits, a = [], np.random.default_rng(0).random((400, 400))
    for _ in range(num_steps - 1):
        start = time.perf_counter()
        next(loader)
        waits.append(time.perf_counter() - start)
        start = time.perf_counter()
        while time.perf_counter() - start < STEP_SECONDS:
            a = np.tanh(a @ a.T / 400)
    return {"median": round(float(np.median(waits)), 4), "longest": round(max(waits), 4)}


def main() -> None:
    """Time the renderer, then a loop that waits for it; write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=4, help="clips of a step")
    parser.add_argument("--frames", type=int, default=6, help="of a clip of a step")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    facts = run_facts()
    scenes = four_object_scenes(options.scenes, options.size)
    result = facts | {
        "numpy": np.__version__,
        "objects": 4,
        "frames_per_second_pictures": round(frames_per_second(render_frames, scenes), 1),
        "frames_per_second_with_truth": round(frames_per_second(render, scenes), 1),
        "step_seconds": STEP_SECONDS,
        "seconds_waited_a_step": waiting(options.steps, options.batch, options.frames),
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
