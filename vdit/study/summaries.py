"""Cells over seeds: means, spreads, and what is missing of them by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean, stdev

from vdit.study.cells import Cell, seeds_of
from vdit.study.study import Score, Study
from vdit.study.study_config import KINDS

LISTED = 6
"""Blocks and noise levels that a line names one by one."""


@dataclass(frozen=True)
class Summary:
    """One cell over seeds.

    Attributes:
        cell: what was measured.
        scores: seed -> score.
        missing: seed -> why there is none.
    """

    cell: Cell
    scores: Mapping[int, Score] = field(default_factory=dict)
    missing: Mapping[int, str] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean over networks; NaN without any."""
        return mean(each.value for each in self.scores.values()) if self.scores else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation over networks; of a single one, over its heads; NaN of one number."""
        found = self._spread_values()
        return stdev(found) if len(found) > 1 else math.nan

    @property
    def spread_over(self) -> str:
        """What `spread` is about: "networks", "heads" or ""."""
        if len(self._spread_values()) < 2:
            return ""
        return "networks" if len(self.scores) > 1 else "heads"

    @property
    def first(self) -> Score | None:
        """Any score, for the metric and its unit."""
        return next(iter(self.scores.values()), None)

    def _spread_values(self) -> list[float]:
        if len(self.scores) == 1:
            return list(next(iter(self.scores.values())).heads)
        return [each.value for each in self.scores.values()]


@dataclass(frozen=True)
class Gain:
    """How much better V-WALT is than I-WALT, in percent of I-WALT.

    Of errors it is the share that V-WALT takes away.

    Attributes:
        by_seed: seed -> gain of the pair of this seed.
    """

    by_seed: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Mean over pairs; NaN without any."""
        return mean(self.by_seed.values()) if self.by_seed else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation over pairs; NaN of a single one."""
        return stdev(self.by_seed.values()) if len(self.by_seed) > 1 else math.nan


def summarize(study: Study, axis: str, cell: Cell) -> Summary:
    """Collect the scores of a cell on an axis.

    Args:
        study: that was run or not.
        axis: of `vdit.study.cells.AXES`; says which seeds count.
        cell: on it.
    """
    scores, missing = {}, {}
    for seed in seeds_of(study.config, axis, cell):
        score = study.score(cell, seed)
        if score is None:
            missing[seed] = study.why_missing(cell, seed)
        else:
            scores[seed] = score
    return Summary(cell, scores, missing)


def relative_gain(video: Summary, image: Summary) -> Gain:
    """Compare pairs of one seed; pairs of which one is missing do not count.

    Args:
        video: V-WALT.
        image: I-WALT in the same place.
    """
    gains = {}
    for seed in video.scores.keys() & image.scores.keys():
        ours, theirs = video.scores[seed], image.scores[seed]
        difference = ours.value - theirs.value
        if theirs.value != 0:
            sign = 1 if ours.more_is_better else -1
            gains[seed] = 100 * sign * difference / abs(theirs.value)
    return Gain(dict(sorted(gains.items())))


def missing_lines(summaries: list[Summary]) -> list[str]:
    """Name everything that is missing, cells that lack the same network for the same reason once.

    Args:
        summaries: of any cells, also the same ones twice.
    """
    by_reason: dict[tuple[str, str, int, int, str], set[Cell]] = {}
    for summary in summaries:
        for seed, reason in summary.missing.items():
            cell = summary.cell
            key = (cell.kind, cell.size, cell.step, seed, reason)
            by_reason.setdefault(key, set()).add(cell)
    lines = []
    for (kind, size, step, seed, reason), cells in by_reason.items():
        where = f"{KINDS[kind]} {size}, seed {seed}, step {step}"
        probes = sorted({cell.probe for cell in cells})
        places = sorted({f"{cell.block} t={cell.timestep:g}" for cell in cells})
        shown = ", ".join(places) if len(places) <= LISTED else f"{len(places)} places"
        count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
        lines.append(f"{where}: {reason} ({count}: {', '.join(probes)}; {shown})")
    return lines
