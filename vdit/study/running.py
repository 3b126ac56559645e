"""Running what a study misses, in portions: clips are rendered, then probes are trained.

A portion is one probe on one pass over one network; blocks that it misses share the features. Rows,
heads and features of an interrupted portion are kept, see `vdit.probing.learned_probe`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.native import write_native
from vdit.datasets.synthetic.writers.records import read_json
from vdit.study.cells import AXES, Cell, cells_of, seeds_of
from vdit.study.networks import RECORD, check_steps, check_weights
from vdit.study.study import Study
from vdit.study.study_config import KINDS, Tree

FIRST_SEEDS = {"train": 0, "val": 100_000}
"""Split -> seed of its first clip; trainings of networks draw from 1 000 000 on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Portion:
    """Cells that differ in blocks alone, and the seed of their network."""

    cells: tuple[Cell, ...]
    seed: int

    def describe(self) -> str:
        """Say what is run."""
        first = self.cells[0]
        blocks = ", ".join(cell.block for cell in self.cells)
        return (
            f"{first.probe}: {KINDS[first.kind]} {first.size}, seed {self.seed}, step "
            f"{first.step}, t={first.timestep:g}, {blocks}"
        )


def missing_portions(study: Study, axes: Collection[str], probes: Collection[str]) -> list[Portion]:
    """List what can be run and was not: axis by axis, V-WALT and I-WALT of a seed in turn.

    Args:
        study: whose networks are there or not.
        axes: of `vdit.study.cells.AXES`, in order.
        probes: names.
    """
    found: dict[tuple[str, int, Cell], list[Cell]] = {}
    planned = set()
    for axis in axes:
        cells = [cell for cell in cells_of(study.config, axis) if cell.probe in probes]
        seeds = dict.fromkeys(seed for cell in cells for seed in seeds_of(study.config, axis, cell))
        for seed in seeds:
            for cell in cells:
                if seed not in seeds_of(study.config, axis, cell) or (cell, seed) in planned:
                    continue
                planned.add((cell, seed))
                if study.is_run(cell, seed) or not study.network(cell, seed).is_there:
                    continue
                whatever_block = replace(cell, block="")
                found.setdefault((axis, seed, whatever_block), []).append(cell)
    return [Portion(tuple(cells), seed) for (_, seed, _), cells in found.items()]


def run_missing(
    study: Study,
    axes: Collection[str],
    probes: Collection[str],
    minutes: float | None = None,
    device: str = "cpu",
) -> int:
    """Run portions until nothing is missing or the time is up: how many are left.

    Args:
        study: what is to be known.
        axes: of `vdit.study.cells.AXES`, in order.
        probes: names.
        minutes: no portion begins after them; None = all are run.
        device: where networks and heads run.

    Raises:
        ValueError: weights are others than those of earlier results, a training has another length
            than the study says, clips are others than it asks for, or a probe does not work out.
    """
    begin = time.perf_counter()
    check_known_weights(study)
    portions = missing_portions(study, axes, probes)
    for number, portion in enumerate(portions):
        if minutes is not None and time.perf_counter() - begin >= 60 * minutes:
            return len(portions) - number
        logger.info("portion %d of %d: %s", number + 1, len(portions), portion.describe())
        _run(study, portion, device)
    return 0


def check_known_weights(study: Study) -> None:
    """Check that results are those of the weights that are there, as far as any are.

    Raises:
        ValueError: they are of other weights.
    """
    known = {
        study.results(cell, seed): study.network(cell, seed)
        for axis in AXES
        for cell in cells_of(study.config, axis)
        for seed in seeds_of(study.config, axis, cell)
    }
    for results, network in known.items():
        if network.is_there and (results / RECORD).is_file():
            check_weights(network, results)


def _run(study: Study, portion: Portion, device: str) -> None:
    """Train the heads of one portion."""
    first, seed = portion.cells[0], portion.seed
    network, results = study.network(first, seed), study.results(first, seed)
    check_steps(network.training, study.config.sizes[first.size].steps)
    check_weights(network, results)
    recipe = study.config.probes[first.probe]
    render_tree(study.clips(recipe), recipe, study.config.trees[recipe])
    configs = [study.configure(cell, seed) for cell in portion.cells]
    study.probes[first.probe].task.run(configs, results, device)
    study.forget()


def render_tree(root: Path, recipe: str, tree: Tree) -> None:
    """Render the clips of a tree, unless they are there.

    Args:
        root: of the tree.
        recipe: of the clips.
        tree: how many clips, and their size.

    Raises:
        ValueError: there are other clips.
    """
    size = (tree.frames, tree.height, tree.width)
    for split, count in (("train", tree.train), ("val", tree.val)):
        known = [
            (scene["num_frames"], scene["height"], scene["width"])
            for name, scene in read_json(root / "rendered.json").get("clips", {}).items()
            if name.startswith(f"{split}/")
        ]
        if known and (len(known) != count or set(known) != {size}):
            raise ValueError(
                f"expected {count} clips of {size[0]} frames of {size[1]}x{size[2]} in "
                f"{root / split}, found {len(known)} others; remove {root}, or set trees.{recipe} "
                "to what is there"
            )
        if not known:
            logger.info("rendering %d clips of %s into %s", count, recipe, root / split)
            write_native(_clips(recipe, count, FIRST_SEEDS[split], size), root, split)


def _clips(
    recipe: str, count: int, seed: int, size: tuple[int, int, int]
) -> Iterator[tuple[str, RenderedClip]]:
    clips = RenderedClips(recipe, count, seed, *size)
    for index in range(count):
        yield f"{recipe}-{seed + index:06d}", clips[index]
