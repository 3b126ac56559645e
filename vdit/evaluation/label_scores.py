"""J and F of data sets whose predictions are maps of object ids: Ref-DAVIS17 and DAVIS.

Axes: N objects, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from vdit.datasets.davis_masks import DavisSequence
from vdit.datasets.mask_sources import LabelPictures
from vdit.datasets.referring import ReferringDataset, ReferringSample
from vdit.evaluation.execution import Execution
from vdit.evaluation.prediction_files import PredictionFiles, read_labels, require_files
from vdit.evaluation.prediction_layouts import labels_path, sequence_path
from vdit.evaluation.report import EvalReport, mean_rows
from vdit.evaluation.sentence_scores import require_truth
from vdit.metrics import davis
from vdit.metrics.referring import score_by_identity

__all__ = [
    "DAVIS_PROTOCOLS",
    "REF_DAVIS_PROTOCOLS",
    "evaluate_davis",
    "evaluate_ref_davis",
    "score_annotators",
]

REF_DAVIS_PROTOCOLS = ("released", "strict")
DAVIS_PROTOCOLS = ("semi-supervised", "unsupervised", "foreground")

_COLUMNS = ("J", "J-Recall", "J-Decay", "F", "F-Recall", "F-Decay")
_MEANS = ("J", "F", "J&F")


def evaluate_ref_davis(
    dataset: ReferringDataset,
    files: PredictionFiles,
    protocol: str = "released",
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> EvalReport:
    """Score Ref-DAVIS17 for each annotator, and the mean over the annotators.

    "released" is what the code of VD-IT and its ancestors runs, the unsupervised protocol of DAVIS:
    true objects take the predicted ones that fit best, so who was meant does not count, and the
    objects are 1 to the largest id of the first true frame. "strict" compares each named object
    with the prediction of its own id. In both all frames count, void pixels do not.

    Args:
        dataset: a split.
        files: predictions, laid out as `prediction_layouts.labels_path` says.
        protocol: "released" or "strict".
        missing_as_empty: count missing maps as empty instead of refusing.
        execution: workers and progress; the default is this process.

    Raises:
        ValueError: another protocol; maps are missing or damaged.
    """
    found, num_missing = score_annotators(dataset, files, protocol, missing_as_empty, execution)
    videos, annotators = dataset.by_video(), _annotators(dataset)
    parts = {
        str(annotator): _summary([scores[n] for scores in found])
        for n, annotator in enumerate(annotators)
    }
    rows = [
        row
        for n, annotator in enumerate(annotators)
        for samples, scores in zip(videos.values(), found, strict=True)
        for row in _object_rows(
            samples[0].video,
            scores[n],
            _object_ids(samples) if protocol == "strict" else None,
            {s.object_ids: s.expression for s in samples if s.annotator == annotator},
            annotator,
        )
    ]
    first = next(iter(parts.values()))
    return EvalReport(
        dataset=dataset.name,
        split=dataset.split,
        protocol=protocol,
        metrics={name: float(np.mean([part[name] for part in parts.values()])) for name in first},
        expressions=rows,
        videos=mean_rows(rows, _MEANS),
        num_missing=num_missing,
        parts=parts,
        notes=("the mean over annotators; objects of all videos weigh the same",),
    )


def score_annotators(
    dataset: ReferringDataset,
    files: PredictionFiles,
    protocol: str,
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> tuple[list[list[davis.SequenceScores]], int]:
    """Score the objects of Ref-DAVIS17 frame by frame, see `evaluate_ref_davis`.

    Returns:
        For each video, in the order of the data set, the scores of each annotator; and how many
        maps were missing. In the strict protocol the objects of a video are in the order of their
        ids, and `predicted_ids` are these.
    """
    _expect_protocol(protocol, REF_DAVIS_PROTOCOLS)
    require_truth(dataset)
    videos, annotators = dataset.by_video(), _annotators(dataset)
    wanted = [
        labels_path(annotator, video, name)
        for annotator in annotators
        for video, samples in videos.items()
        for name in samples[0].frame_names
    ]
    num_missing = _count_missing(files, wanted, f"ref-davis {dataset.split}", missing_as_empty)
    score = partial(_score_annotators, annotators=annotators, files=files, protocol=protocol)
    return (execution or Execution()).map(score, list(videos.values())), num_missing


def evaluate_davis(
    split: str,
    sequences: Sequence[DavisSequence],
    files: PredictionFiles,
    protocol: str = "semi-supervised",
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> EvalReport:
    """Score plain DAVIS.

    "semi-supervised" (first masks given) and "unsupervised" are those of DAVIS 2017, see
    `davis.score_semi_supervised` and `davis.score_unsupervised`. "foreground" is DAVIS 2016: the
    union of all objects as one, without the first and the last frame.

    Args:
        split: name of the sequences together.
        sequences: the truth.
        files: predictions, laid out as `prediction_layouts.sequence_path` says.
        protocol: one of the three.
        missing_as_empty: count missing maps as empty instead of refusing.
        execution: workers and progress; the default is this process.

    Raises:
        ValueError: another protocol; maps are missing or damaged, or the truth does not fit.
    """
    _expect_protocol(protocol, DAVIS_PROTOCOLS)
    counted = slice(None) if protocol == "unsupervised" else slice(1, -1)
    wanted = [
        sequence_path(sequence.name, name)
        for sequence in sequences
        for name in sequence.frame_names[counted]
    ]
    num_missing = _count_missing(files, wanted, f"davis {split}", missing_as_empty)
    score = partial(_SCORES[protocol], files=files)
    found = (execution or Execution()).map(score, list(sequences))
    rows = [
        row
        for sequence, scores in zip(sequences, found, strict=True)
        for row in _object_rows(sequence.name, scores)
    ]
    return EvalReport(
        dataset="davis",
        split=split,
        protocol=protocol,
        metrics=_summary(found),
        expressions=rows,
        videos=mean_rows(rows, _MEANS),
        num_missing=num_missing,
        notes=() if protocol == "unsupervised" else ("the first and the last frame do not count",),
    )


def _annotators(dataset: ReferringDataset) -> list[int]:
    return sorted({sample.annotator or 0 for sample in dataset})


def _score_annotators(
    samples: Sequence[ReferringSample],
    annotators: Sequence[int],
    files: PredictionFiles,
    protocol: str,
) -> list[davis.SequenceScores]:
    """Scores of one video for each annotator."""
    names, size, truth = samples[0].frame_names, samples[0].size, samples[0].mask_source
    assert isinstance(truth, LabelPictures)
    target = truth.read_all_labels(size)
    ids = _object_ids(samples)
    scores = []
    for annotator in annotators:
        prediction = np.stack(
            [read_labels(files, labels_path(annotator, samples[0].video, n), size) for n in names]
        )
        with _naming(f"{samples[0].video} of annotator {annotator}"):
            if protocol == "strict":
                scores.append(score_by_identity(target, prediction, ids))
            else:
                scores.append(davis.score_unsupervised(target, prediction))
    return scores


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say in every error which prediction does not fit."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def _object_ids(samples: Sequence[ReferringSample]) -> list[int]:
    return sorted({object_id for sample in samples for object_id in sample.object_ids or ()})


def _score_semi_supervised(sequence: DavisSequence, files: PredictionFiles) -> davis.SequenceScores:
    target, prediction = sequence.read_labels(), _read_sequence(sequence, files)
    with _naming(sequence.name):
        return davis.score_semi_supervised(target, prediction)


def _score_unsupervised(sequence: DavisSequence, files: PredictionFiles) -> davis.SequenceScores:
    target, prediction = sequence.read_labels(), _read_sequence(sequence, files)
    with _naming(sequence.name):
        return davis.score_unsupervised(target, prediction)


def _score_foreground(sequence: DavisSequence, files: PredictionFiles) -> davis.SequenceScores:
    target, prediction = sequence.read_foreground(), _read_sequence(sequence, files) > 0
    if len(target) < 3:
        raise ValueError(
            f"{sequence.name} has {len(target)} frames, of which the first and the last do not "
            "count; expected at least three"
        )
    region, contour = davis.region_and_contour(target[1:-1], prediction[1:-1])
    return davis.SequenceScores(region[None], contour[None], np.ones(1, dtype=np.int64))


_SCORES: dict[str, Callable[..., davis.SequenceScores]] = {
    "semi-supervised": _score_semi_supervised,
    "unsupervised": _score_unsupervised,
    "foreground": _score_foreground,
}


def _read_sequence(sequence: DavisSequence, files: PredictionFiles) -> np.ndarray:
    """Predicted ids [T, H, W]."""
    size = sequence.size()
    paths = [sequence_path(sequence.name, name) for name in sequence.frame_names]
    return np.stack([read_labels(files, path, size) for path in paths])


def _expect_protocol(protocol: str, known: Sequence[str]) -> None:
    if protocol not in known:
        raise ValueError(f"expected a protocol among {', '.join(known)}; got {protocol!r}")


def _count_missing(
    files: PredictionFiles, wanted: list[PurePosixPath], what: str, missing_as_empty: bool
) -> int:
    if not missing_as_empty:
        require_files(files, wanted, what)
    return sum(str(path) not in files.names for path in wanted)


def _summary(sequences: Sequence[davis.SequenceScores]) -> dict[str, float]:
    summary = davis.summarize(sequences)
    return {name.removesuffix("-Mean"): value for name, value in summary.items()}


def _object_rows(
    video: str,
    scores: davis.SequenceScores,
    object_ids: Sequence[int] | None = None,
    expressions: Mapping[tuple[int, ...] | None, str] | None = None,
    annotator: int | None = None,
) -> list[dict[str, Any]]:
    """One row an object; its ids are 1, 2, ... unless given."""
    rows = []
    for n, numbers in enumerate(scores.object_statistics()):
        object_id = object_ids[n] if object_ids else n + 1
        values = dict(zip(_COLUMNS, map(float, numbers), strict=True))
        row = {"video": video, "object": object_id, "frames": scores.region.shape[1]}
        if expressions is not None:
            row["expression"] = expressions.get((object_id,))
            row["annotator"] = annotator
        row["predicted_id"] = int(scores.predicted_ids[n])
        rows.append(row | values | {"J&F": (values["J"] + values["F"]) / 2})
    return rows
