"""`vdit data refsynth`: render parts of the benchmark in the layout of a public data set."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from tqdm import tqdm

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.refsynth import PARTS, REFSYNTH_VERSION, RefSynth
from vdit.datasets.synthetic.scene import VERSION
from vdit.datasets.synthetic.writers.layouts import LAYOUTS, keep_fitting
from vdit.datasets.synthetic.writers.records import read_json, write_json

RECORD = "refsynth.json"
"""What a folder holds, and whether all of it is there."""

SPLITS = {"mevis": "valid_u", "ref-youtube-vos": "train"}
"""The split of a layout whose truth readers look for; the part "train" is always "train"."""


def run(arguments: Namespace) -> None:
    """Render what is not there yet."""
    if arguments.layout not in SPLITS:
        raise ValueError(f"expected --layout {' or '.join(SPLITS)}, got {arguments.layout!r}")
    if arguments.workers < 0:
        raise ValueError(f"expected --workers >= 0, got {arguments.workers}")
    names = arguments.parts or _parts_of(arguments.layout)
    parts = [RefSynth(name, _count(name, arguments.count)) for name in names]
    root = Path(arguments.output)
    rows = [_write(part, root / part.name, arguments.layout, arguments.workers) for part in parts]
    if arguments.json:
        print(json.dumps({"version": REFSYNTH_VERSION, "parts": rows}))
        return
    for row in rows:
        state = "rendered" if row["is_new"] else "there already"
        left_out = f", {row['left_out']} without such sentences left out" * bool(row["left_out"])
        print(f"{root / row['part']}: {row['written']} clips as {row['layout']}, {state}{left_out}")


def _parts_of(layout: str) -> list[str]:
    """List what is rendered unless parts are named."""
    return [name for name in PARTS if name != "train" and _says(layout, name)]


def _says(layout: str, part: str) -> bool:
    """Whether a layout can hold what a part asks: Ref-YouTube-VOS has no absent objects."""
    return layout == "mevis" or part != "no-target"


def _count(name: str, count: int | None) -> int | None:
    """Take no more clips than a part has."""
    return count if count is None or name not in PARTS else min(count, PARTS[name].count)


def _write(part: RefSynth, folder: Path, layout: str, workers: int) -> dict[str, Any]:
    """Render a part unless all of it is there; say what it is."""
    if not _says(layout, part.name):
        raise ValueError(f"expected --layout mevis for {part.name}, which {layout} cannot hold")
    split = "train" if part.name == "train" else SPLITS[layout]
    facts: dict[str, Any] = {
        "version": REFSYNTH_VERSION,
        "renderer": VERSION,
        "part": part.name,
        "layout": layout,
        "split": split,
        "clips": len(part),
    }
    path = folder / RECORD
    found = read_json(path)
    for name, value in facts.items():
        if found and found.get(name) != value:
            raise ValueError(
                f"expected RefSynth with {name} {value!r} in {folder}, found "
                f"{found.get(name)!r}; remove the folder, or write to another"
            )
    if "written" in found:
        return found | {"is_new": False}
    facts["digest"] = part.digest()  # of what the version stands for; it takes a while
    write_json(path, facts)  # so that nothing else is rendered into what is begun
    written: list[str] = []
    LAYOUTS[layout](keep_fitting(_named(part, workers), layout, written), folder, split)
    counts = {"written": len(written), "left_out": len(part) - len(written)}
    write_json(path, facts | counts)
    return facts | counts | {"is_new": True}


def _named(part: RefSynth, workers: int) -> Iterator[tuple[str, RenderedClip]]:
    """Render in order."""
    loader = DataLoader(part, batch_size=None, num_workers=workers)
    for index, clip in enumerate(tqdm(loader, desc=part.name, unit="clip", disable=None)):
        yield part.video(index), clip
