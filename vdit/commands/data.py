"""`vdit data`: render clips in the layout of a benchmark, or RefSynth; check a data set on disk."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from torch.utils.data import DataLoader
from tqdm import tqdm

from vdit.commands import data_check, data_refsynth
from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.recipes import RECIPES, make_scene
from vdit.datasets.synthetic.scene import VERSION
from vdit.datasets.synthetic.writers.layouts import LAYOUTS, SPLITS, keep_fitting


def run(arguments: Namespace) -> None:
    """Run `vdit data check`, `refsynth` or `render`, or list what the latter can do."""
    actions = {"check": data_check.run, "refsynth": data_refsynth.run, "render": _render}
    actions[arguments.action](arguments)


def _render(arguments: Namespace) -> None:
    if arguments.recipe == "list":
        _list_recipes(arguments.json)
        return
    if arguments.layout not in LAYOUTS:
        raise ValueError(f"expected a layout among {', '.join(LAYOUTS)}; got {arguments.layout!r}")
    splits = SPLITS.get(arguments.layout, (arguments.split,))
    if arguments.split not in splits:
        raise ValueError(
            f"expected --split {' or '.join(splits)} for {arguments.layout}, got "
            f"{arguments.split!r}; readers find no other"
        )
    if arguments.count < 1 or arguments.workers < 0:
        raise ValueError(
            f"expected --count >= 1 and --workers >= 0, got {arguments.count} and "
            f"{arguments.workers}; pass larger numbers"
        )
    size = (arguments.frames, arguments.height, arguments.width)
    make_scene(arguments.recipe, arguments.seed, *size)  # complain before any work
    clips = RenderedClips(arguments.recipe, arguments.count, arguments.seed, *size)
    root = Path(arguments.output)
    start = time.perf_counter()
    written: list[str] = []
    fitting = keep_fitting(_named(clips, arguments.workers), arguments.layout, written)
    LAYOUTS[arguments.layout](fitting, root, arguments.split)
    summary = {
        "folder": str(root),
        "recipe": arguments.recipe,
        "layout": arguments.layout,
        "clips": len(written),
        "left_out": arguments.count - len(written),
        "first_seed": arguments.seed,
        "renderer_version": VERSION,
        "seconds": round(time.perf_counter() - start, 2),
    }
    if arguments.json:
        print(json.dumps(summary))
    else:
        print(
            f"{root}: {len(written)} clips of {arguments.recipe!r} as {arguments.layout}, "
            f"renderer version {VERSION}, {summary['seconds']} s"
        )
        if summary["left_out"]:
            print(f"left out: {summary['left_out']}, whose objects no sentence tells apart")


def _named(clips: RenderedClips, workers: int) -> Iterator[tuple[str, RenderedClip]]:
    """Render in order; the seed is the name, so that more clips can be added later."""
    loader = DataLoader(clips, batch_size=None, num_workers=workers)
    with tqdm(total=len(clips), unit="clip", disable=None) as progress:
        for index, clip in enumerate(loader):
            yield f"{clips.recipe}-{clips.first_seed + index:06d}", clip
            progress.update()


def _list_recipes(as_json: bool) -> None:
    if as_json:
        summaries = {name: recipe.summary for name, recipe in RECIPES.items()}
        print(json.dumps({"recipes": summaries, "layouts": list(LAYOUTS)}))
        return
    width = max(map(len, RECIPES))
    for name, recipe in RECIPES.items():
        size = f"{recipe.num_frames} frames of {recipe.height}x{recipe.width}"
        print(f"{name:{width}} {recipe.summary} ({size})")
    print(f"layouts: {', '.join(LAYOUTS)}")
