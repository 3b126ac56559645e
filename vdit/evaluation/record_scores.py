"""Scores of data sets whose predictions are records of masks: A2D, JHMDB, RefCOCO/+/g.

Axes: M masks of one sample, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vdit.datasets.referring import ReferringDataset, ReferringSample
from vdit.evaluation.execution import Execution
from vdit.evaluation.prediction_files import PredictionFiles, read_records
from vdit.evaluation.prediction_layouts import RECORDS_FILE, record_id
from vdit.evaluation.report import EvalReport, mean_rows
from vdit.evaluation.sentence_scores import require_truth
from vdit.masks import decode_rle
from vdit.metrics.referring import (
    AVERAGE_PRECISION_THRESHOLDS,
    average_precision,
    intersection_and_union,
    sample_iou,
    summarize_overlaps,
)

__all__ = ["evaluate_records"]

_NUM_NAMED = 3

Record = dict[str, Any]
Task = list[tuple[ReferringSample, list[Record]]]


@dataclass(frozen=True)
class SampleScores:
    """One sample.

    Attributes:
        video: of the sample.
        expression: id of the sentence.
        scores: [M] confidences.
        intersection: [M] pixels shared with the truth.
        union: [M] pixels of both.
        area: pixels of the truth.
    """

    video: str
    expression: str
    scores: np.ndarray
    intersection: np.ndarray
    union: np.ndarray
    area: int

    def best(self) -> tuple[int, int]:
        """Intersection and union of the mask of the highest score, the first of equal ones."""
        if not len(self.scores):
            return 0, self.area
        k = int(np.argmax(self.scores))
        return int(self.intersection[k]), int(self.union[k])

    def as_row(self) -> dict[str, Any]:
        """Overlap of the best mask, ready for JSON."""
        both, either = self.best()
        return {
            "video": self.video,
            "expression": self.expression,
            "masks": len(self.scores),
            "intersection": both,
            "union": either,
            "IoU": float(sample_iou(both, either)),
        }


def evaluate_records(
    dataset: ReferringDataset,
    files: PredictionFiles,
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> EvalReport:
    """Score A2D-Sentences, JHMDB-Sentences or RefCOCO/+/g.

    The mask of the highest score of a sample counts for overall IoU, mean IoU and P@0.5 to P@0.9;
    all masks count for mAP (0.5 to 0.95), AP50 and AP75, as in pycocotools.

    Args:
        dataset: a split with truth.
        files: predictions with the file `prediction_layouts.RECORDS_FILE`.
        missing_as_empty: count samples without a record as empty instead of refusing.
        execution: workers and progress; the default is this process.

    Raises:
        ValueError: a sample has no record; a record is of no sample of the split, is damaged or of
            another size than its frame.
    """
    require_truth(dataset)
    by_id = _by_image(dataset, read_records(files, RECORDS_FILE))
    tasks: list[Task] = [
        [(s, by_id[record_id(s.dataset, s.video, s.expression)]) for s in samples]
        for samples in dataset.by_video().values()
    ]
    missing = [s for task in tasks for s, records in task if not records]
    if missing and not missing_as_empty:
        named = ", ".join(
            str(record_id(s.dataset, s.video, s.expression)) for s in missing[:_NUM_NAMED]
        )
        more = f" and {len(missing) - _NUM_NAMED} more" if len(missing) > _NUM_NAMED else ""
        raise ValueError(
            f"{len(missing)} of {len(dataset)} samples of {dataset.name} {dataset.split} have no "
            f"prediction: image_id {named}{more}; add them, or pass --missing-as-empty"
        )
    found = (execution or Execution()).map(_score_samples, tasks)
    scores = [each for of_video in found for each in of_video]
    best = np.array([each.best() for each in scores])
    ious = [each.intersection / np.maximum(each.union, 1) for each in scores]
    precisions = average_precision([each.scores for each in scores], ious)
    rows = [each.as_row() for each in scores]
    return EvalReport(
        dataset=dataset.name,
        split=dataset.split,
        protocol="",
        metrics={
            **summarize_overlaps(best[:, 0], best[:, 1]),
            "mAP": float(precisions.mean()),
            "AP50": float(precisions[AVERAGE_PRECISION_THRESHOLDS.index(0.5)]),
            "AP75": float(precisions[AVERAGE_PRECISION_THRESHOLDS.index(0.75)]),
        },
        expressions=rows,
        videos=mean_rows(rows, ("IoU",)),
        num_missing=len(missing),
    )


def _by_image(
    dataset: ReferringDataset, records: Sequence[Record]
) -> dict[str | int, list[Record]]:
    """Records of each sample, in their order."""
    by_id: dict[str | int, list[Record]] = {
        record_id(sample.dataset, sample.video, sample.expression): [] for sample in dataset
    }
    for record in records:
        own = by_id.get(record["image_id"])
        if own is None:
            raise ValueError(
                f"{RECORDS_FILE} has a record of image_id {record['image_id']!r}, which "
                f"{dataset.name} {dataset.split} has not; take the predictions of this split"
            )
        own.append(record)
    return by_id


def _score_samples(task: Task) -> list[SampleScores]:
    """Overlaps of all masks of the samples of one video."""
    results = []
    for sample, records in task:
        target = np.logical_or.reduce(sample.masks()[:, 0], axis=0)
        overlaps = np.zeros((2, len(records)), dtype=np.int64)
        for m, record in enumerate(records):
            mask = _decode(record, target.shape)
            overlaps[:, m] = np.stack(intersection_and_union(target, mask))
        results.append(
            SampleScores(
                sample.video,
                sample.expression,
                np.array([_score(record) for record in records], dtype=np.float64),
                overlaps[0],
                overlaps[1],
                int(target.sum()),
            )
        )
    return results


def _decode(record: Record, size: tuple[int, ...]) -> np.ndarray:
    where = f"the mask of image_id {record['image_id']!r}"
    try:
        mask = decode_rle(record["segmentation"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} cannot be decoded: {error}") from error
    if mask.shape != size:
        raise ValueError(
            f"{where} is {mask.shape[1]}x{mask.shape[0]}, but its frame is {size[1]}x{size[0]}; "
            "write masks in the size of the frames"
        )
    return mask


def _score(record: Record) -> float:
    score = record["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not np.isfinite(score):
        raise ValueError(f"image_id {record['image_id']!r} has the score {score!r}, no number")
    return float(score)
