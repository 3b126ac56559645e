"""The predictions of one video in the form that its benchmark wants; a folder appears when whole.

Axes: N objects, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vdit.atomic import replace_folder_when_complete
from vdit.clip_encoding import EncodingSource
from vdit.evaluation.inference_config import InferenceConfig
from vdit.evaluation.prediction_layouts import (
    RECORD_CATEGORY,
    archive_root,
    labels_path,
    mask_path,
    record_id,
)
from vdit.masks import encode_rle, write_mask_png, write_palette_png
from vdit.measure import Stopwatch
from vdit.prediction import FramePrediction
from vdit.segment_frames import Frame
from vdit.segmenter import ReferringSegmenter

BACKGROUND_PROBABILITY = 0.1
"""What an object must exceed where objects compete for a pixel, as released for Ref-DAVIS17."""


class Sample(Protocol):
    """A sentence about a video: see `vdit.datasets.referring.ReferringSample`."""

    @property
    def dataset(self) -> str: ...
    @property
    def video(self) -> str: ...
    @property
    def expression(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def object_ids(self) -> tuple[int, ...] | None: ...
    @property
    def labelled(self) -> tuple[int, ...] | None: ...
    @property
    def annotator(self) -> int | None: ...
    @property
    def frame_names(self) -> tuple[str, ...]: ...
    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray: ...


@dataclass
class VideoPass:
    """One video on its way through a segmenter.

    Attributes:
        segmenter: what predicts.
        config: how.
        samples: the sentences about the video.
        encodings: where its encodings are read instead of computed.
        stopwatch: told the seconds of "decode", "segment" and "write".
        frames_seen: frames of all passes, each once a sentence.
    """

    segmenter: ReferringSegmenter
    config: InferenceConfig
    samples: Sequence[Sample]
    encodings: EncodingSource | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    frames_seen: int = 0

    def prompt(self, sample: Sample) -> str:
        return sample.text if self.config.caption == "as_written" else sample.caption

    def groups(self) -> list[list[int]]:
        """Positions of the sentences that share a pass."""
        count = len(self.samples)
        size = self.config.sentences or count
        return [list(range(first, min(first + size, count))) for first in range(0, count, size)]

    def stream(self, group: Sequence[int]) -> Iterator[FramePrediction]:
        """Segment the video by some of the sentences; decoding is timed apart."""
        samples = [self.samples[position] for position in group]
        options = self.config.options(len(samples[0].frame_names))
        prompts = [self.prompt(sample) for sample in samples]
        frames = self.segmenter.stream(
            self._decode(samples[0]), prompts, options, encodings=self.encodings
        )
        while True:
            decoding = self.stopwatch.seconds["decode"]
            with self.stopwatch.measure("segment"):
                frame = next(frames, None)
            self.stopwatch.seconds["segment"] -= self.stopwatch.seconds["decode"] - decoding
            if frame is None:
                return
            self.frames_seen += len(samples)
            yield frame

    def _decode(self, sample: Sample) -> Iterator[Frame]:
        for index, name in enumerate(sample.frame_names):
            with self.stopwatch.measure("decode"):
                image = sample.frames([index])[0]
            yield Frame(name, image)


# ---- one mask a sentence and frame -------------------------------------------------------------


def predict_masks(run: VideoPass, folder: Path) -> dict[str, Any]:
    """Write masks of every sentence, 0 and 255; give their scores by expression."""
    first = run.samples[0]
    home = Path(archive_root(first.dataset)) / first.video
    scores: dict[str, list[float]] = {sample.expression: [] for sample in run.samples}
    with replace_folder_when_complete(folder / home) as partial:
        for sample in run.samples:
            (partial / sample.expression).mkdir()
        for group in run.groups():
            for frame in run.stream(group):
                with run.stopwatch.measure("write"):
                    for position, mask, score in zip(group, frame.masks, frame.scores, strict=True):
                        sample = run.samples[position]
                        path = mask_path(
                            sample.dataset, sample.video, sample.expression, frame.name
                        )
                        write_mask_png(partial / path.relative_to(home.as_posix()), mask)
                        scores[sample.expression].append(round(float(score), 4))
    return {"scores": scores}


# ---- one map of object ids a frame and annotator -----------------------------------------------


def predict_labels(run: VideoPass, folder: Path) -> dict[str, Any]:
    """Write the ids of all objects of a video in one picture a frame, for each annotator."""
    by_annotator: dict[int, list[int]] = {}
    for position, sample in enumerate(run.samples):
        by_annotator.setdefault(sample.annotator or 0, []).append(position)
    together = list(range(len(run.samples)))
    fits = run.config.sentences is None or run.config.sentences >= len(together)
    scores: dict[str, list[float]] = {sample.expression: [] for sample in run.samples}
    with ExitStack() as stack:
        partials = {
            annotator: stack.enter_context(
                replace_folder_when_complete(
                    folder / labels_path(annotator, run.samples[0].video, "0").parent
                )
            )
            for annotator in by_annotator
        }
        for group in [together] if fits else list(by_annotator.values()):
            for frame in run.stream(group):
                with run.stopwatch.measure("write"):
                    _write_labels(run, frame, group, partials)
                    for position, score in zip(group, frame.scores, strict=True):
                        scores[run.samples[position].expression].append(round(float(score), 4))
    return {"scores": scores}


def _write_labels(
    run: VideoPass, frame: FramePrediction, group: Sequence[int], partials: dict[int, Path]
) -> None:
    assert frame.probabilities is not None
    for annotator, partial in partials.items():
        rows = [k for k, p in enumerate(group) if (run.samples[p].annotator or 0) == annotator]
        if rows:
            ids = [_object_id(run.samples[group[k]]) for k in rows]
            labels = merge_objects(frame.probabilities[rows], ids, run.config.threshold)
            name = labels_path(annotator, run.samples[0].video, frame.name).name
            write_palette_png(partial / name, labels)


def _object_id(sample: Sample) -> int:
    if sample.object_ids is None or len(sample.object_ids) != 1:
        raise ValueError(
            f"expression {sample.expression} of {sample.video} names {sample.object_ids}, expected "
            "one object"
        )
    return sample.object_ids[0]


def merge_objects(
    probabilities: np.ndarray, ids: Sequence[int], threshold: float = 0.5
) -> np.ndarray:
    """Let objects compete for pixels: the most probable one wins, the first of equal ones.

    Args:
        probabilities: [N, H, W] in 0..1.
        ids: N numbers in 1..254.
        threshold: less probable pixels of an object are background.

    Returns:
        [H, W] uint8, 0 = background.

    Reference: the released inference on Ref-DAVIS17.
    """
    kept = np.where(probabilities < threshold, 0, probabilities)
    background = np.full_like(kept[:1], BACKGROUND_PROBABILITY)
    winners = np.concatenate([background, kept]).argmax(axis=0)
    return np.array([0, *ids], dtype=np.uint8)[winners]


# ---- every query's mask of single frames -------------------------------------------------------


def predict_records(run: VideoPass, folder: Path) -> dict[str, Any]:
    """Give every query's mask of the labelled frames as records, the surest first."""
    by_frame: dict[int, list[int]] = {}
    for position, sample in enumerate(run.samples):
        for index in sample.labelled or (0,):
            by_frame.setdefault(index, []).append(position)
    records: dict[int, list[dict[str, Any]]] = {}
    for index, positions in by_frame.items():
        clip, place = context_indices(index, run.config.context, len(run.samples[0].frame_names))
        with run.stopwatch.measure("decode"):
            images = list(run.samples[0].frames(clip))
        size = run.config.sentences or len(positions)
        for first in range(0, len(positions), size):
            group = positions[first : first + size]
            with run.stopwatch.measure("segment"):
                frame = run.segmenter.segment_frame(
                    images,
                    clip,
                    place,
                    [run.prompt(run.samples[position]) for position in group],
                    run.config.options(len(clip)),
                    encodings=run.encodings,
                )
            run.frames_seen += len(clip) * len(group)
            with run.stopwatch.measure("write"):
                for k, position in enumerate(group):
                    records[position] = _records(run.samples[position], frame, k)
    return {"records": [record for position in sorted(records) for record in records[position]]}


def context_indices(index: int, context: int, num_frames: int) -> tuple[list[int], int]:
    """Frames around a labelled one, and its place among them; outer frames repeat the ends.

    Raises:
        ValueError: the video has no such frame.

    >>> context_indices(1, 2, 9)
    ([0, 0, 1, 2, 3], 2)
    """
    if not 0 <= index < num_frames:
        raise ValueError(f"frame {index} is labelled, but its video has {num_frames} frames")
    clip = [min(max(i, 0), num_frames - 1) for i in range(index - context, index + context + 1)]
    return clip, clip.index(index)


def _records(sample: Sample, frame: FramePrediction, k: int) -> list[dict[str, Any]]:
    assert frame.query_masks is not None
    assert frame.query_scores is not None
    order = np.argsort(-frame.query_scores[k], kind="stable")
    return [
        {
            "image_id": record_id(sample.dataset, sample.video, sample.expression),
            "category_id": RECORD_CATEGORY,
            "segmentation": encode_rle(frame.query_masks[k, query]),
            "score": float(frame.query_scores[k, query]),
        }
        for query in order
    ]
