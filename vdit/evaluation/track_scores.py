"""CLEAR MOT, identity F1 and HOTA of results on MOTChallenge."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vdit.datasets.mot import MotVideo
from vdit.datasets.mot_files import parse_results
from vdit.datasets.videos import VideoDataset
from vdit.evaluation.execution import Execution
from vdit.evaluation.prediction_files import PredictionFiles, require_files
from vdit.evaluation.prediction_layouts import tracks_path
from vdit.evaluation.report import EvalReport
from vdit.metrics.tracking import TrackingScores
from vdit.tracking.scoring import score_video

__all__ = ["evaluate_tracks"]

RATIOS = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDP", "IDR")
COUNTS = ("FP", "FN", "IDSw", "Frag", "MT", "PT", "ML")


def evaluate_tracks(
    dataset: VideoDataset[MotVideo],
    files: PredictionFiles,
    missing_as_empty: bool = False,
    execution: Execution | None = None,
) -> EvalReport:
    """Score the sequences of a split one by one and together, after the benchmark's preprocessing.

    Numbers of the whole split are those of the sums, as in the benchmark. Results of a half split
    count frames as in the whole sequence; rows of the other half are left out.

    Args:
        dataset: a split with truth.
        files: predictions, laid out as `prediction_layouts.tracks_path` says.
        missing_as_empty: count missing files as empty instead of refusing.
        execution: workers and progress; the default is this process.

    Raises:
        ValueError: the truth is not public; predictions are missing or damaged.
    """
    if not all(video.has_truth for video in dataset):
        raise ValueError(
            f"{dataset.name} {dataset.split} has no public truth; its owners' server scores it"
        )
    paths = [tracks_path(video.name) for video in dataset]
    missing = sum(str(path) not in files.names for path in paths)
    if not missing_as_empty:
        require_files(files, paths, f"{dataset.name} {dataset.split}")
    scores = (execution or Execution()).map(partial(_score, files=files), list(dataset))
    together = TrackingScores.combine(scores).summary()
    rows = [
        {"video": video.name, **_numbers(each)} for video, each in zip(dataset, scores, strict=True)
    ]
    counts = ", ".join(f"{name} {together[name]:.0f}" for name in COUNTS)
    return EvalReport(
        dataset=dataset.name,
        split=dataset.split,
        protocol="",
        metrics={name: float(together[name]) for name in RATIOS},
        expressions=(),
        videos=rows,
        num_missing=missing,
        notes=(counts,),
    )


def _score(video: MotVideo, files: PredictionFiles) -> TrackingScores:
    path = tracks_path(video.name)
    place = Path(files.locate(path))
    try:
        text = files.read(path).decode() if str(path) in files.names else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"{place} cannot be read ({error}); write it again") from error
    return score_video(video, parse_results(text, place))


def _numbers(scores: TrackingScores) -> dict[str, float]:
    return {name: float(value) for name, value in scores.summary().items()}
