"""The files of `vdit segment`: mask pictures, an overlay video, `result.json`, as they stream."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vdit.atomic import replace_folder_when_complete, replace_when_complete
from vdit.masks import encode_rle, write_mask_png
from vdit.prediction import FramePrediction
from vdit.video_writer import VideoWriter
from vdit.visualize import draw_legend, object_colors, overlay_masks

MASK_FOLDERS = ("[0-9][0-9]*_*",)
UNTRAINED_NOTE = "untrained model: masks mean nothing"
OVERLAY_NOTE = "untrained model"


def slug(prompt: str) -> str:
    """Turn a prompt into a part of a file name.

    >>> slug("The dog, on the left!")
    'the-dog-on-the-left'
    """
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")
    return words[:48].rstrip("-") or "prompt"


class SegmentationWriter:
    """Write a stream of predictions to a folder; everything appears once all of it is complete.

    Writes `masks/<NN>_<prompt>/<frame>.png` (0/255), `overlay.mp4` and `result.json`. Earlier
    outputs of these names are replaced, other files in the folder stay. Memory does not grow with
    the length of the video.

    Args:
        folder: created if it is missing.
        prompts: the sentences, in the order of the masks.
        fps: of the overlay where frames have no time of their own.
        facts: what `result.json` says beside the frames: video, model, options.
        trained: False adds a note to every overlay frame.

    Raises:
        ValueError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        prompts: Sequence[str],
        fps: float,
        facts: dict[str, Any],
        trained: bool,
    ) -> None:
        self.folder = Path(folder)
        self.prompts = list(prompts)
        self.fps, self.facts, self.trained = fps, facts, trained
        self.colors = object_colors(len(self.prompts))
        self.num_frames = 0
        self.score_sums = np.zeros(len(self.prompts))
        self.area_sums = np.zeros(len(self.prompts))
        self.is_new = not self.folder.exists()
        self.stack = ExitStack()

    def __enter__(self) -> SegmentationWriter:
        self.masks = self.stack.enter_context(
            replace_folder_when_complete(self.folder / "masks", MASK_FOLDERS)
        )
        self.overlay = self.stack.enter_context(VideoWriter(self.folder / "overlay.mp4", self.fps))
        result = self.stack.enter_context(replace_when_complete(self.folder / "result.json"))
        self.result = self.stack.enter_context(result.open("w"))
        self.mask_folders = []
        for p, prompt in enumerate(self.prompts):
            self.mask_folders.append(self.masks / f"{p:02d}_{slug(prompt)}")
            self.mask_folders[-1].mkdir()
        head = {**self.facts, "prompts": self.prompts, "trained": self.trained}
        self.result.write(json.dumps(head)[:-1] + ', "frames": [\n')
        return self

    def add(self, frame: FramePrediction) -> None:
        """Write the next frame."""
        for folder, mask in zip(self.mask_folders, frame.masks, strict=True):
            write_mask_png(folder / f"{frame.name}.png", mask)
        self.overlay.add(self._picture(frame), frame.seconds)
        if self.num_frames:
            self.result.write(",\n")
        self.result.write(json.dumps(_frame_facts(frame)))
        self.num_frames += 1
        self.score_sums += frame.scores
        self.area_sums += frame.masks.mean(axis=(1, 2))

    def _picture(self, frame: FramePrediction) -> np.ndarray:
        tinted = overlay_masks(frame.frame, frame.masks, self.colors)
        labels = [
            f"{prompt} ({score:.2f})"
            for prompt, score in zip(self.prompts, frame.scores, strict=True)
        ]
        return draw_legend(tinted, labels, self.colors, "" if self.trained else OVERLAY_NOTE)

    def finish(self, costs: dict[str, Any]) -> dict[str, Any]:
        """Close `result.json` with what the run cost; give the summary of the run."""
        summary = {
            "num_frames": self.num_frames,
            "mean_scores": (self.score_sums / max(self.num_frames, 1)).round(4).tolist(),
            "mean_areas": (self.area_sums / max(self.num_frames, 1)).round(4).tolist(),
            **costs,
        }
        self.result.write("\n], " + json.dumps(summary)[1:] + "\n")
        self.result.flush()
        return summary

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stack.__exit__(kind, error, traceback)
        finally:
            if self.is_new and self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()


def _frame_facts(frame: FramePrediction) -> dict[str, Any]:
    return {
        "index": frame.index,
        "name": frame.name,
        "objects": [
            {
                "score": round(float(score), 4),
                "box_xyxy": [round(float(side), 1) for side in box],
                "rle": encode_rle(mask),
            }
            for score, box, mask in zip(frame.scores, frame.boxes_xyxy, frame.masks, strict=True)
        ],
    }
