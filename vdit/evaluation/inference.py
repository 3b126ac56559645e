"""Predict a whole benchmark: videos shared among processes, finished ones kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from vdit.atomic import replace_when_complete
from vdit.clip_encoding import EncodingSource
from vdit.evaluation.inference_config import InferenceConfig
from vdit.evaluation.inference_folder import InferenceFolder
from vdit.evaluation.inference_outputs import (
    Sample,
    VideoPass,
    predict_labels,
    predict_masks,
    predict_records,
)
from vdit.evaluation.prediction_layouts import (
    LABEL_DATASETS,
    MASK_DATASETS,
    RECORD_DATASETS,
    RECORDS_FILE,
    archive_root,
    labels_path,
)
from vdit.segmenter import ReferringSegmenter

_ANNOTATORS = range(4)
_WITHOUT_EFFECT = ("root", "model", "sentences")  # on the predictions; the model has its own entry


class StoredEncodings(Protocol):
    """Encodings of many videos: see `vdit.encoding_cache.EncodingCache`."""

    def video(self, name: str) -> EncodingSource:
        """Encodings of one video."""


@dataclass(frozen=True)
class InferenceReport:
    """What a process did, and what the folder holds now.

    Attributes:
        videos: of this process.
        kept: of them, that an earlier run had finished.
        sentences: about this process's videos.
        frames_seen: by the model in this process's videos, once a sentence.
        seconds: "decode", "segment", "write" of this process's videos, of earlier runs too.
        frames_per_second: frames_seen over the seconds of "segment"; the first video, in which
            kernels are chosen, is left out where there are others.
        complete: the folder holds every video of the split.
    """

    videos: int
    kept: int
    sentences: int
    frames_seen: int
    seconds: dict[str, float]
    frames_per_second: float
    complete: bool


def run_inference(
    segmenter: ReferringSegmenter,
    videos: Mapping[str, Sequence[Sample]],
    config: InferenceConfig,
    folder: str | Path,
    *,
    source: Mapping[str, Any] | None = None,
    encodings: StoredEncodings | None = None,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[list[str]], Iterable[str]] = iter,
) -> InferenceReport:
    """Predict every video that is not finished yet.

    Args:
        segmenter: what predicts.
        videos: sentences by video, of the whole split.
        config: how.
        folder: for the predictions, in the layout of the benchmark.
        source: what else the predictions depend on, such as the model's weights; JSON.
        encodings: where encodings are read instead of computed.
        share: (rank, number of processes); this process takes every so many-th video. Processes
            do not wait for each other: the one that finishes last completes the folder.
        progress: iterates over the videos of this process.

    Raises:
        ValueError: the folder holds predictions of another run or of other frames; a video cannot
            be read.
    """
    settings = {k: v for k, v in asdict(config).items() if k not in _WITHOUT_EFFECT}
    if videos:
        settings["fingerprint of the first frame"] = _fingerprint(next(iter(videos.values()))[0])
    notes = InferenceFolder(folder, {**settings, **(source or {})})
    rank, world_size = share
    mine = list(videos)[rank::world_size]
    kept = {video for video in mine if _is_finished(notes, config.dataset, video)}
    for video in progress(mine):
        if video not in kept:
            stored = None if encodings is None else encodings.video(video)
            run = VideoPass(segmenter, config, videos[video], stored)
            found = _predict(config.dataset)(run, Path(folder))
            costs = {"frames_seen": run.frames_seen, "seconds": run.stopwatch.rounded()}
            notes.note(video, {**costs, **found})
    everything = notes.all_facts(list(videos))
    if everything is not None and config.dataset in RECORD_DATASETS:
        records = [record for facts in everything for record in facts["records"]]
        with replace_when_complete(Path(folder) / RECORDS_FILE) as partial:
            partial.write_text(json.dumps(records) + "\n")
    return _report(
        [notes.facts(video) or {} for video in mine],
        kept=len(kept),
        sentences=sum(len(videos[video]) for video in mine),
        complete=everything is not None,
    )


def _fingerprint(sample: Sample) -> str:
    """Tell data sets apart that differ in pixels only, such as copies of other brightness."""
    index = (sample.labelled or (0,))[0]
    return hashlib.sha256(sample.frames([index]).tobytes()).hexdigest()[:16]


def _predict(dataset: str) -> Callable[[VideoPass, Path], dict[str, Any]]:
    if dataset in MASK_DATASETS:
        return predict_masks
    return predict_labels if dataset in LABEL_DATASETS else predict_records


def _is_finished(notes: InferenceFolder, dataset: str, video: str) -> bool:
    """Whether a video was noted as complete and its folders are there."""
    if notes.facts(video) is None:
        return False
    if dataset in MASK_DATASETS:
        return (notes.folder / archive_root(dataset) / video).is_dir()
    if dataset in LABEL_DATASETS:
        return all((notes.folder / labels_path(a, video, "0").parent).is_dir() for a in _ANNOTATORS)
    return True


def _report(
    facts: list[dict[str, Any]], *, kept: int, sentences: int, complete: bool
) -> InferenceReport:
    seconds: dict[str, float] = {}
    for video in facts:
        for stage, value in video.get("seconds", {}).items():
            seconds[stage] = round(seconds.get(stage, 0.0) + value, 3)
    timed = facts[1:] or facts
    segmenting = sum(video["seconds"].get("segment", 0.0) for video in timed)
    frames = sum(video["frames_seen"] for video in timed)
    return InferenceReport(
        videos=len(facts),
        kept=kept,
        sentences=sentences,
        frames_seen=sum(video["frames_seen"] for video in facts),
        seconds=seconds,
        frames_per_second=round(frames / segmenting, 3) if segmenting else 0.0,
        complete=complete,
    )
