"""Scores of a folder of predictions on any data set that can be scored here, by its name."""

from __future__ import annotations

import os
from pathlib import Path

from vdit.datasets.davis_masks import read_davis_masks
from vdit.datasets.mot import MOT15, MOT17, MOT20
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.evaluation.execution import Execution
from vdit.evaluation.label_scores import (
    DAVIS_PROTOCOLS,
    REF_DAVIS_PROTOCOLS,
    evaluate_davis,
    evaluate_ref_davis,
)
from vdit.evaluation.prediction_files import open_predictions
from vdit.evaluation.prediction_layouts import RECORD_DATASETS
from vdit.evaluation.record_scores import evaluate_records
from vdit.evaluation.report import EvalReport
from vdit.evaluation.sentence_scores import evaluate_sentences
from vdit.evaluation.track_scores import evaluate_tracks

__all__ = ["DEFAULT_SPLITS", "evaluate"]

_DAVIS = "davis"
_MOT = {benchmark.name: benchmark for benchmark in (MOT15, MOT17, MOT20)}
_PROTOCOLS = {_DAVIS: DAVIS_PROTOCOLS, "ref-davis": REF_DAVIS_PROTOCOLS}

DEFAULT_SPLITS = {
    "ref-youtube-vos": "train",
    "ref-davis": "valid",
    "mevis": "valid_u",
    "a2d": "test",
    "jhmdb": "test",
    "refcoco": "val",
    "refcoco+": "val",
    "refcocog": "val",
    "mot15": "train",
    "mot17": "train",
    "mot20": "train",
}
"""The split with public truth that a data set is usually scored on."""


def evaluate(
    dataset: str,
    root: str | os.PathLike[str],
    predictions: str | os.PathLike[str],
    *,
    split: str | None = None,
    protocol: str | None = None,
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> EvalReport:
    """Score predictions against the truth of a data set.

    Args:
        dataset: "davis", "mot15", "mot17", "mot20", or a name of REFERRING_DATASETS.
        root: folder of the data set.
        predictions: folder or zip, laid out as in `vdit.evaluation.prediction_layouts`.
        split: part of the data set; None = that of DEFAULT_SPLITS, or see `read_davis_masks`.
        protocol: "released" or "strict" of Ref-DAVIS17, "semi-supervised", "unsupervised" or
            "foreground" of DAVIS; None = the first. Other data sets have one way.
        missing_as_empty: count missing predictions as empty instead of refusing.
        execution: workers and progress; the default is this process.

    Raises:
        ValueError: an unknown data set, split or protocol; the truth is not public; predictions are
            missing, damaged or of another size.
    """
    datasets = (_DAVIS, *_MOT, *REFERRING_DATASETS)
    if dataset not in datasets:
        raise ValueError(f"expected a data set among {', '.join(datasets)}; got {dataset!r}")
    protocols = _PROTOCOLS.get(dataset, ())
    if protocol is not None and protocol not in protocols:
        known = f"it has {', '.join(protocols)}" if protocols else "it has only one; leave it out"
        raise ValueError(f"{dataset} has no protocol {protocol!r}, {known}")
    protocol = protocol or next(iter(protocols), "")
    files = open_predictions(predictions)
    root = Path(root)
    if dataset == _DAVIS:
        year = 2016 if protocol == "foreground" else 2017
        name, sequences = read_davis_masks(
            root, split, year, unsupervised=protocol == "unsupervised"
        )
        return evaluate_davis(name, sequences, files, protocol, missing_as_empty, execution)
    if dataset in _MOT:
        videos = _MOT[dataset].read(root, split or DEFAULT_SPLITS[dataset])
        return evaluate_tracks(videos, files, missing_as_empty, execution)
    samples = REFERRING_DATASETS[dataset].read(root, split or DEFAULT_SPLITS[dataset])
    if dataset == "ref-davis":
        return evaluate_ref_davis(samples, files, protocol, missing_as_empty, execution)
    if dataset in RECORD_DATASETS:
        return evaluate_records(samples, files, missing_as_empty, execution)
    return evaluate_sentences(samples, files, missing_as_empty, execution)
