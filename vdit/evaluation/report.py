"""What an evaluation says: numbers of the whole split, and of every video and sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["EvalReport", "mean_rows"]

Row = dict[str, Any]


@dataclass(frozen=True)
class EvalReport:
    """Scores of one data set.

    Attributes:
        dataset: its name.
        split: part of it.
        protocol: how it was scored; "" where there is one way.
        metrics: name -> fraction in 0..1, of the whole split.
        expressions: one row a sentence (and annotator), or object.
        videos: one row a video: means of its rows.
        num_missing: predictions that were not there and counted as empty.
        parts: metrics of parts of the split, such as annotators.
        notes: what a reader of the numbers must know.
    """

    dataset: str
    split: str
    protocol: str
    metrics: Mapping[str, float]
    expressions: Sequence[Row]
    videos: Sequence[Row]
    num_missing: int = 0
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "protocol": self.protocol,
            "metrics": dict(self.metrics),
            "num_videos": len(self.videos),
            "num_expressions": len(self.expressions),
            "num_missing": self.num_missing,
            "parts": {name: dict(metrics) for name, metrics in self.parts.items()},
            "notes": list(self.notes),
            "videos": list(self.videos),
            "expressions": list(self.expressions),
        }


def mean_rows(rows: Iterable[Row], names: Sequence[str]) -> list[Row]:
    """Average numbers of the rows of each video.

    Args:
        rows: with the key "video".
        names: keys of numbers.

    Returns:
        One row a video in the order of their first rows, with "video", "expressions" (how many rows
        it has) and the means.
    """
    by_video: dict[str, list[Row]] = {}
    for row in rows:
        by_video.setdefault(row["video"], []).append(row)
    return [
        {
            "video": video,
            "expressions": len(own),
            **{name: float(np.mean([row[name] for row in own])) for name in names},
        }
        for video, own in by_video.items()
    ]
