"""Time, peak memory and stages of segmentation; several prompts at once against one by one.

    python benchmarks/segment.py --model vdit-full-random --dtype bfloat16 -o full.json

Frames are rendered; masks of both ways are compared before a ratio is reported.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vdit import ReferringSegmenter
from vdit.benchmarking.facts import run_facts
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render_frames
from vdit.measure import Stopwatch, peak_memory

PROMPTS = ["the red ball", "the box on the left", "a green diamond", "whatever moves to the right"]


def watch_modules(model: nn.Module) -> dict[str, float]:
    """Add up the wall time of the model's parts by hooks; a part that is driven layer by layer is
    timed through the methods that drive it."""
    seconds: dict[str, float] = defaultdict(float)

    def timed(owner: object, method: str, stage: str) -> None:
        original = getattr(owner, method)

        def run(*arguments, **options):
            start = time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                seconds[stage] += time.perf_counter() - start

        setattr(owner, method, run)

    timed(model.backbone, "encode_vae", "VAE encoder")
    timed(model.backbone.image_encoder, "forward", "CLIP image tower")
    timed(model.backbone, "encode_text", "CLIP text tower")
    timed(model.text_encoder, "forward", "RoBERTa")
    timed(model, "prompt", "text-guided image projection")
    timed(model, "start", "UNet to the first prompt, stride-4 map")
    timed(model.backbone, "extract", "UNet from there on")
    timed(model.head, "forward", "head")
    timed(model.head, "refine", "mask decoder")
    return seconds


def run(segmenter: ReferringSegmenter, frames: np.ndarray, prompts: list[str]) -> tuple:
    start = time.perf_counter()
    predictions = segmenter.segment(frames, prompts)
    return time.perf_counter() - start, [prediction.masks[:] for prediction in predictions]


def _move(source: dict[str, float], target: dict[str, float]) -> None:
    for stage, seconds in source.items():
        target[stage] += seconds
    source.clear()


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {stage: round(value, 2) for stage, value in seconds.items()}


def main() -> None:
    """Segment by four prompts at once and by one after the other; write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vdit-mini")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2, help="of together, then one by one")
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    facts = run_facts()
    watch = Stopwatch()
    with watch.measure("load"):
        segmenter = ReferringSegmenter.from_pretrained(
            options.model, device=options.device, dtype=getattr(torch, options.dtype)
        )
    loaded = peak_memory()
    frames = render_frames(
        make_scene("referring", 0, options.frames, options.height, options.width)
    )
    run(segmenter, frames, PROMPTS[:1])  # first calls allocate and choose kernels
    stages = watch_modules(segmenter.model)
    together_seconds, single_seconds, equal = [], [], True
    together_stages: dict[str, float] = defaultdict(float)
    single_stages: dict[str, float] = defaultdict(float)
    for _ in range(options.rounds):
        seconds, together = run(segmenter, frames, PROMPTS)
        together_seconds.append(seconds)
        _move(stages, together_stages)
        for prompt, masks in zip(PROMPTS, together, strict=True):
            seconds, (alone,) = run(segmenter, frames, [prompt])
            single_seconds.append(seconds)
            equal = equal and np.array_equal(masks, alone)
        _move(stages, single_stages)
    result = facts | {
        "parameters": sum(p.numel() for p in segmenter.model.parameters()),
        "load_seconds": round(watch.seconds["load"], 1),
        "four_prompts_together_seconds": [round(seconds, 1) for seconds in together_seconds],
        "single_runs_seconds": [round(seconds, 1) for seconds in single_seconds],
        "ratio": round(sum(single_seconds) / sum(together_seconds), 2),
        "masks_equal": equal,
        "stage_seconds_together": _rounded(together_stages),
        "stage_seconds_of_single_runs": _rounded(single_stages),
        "peak_memory_after_load_bytes": loaded,
        "peak_memory_bytes": peak_memory(),
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
