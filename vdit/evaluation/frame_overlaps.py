"""IoU of predictions with the truth, one number a mask: what the analyses of masks begin with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.evaluation.execution import Execution
from vdit.evaluation.label_scores import score_annotators
from vdit.evaluation.prediction_files import open_predictions
from vdit.evaluation.prediction_layouts import LABEL_DATASETS, MASK_DATASETS, RECORD_DATASETS
from vdit.evaluation.record_scores import evaluate_records
from vdit.evaluation.scoring import DEFAULT_SPLITS
from vdit.evaluation.sentence_scores import score_sentences

__all__ = ["VIDEO_DATASETS", "FrameOverlaps", "frame_overlaps"]

VIDEO_DATASETS = MASK_DATASETS + LABEL_DATASETS
"""Data sets whose answers are masks in every frame."""


@dataclass(frozen=True)
class FrameOverlaps:
    """One answer.

    Attributes:
        video: that it is about.
        answer: sentence, object or annotator that it belongs to.
        ious: [T] in 0..1; 1 where truth and answer are both empty.
        has_target: the sentence names an object.
    """

    video: str
    answer: str
    ious: np.ndarray
    has_target: bool = True


def frame_overlaps(
    dataset: str,
    root: str | os.PathLike[str],
    predictions: str | os.PathLike[str],
    *,
    split: str | None = None,
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> list[FrameOverlaps]:
    """Compute the IoU of every answer in every frame.

    Objects of Ref-DAVIS17 are compared by their ids. Data sets of records give one IoU a sample.

    Args:
        dataset: a name of REFERRING_DATASETS.
        root: folder of the data set.
        predictions: folder or zip, laid out as in `vdit.evaluation.prediction_layouts`.
        split: part of the data set; None = that of DEFAULT_SPLITS.
        missing_as_empty: count missing predictions as empty instead of refusing.
        execution: workers and progress; the default is this process.

    Raises:
        ValueError: an unknown data set or split; predictions are missing or damaged.
    """
    if dataset not in REFERRING_DATASETS:
        raise ValueError(
            f"expected a data set among {', '.join(REFERRING_DATASETS)}; got {dataset!r}"
        )
    files = open_predictions(predictions)
    samples = REFERRING_DATASETS[dataset].read(Path(root), split or DEFAULT_SPLITS[dataset])
    if dataset in MASK_DATASETS:
        sentences, _ = score_sentences(samples, files, missing_as_empty, execution)
        return [
            FrameOverlaps(each.video, each.expression, each.region, bool(each.object_ids))
            for each in sentences
        ]
    if dataset in RECORD_DATASETS:
        report = evaluate_records(samples, files, missing_as_empty, execution)
        return [
            FrameOverlaps(row["video"], row["expression"], np.array([row["IoU"]]))
            for row in report.expressions
        ]
    found, _ = score_annotators(samples, files, "strict", missing_as_empty, execution)
    return [
        FrameOverlaps(video, f"annotator {n}, object {object_id}", ious)
        for video, of_video in zip(samples.by_video(), found, strict=True)
        for n, scores in enumerate(of_video)
        for object_id, ious in zip(scores.predicted_ids.tolist(), scores.region, strict=True)
    ]
