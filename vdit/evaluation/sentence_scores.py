"""J and F of data sets whose predictions are one mask a sentence and frame.

Axes: T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vdit.datasets.referring import ReferringDataset, ReferringSample
from vdit.evaluation.execution import Execution
from vdit.evaluation.prediction_files import PredictionFiles, read_mask, require_files
from vdit.evaluation.prediction_layouts import mask_path
from vdit.evaluation.report import EvalReport, mean_rows
from vdit.metrics.contours import contour_radius, draw_outlines, match_contours, match_regions
from vdit.metrics.referring import answer_accuracies

__all__ = ["SentenceScores", "evaluate_sentences", "require_truth", "score_sentences"]

BOUND_TH = 0.008


@dataclass(frozen=True)
class SentenceScores:
    """One sentence, frame by frame.

    Attributes:
        video: of the sentence.
        expression: id of the sentence.
        object_ids: that it names.
        region: [T] J in 0..1 with the union of the named objects.
        contour: [T] F in 0..1 likewise.
        has_answer: the prediction holds a pixel in some frame.
        kind: of the sentence, where its list says so.
    """

    video: str
    expression: str
    object_ids: tuple[int, ...]
    region: np.ndarray
    contour: np.ndarray
    has_answer: bool
    kind: str = ""

    def as_row(self) -> dict[str, Any]:
        """Means over frames, ready for JSON."""
        J, F = float(self.region.mean()), float(self.contour.mean())
        return {
            "video": self.video,
            "expression": self.expression,
            "objects": list(self.object_ids),
            "frames": len(self.region),
            "J": J,
            "F": F,
            "J&F": (J + F) / 2,
            "has_answer": self.has_answer,
        } | ({"kind": self.kind} if self.kind else {})


def evaluate_sentences(
    dataset: ReferringDataset,
    files: PredictionFiles,
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> EvalReport:
    """Score Ref-YouTube-VOS or MeViS: means over frames, then over sentences.

    A sentence that names several objects is scored by their union, one that names none by an empty
    mask: J and F of a frame are 1 if the prediction is empty too. Where some sentences name none,
    N-acc, T-acc and the mean of J&F and both, "final", are given, and J&F of the others. Where the
    list says of what kind sentences are, `parts` has each kind.

    Args:
        dataset: a split with truth.
        files: predictions, laid out as `prediction_layouts.mask_path` says.
        missing_as_empty: count missing masks as empty instead of refusing.
        execution: workers and progress; the default is this process.

    Raises:
        ValueError: the split has no public truth; masks are missing or damaged.
    """
    scores, num_missing = score_sentences(dataset, files, missing_as_empty, execution)
    rows = [each.as_row() for each in scores]
    metrics = {name: float(np.mean([row[name] for row in rows])) for name in ("J&F", "J", "F")}
    has_target = np.array([bool(each.object_ids) for each in scores])
    if dataset.name == "mevis":
        metrics |= answer_accuracies(has_target, [each.has_answer for each in scores])
        if not has_target.all() and has_target.any():
            metrics["final"] = (metrics["J&F"] + metrics["N-acc"] + metrics["T-acc"]) / 3
            named = [row["J&F"] for row, named in zip(rows, has_target, strict=True) if named]
            metrics["J&F with target"] = float(np.mean(named))
    return EvalReport(
        dataset=dataset.name,
        split=dataset.split,
        protocol="",
        metrics=metrics,
        expressions=rows,
        videos=mean_rows(rows, ("J", "F", "J&F")),
        num_missing=num_missing,
        parts=_by_kind(rows),
    )


def _by_kind(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """J&F, J and F of each kind of sentence; nothing where kinds are not known."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "kind" in row:
            kinds.setdefault(row["kind"], []).append(row)
    return {
        kind: {name: float(np.mean([row[name] for row in found])) for name in ("J&F", "J", "F")}
        for kind, found in kinds.items()
    }


def score_sentences(
    dataset: ReferringDataset,
    files: PredictionFiles,
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> tuple[list[SentenceScores], int]:
    """Score every sentence frame by frame, see `evaluate_sentences`.

    Returns:
        The scores in the order of the data set's videos, and how many masks were missing.
    """
    require_truth(dataset)
    wanted = [
        mask_path(sample.dataset, sample.video, sample.expression, name)
        for sample in dataset
        for name in sample.frame_names
    ]
    if not missing_as_empty:
        require_files(files, wanted, f"{dataset.name} {dataset.split}")
    num_missing = sum(str(path) not in files.names for path in wanted)
    score = partial(_score_video, files=files)
    videos = list(dataset.by_video().values())
    found = (execution or Execution()).map(score, videos)
    return [scores for of_video in found for scores in of_video], num_missing


def require_truth(dataset: ReferringDataset) -> None:
    """Check that every sample can be scored here.

    Raises:
        ValueError: there is no sample, or the truth of one is not public.
    """
    if not dataset.samples:
        raise ValueError(f"{dataset.name} {dataset.split} has no sample, expected at least one")
    if not all(sample.has_truth for sample in dataset):
        raise ValueError(
            f"the truth of {dataset.name} {dataset.split} is not public; score a split with truth, "
            "or pack the predictions with `vdit pack` and submit them"
        )


def _score_video(
    samples: Sequence[ReferringSample], files: PredictionFiles
) -> list[SentenceScores]:
    """Score all sentences of one video; a frame's contours are drawn once for all of them."""
    names, size, truth = samples[0].frame_names, samples[0].size, samples[0].mask_source
    assert truth is not None
    ids = sorted({object_id for sample in samples for object_id in sample.object_ids or ()})
    targets = list(dict.fromkeys(sample.object_ids or () for sample in samples))
    radius = contour_radius(*size, BOUND_TH)
    scores = np.empty((2, len(samples), len(names)))
    has_answer = np.zeros(len(samples), dtype=bool)
    for t, name in enumerate(names):
        objects = dict(zip(ids, truth.read([t], ids, size)[:, 0], strict=True))
        masks = [_union([objects[k] for k in target], size) for target in targets]
        for n, sample in enumerate(samples):
            path = mask_path(sample.dataset, sample.video, sample.expression, name)
            masks.append(read_mask(files, path, size))
            has_answer[n] |= masks[-1].any()
        outlines = draw_outlines(masks, radius)
        for n, sample in enumerate(samples):
            true = outlines[targets.index(sample.object_ids or ())]
            pair = true, outlines[len(targets) + n]
            scores[:, n, t] = match_regions(*pair), match_contours(*pair)
    return [
        SentenceScores(
            sample.video,
            sample.expression,
            sample.object_ids or (),
            region=scores[0, n],
            contour=scores[1, n],
            has_answer=bool(has_answer[n]),
            kind=sample.kind,
        )
        for n, sample in enumerate(samples)
    ]


def _union(masks: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    union = np.zeros(size, dtype=bool)
    for mask in masks:
        union |= mask
    return union
