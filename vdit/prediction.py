"""What a segmenter says: per frame while it streams, per prompt once it has seen the video."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vdit.atomic import replace_folder_when_complete
from vdit.masks import decode_rle, encode_rle, write_mask_png

OUTPUTS = ("prediction.json", "*.png")


@dataclass
class FramePrediction:
    """All prompts' masks of one frame; P prompts, Q queries.

    Attributes:
        index: of the frame, from 0.
        name: of the frame, for files.
        seconds: since the first frame, where the video says so.
        frame: [H, W, 3] uint8 RGB.
        masks: [P, H, W] bool.
        scores: [P] float in 0..1, how sure the model is that the object is named.
        boxes_xyxy: [P, 4] float in pixels around each mask; zeros where it is empty.
        query_masks: [P, Q, H, W] bool of every query, if they were asked for.
        query_scores: [P, Q] float in 0..1 likewise.
        probabilities: [P, H, W] float in 0..1 of every pixel, if they were asked for.
    """

    index: int
    name: str
    seconds: float | None
    frame: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    boxes_xyxy: np.ndarray
    query_masks: np.ndarray | None = None
    query_scores: np.ndarray | None = None
    probabilities: np.ndarray | None = None


class MaskSequence:
    """[T, H, W] bool masks kept as COCO RLE and decoded on access.

    `masks[3]` decodes one frame, `masks[a:b]` a slice, `np.asarray(masks)` everything.
    """

    def __init__(self, rles: list[dict[str, Any]], size: tuple[int, int]) -> None:
        self.rles = rles
        self.shape = (len(rles), *size)

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, slice):
            chosen = [decode_rle(rle) for rle in self.rles[index]]
            return np.stack(chosen) if chosen else np.zeros((0, *self.shape[1:]), bool)
        return decode_rle(self.rles[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (decode_rle(rle) for rle in self.rles)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or bool, copy=False)


@dataclass
class QueryPrediction:
    """One query's masks and scores over the video; the same index is the same object throughout.

    Attributes:
        masks: [T, H, W] bool, decoded on access.
        scores: [T] float in 0..1.
    """

    masks: MaskSequence
    scores: np.ndarray


@dataclass
class Prediction:
    """The object that one prompt names, through a whole video.

    Attributes:
        prompt: the sentence.
        masks: [T, H, W] bool, decoded on access.
        scores: [T] float in 0..1.
        boxes_xyxy: [T, 4] float in pixels; zeros where the mask is empty.
        frame_names: [T] for files.
        model: name of the model.
        trained: False where the model's head has random weights.
        queries: every query's masks and scores, if they were asked for.
    """

    prompt: str
    masks: MaskSequence
    scores: np.ndarray
    boxes_xyxy: np.ndarray
    frame_names: list[str]
    model: str
    trained: bool
    queries: list[QueryPrediction] = field(default_factory=list)

    def save(self, folder: str | Path) -> None:
        """Write `<frame>.png` masks (0/255) and `prediction.json`; nothing stays if it fails.

        Raises:
            ValueError: the folder cannot be written, or holds anything but an older prediction.
        """
        with replace_folder_when_complete(folder, OUTPUTS) as temporary:
            for name, mask in zip(self.frame_names, self.masks, strict=True):
                write_mask_png(temporary / f"{name}.png", mask)
            facts = {
                "prompt": self.prompt,
                "model": self.model,
                "trained": self.trained,
                "frames": [
                    {"name": name, "score": float(score), "box_xyxy": box.tolist(), "rle": rle}
                    for name, score, box, rle in zip(
                        self.frame_names, self.scores, self.boxes_xyxy, self.masks.rles, strict=True
                    )
                ],
            }
            (temporary / "prediction.json").write_text(json.dumps(facts) + "\n")


class PredictionCollector:
    """Gather a stream of frames into one Prediction for each prompt; masks are kept as RLE."""

    def __init__(self, prompts: Sequence[str], model: str, trained: bool) -> None:
        self.prompts, self.model, self.trained = list(prompts), model, trained
        self.names: list[str] = []
        self.rles: list[list[dict[str, Any]]] = [[] for _ in prompts]
        self.scores: list[np.ndarray] = []
        self.boxes: list[np.ndarray] = []
        self.query_rles: list[list[list[dict[str, Any]]]] = []
        self.query_scores: list[np.ndarray] = []
        self.size = (0, 0)

    def add(self, frame: FramePrediction) -> None:
        """Take the next frame."""
        self.size = (frame.masks.shape[1], frame.masks.shape[2])
        self.names.append(frame.name)
        self.scores.append(frame.scores)
        self.boxes.append(frame.boxes_xyxy)
        for rles, mask in zip(self.rles, frame.masks, strict=True):
            rles.append(encode_rle(mask))
        if frame.query_masks is not None and frame.query_scores is not None:
            self.query_rles.append([[encode_rle(m) for m in masks] for masks in frame.query_masks])
            self.query_scores.append(frame.query_scores)

    def predictions(self) -> list[Prediction]:
        """Give what was gathered, one Prediction a prompt."""
        scores, boxes = np.stack(self.scores, axis=1), np.stack(self.boxes, axis=1)
        return [
            Prediction(
                prompt=prompt,
                masks=MaskSequence(self.rles[p], self.size),
                scores=scores[p],
                boxes_xyxy=boxes[p],
                frame_names=list(self.names),
                model=self.model,
                trained=self.trained,
                queries=self._queries(p),
            )
            for p, prompt in enumerate(self.prompts)
        ]

    def _queries(self, p: int) -> list[QueryPrediction]:
        if not self.query_scores:
            return []
        scores = np.stack([frame[p] for frame in self.query_scores], axis=1)
        return [
            QueryPrediction(
                MaskSequence([frame[p][q] for frame in self.query_rles], self.size), scores[q]
            )
            for q in range(len(scores))
        ]
