"""Frames a second and core of the training clips: decoded, transformed and collated.

    OMP_NUM_THREADS=1 python benchmarks/loader.py -o benchmarks/loader.json

A tree of Ref-YouTube-VOS is rendered at 1280x720, its frames are stored as JPEG with halved
chroma, and clips of five frames with the released augmentation are made of it in one process. Times
are those of the processor, as other work may run beside it. MeViS (run lengths) and videos of
pictures (RefCOCO) are measured on the same frames. `--profile` lists the functions that cost most.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image

from vdit.benchmarking.facts import run_facts
from vdit.datasets.clip_dataset import ClipDataset, collate_clips
from vdit.datasets.clip_making import make_target, make_video, read_clip
from vdit.datasets.clip_recipe import ClipRecipe
from vdit.datasets.clip_sampling import draw_frames
from vdit.datasets.photometric import draw_color
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.layouts import LAYOUTS
from vdit.datasets.transforms import draw_geometry

HEIGHT, WIDTH, NUM_FRAMES = 720, 1280, 12
QUALITY = 90
DATASETS = ("ref-youtube-vos", "mevis", "refcoco")


def write_trees(root: Path, num_videos: int) -> None:
    """Render videos once and write them in every layout."""
    clips = [
        (f"v{seed}", render(make_scene("referring", seed, NUM_FRAMES, HEIGHT, WIDTH)))
        for seed in range(num_videos)
    ]
    for name in DATASETS:
        LAYOUTS[name](clips, root / name, "train")
    for path in root.rglob("*.jpg"):
        with Image.open(path) as picture:
            frame = picture.convert("RGB")
        frame.save(path, quality=QUALITY, subsampling="4:2:0")


def mean_sizes(root: Path) -> dict[str, int]:
    """Mean bytes of a frame and a mask."""
    tree = root / "ref-youtube-vos" / "train"
    return {
        "jpeg_bytes": round(np.mean([p.stat().st_size for p in tree.rglob("*.jpg")])),
        "mask_bytes": round(np.mean([p.stat().st_size for p in tree.rglob("*.png")])),
    }


def seconds_a_call(act: Callable[[int], object], count: int, rounds: int) -> float:
    """Least mean of processor time over the rounds."""
    act(0)
    best = np.inf
    for _ in range(rounds):
        start = time.process_time()
        for index in range(count):
            act(index)
        best = min(best, (time.process_time() - start) / count)
    return best


def measure_stages(clips: ClipDataset, count: int, rounds: int) -> dict[str, float]:
    """Milliseconds of the parts of a clip, each by itself."""
    rules = clips.recipe.rules(clips.samples[0].dataset)
    options = rules.augmentation
    drawn = []
    for index in range(count):
        rng = np.random.default_rng((0, index))
        sample = clips.samples[index % len(clips.samples)]
        frames = draw_frames(rng, len(sample.frame_names), 0, rules.num_frames)
        raw = read_clip(sample, frames)
        geometry = draw_geometry(rng, raw.size, options)
        colors = [draw_color(rng, options.color) for _ in frames]
        drawn.append((sample, frames, raw, geometry, colors))

    def part(act: Callable[..., object]) -> float:
        return round(1000 * seconds_a_call(lambda i: act(*drawn[i]), count, rounds), 2)

    return {
        "decode frames": part(lambda s, f, *_: s.pictures(f)),
        "decode masks": part(lambda s, f, *_: s.masks(sorted(set(f)))),
        "sizes of frames": part(lambda s, f, r, g, c: make_video(r.pictures, g, None, rules)),
        "sizes and colors": part(lambda s, f, r, g, c: make_video(r.pictures, g, c, rules)),
        "truth": part(lambda s, f, r, g, c: make_target(r, g, rules, is_checked=True)),
    }


def profile(clips: ClipDataset, count: int) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    for index in range(count):
        clips[0, index % len(clips)]
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(22)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tree", type=Path, help="folder that keeps the rendered trees")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = options.tree or Path(temporary)
        if not any(root.glob("*")):
            write_trees(root, options.videos)
        recipe = ClipRecipe()
        result = {
            **run_facts(),
            "pillow": PIL.__version__,
            "frames": {"height": HEIGHT, "width": WIDTH, "quality": QUALITY, **mean_sizes(root)},
            "clips": options.clips,
            "frames_per_second_and_core": {},
        }
        for name in DATASETS:
            samples = REFERRING_DATASETS[name].read(root / name, "train")
            clips = ClipDataset(samples, recipe)
            if options.profile:
                profile(clips, options.clips)
                return
            for kind, chosen in (
                ("training", recipe),
                ("validation", replace(recipe, augment=False)),
            ):
                made = ClipDataset(samples, chosen)
                seconds = seconds_a_call(
                    lambda i, made=made: collate_clips([made[i, i % len(made)]]),
                    options.clips,
                    options.rounds,
                )
                rate = round(recipe.num_frames / seconds, 1)
                result["frames_per_second_and_core"][f"{name}, {kind}"] = rate
            if name == "ref-youtube-vos":
                result["milliseconds_a_clip"] = measure_stages(clips, options.clips, options.rounds)
    text = json.dumps(result, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
