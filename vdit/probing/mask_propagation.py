"""Masks of the first frame carried through a clip, and how well they fit: J, F, J by motion.

T frames, T' labelled ones, N objects, H x W pixels, C channels, h x w cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from vdit.atomic import replace_folder_when_complete
from vdit.datasets.labelled_videos import VOID, LabelledVideo
from vdit.masks import read_mask_png, write_palette_png
from vdit.metrics import davis, motion
from vdit.probing.propagation_config import PropagationOptions
from vdit.probing.video_clips import Clip
from vdit.propagation import stream_labels
from vdit.propagation.mask_labels import labels_from_mask, mask_from_labels

METRICS = {
    "J&F_m": "J&F-Mean",
    "J_m": "J-Mean",
    "J_recall": "J-Recall",
    "J_decay": "J-Decay",
    "F_m": "F-Mean",
    "F_recall": "F-Recall",
    "F_decay": "F-Decay",
}
"""Name in a row -> name in `vdit.metrics.davis.summarize`."""

Record = dict[str, Any]


class MaskPropagation:
    """Label propagation on videos with masks.

    Attributes:
        main_metrics: what tables show.
        motion_metric: what is told by motion.
    """

    main_metrics: tuple[str, ...] = ("J&F_m", "J_m", "F_m")
    motion_metric = "J_m"

    def run(
        self,
        clip: Clip,
        maps: Iterable[Tensor],
        options: PropagationOptions,
        folder: Path,
        device: str,
    ) -> Record:
        """Predict the masks of a clip into `folder/masks/`, and score them; see `score_masks`.

        Masks that are there are only scored, and no feature is taken.
        """
        labelled_positions(clip)  # before the work
        masks = folder / "masks" / quote(clip.name, safe="")
        if not masks.is_dir():
            write_masks(masks, clip, carry_masks(clip, maps, options, device))
        return score_masks(masks, clip)

    def summarize(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Average the records of all videos over their objects, in percent; see `METRICS`."""
        scores = [
            davis.SequenceScores(
                np.asarray(record["region"], np.float64),
                np.asarray(record["contour"], np.float64),
                np.arange(1, record["num_objects"] + 1),
            )
            for record in records
        ]
        summary = davis.summarize(scores)
        return {name: 100 * summary[key] for name, key in METRICS.items()}

    def by_motion(
        self, records: Sequence[Mapping[str, Any]], num_groups: int
    ) -> list[motion.MotionGroup]:
        """Average J in percent over all objects and frames, in groups by motion."""
        moved = [np.asarray(record["motion"], np.float64).ravel() for record in records]
        scores = [100 * np.asarray(record["region"], np.float64).ravel() for record in records]
        return motion.scores_by_motion(np.concatenate(moved), np.concatenate(scores), num_groups)


def carry_masks(
    clip: Clip, maps: Iterable[Tensor], options: PropagationOptions, device: str = "cpu"
) -> Iterator[np.ndarray]:
    """Yield the labels [H, W] uint8 of every frame of a clip; those of the first are the truth.

    Args:
        clip: of a video with labels.
        maps: features [C, h, w] of its frames, one by one.
        options: of the propagation.
        device: where similarities are computed.

    Raises:
        ValueError: the first frame shows no object.
    """
    first = true_labels(clip, clip.start)
    first[first == VOID] = 0
    if not first.any():
        raise ValueError(f"{clip.name} shows no object in its first labelled frame")
    yield first
    grid, stream = _peek(each.to(device) for each in maps)
    labels = labels_from_mask(
        torch.from_numpy(first.astype(np.int64)), grid, keep_vanished=options.keep_vanished
    )
    dtype = getattr(torch, options.dtype)
    for soft in stream_labels(stream, labels, options.settings(), dtype=dtype):
        mask = mask_from_labels(
            soft, first.shape, stride=options.enlarge, normalize=options.variant == "dino"
        )
        yield mask.cpu().numpy().astype(np.uint8)


def true_labels(clip: Clip, index: int) -> np.ndarray:
    """Read the true labels [H, W] uint8 of a frame, to be changed at will."""
    assert isinstance(clip.video, LabelledVideo)
    return np.array(clip.video.labels(index), dtype=np.uint8)


def write_masks(folder: Path, clip: Clip, masks: Iterable[np.ndarray]) -> None:
    """Write the labels of every frame as `<frame>.png`; the folder appears when all are there."""
    with replace_folder_when_complete(folder) as partial:
        for name, mask in zip(clip.frame_names, masks, strict=True):
            write_palette_png(partial / f"{name}.png", mask)


def score_masks(folder: Path, clip: Clip) -> Record:
    """Score written masks on the labelled frames as the semi-supervised task of DAVIS does.

    Objects that the first frame does not show, as YouTube-VOS has them, do not count: nobody could
    follow them.

    Args:
        folder: of `write_masks`.
        clip: whose masks they are.

    Returns:
        For JSON: J and F [N, T' - 2] of the counted frames, motion of the same, and counts.

    Raises:
        ValueError: fewer than three frames have labels, or a mask cannot be read.
    """
    positions = labelled_positions(clip)
    names = clip.video.frame_names
    target = np.stack([true_labels(clip, index) for index in positions])
    prediction = np.stack([read_mask_png(folder / f"{names[index]}.png") for index in positions])
    scores = davis.score_semi_supervised(target, prediction)
    shown = np.isin(scores.predicted_ids, target[0])
    moved = motion.object_motion(target, positions)[:, 1:-1]
    return {
        "num_frames": len(clip),
        "num_labelled": len(positions),
        "num_objects": int(shown.sum()),
        "region": scores.region[shown].tolist(),
        "contour": scores.contour[shown].tolist(),
        "motion": _nan_to_none(moved[shown]),
    }


def labelled_positions(clip: Clip) -> list[int]:
    """Give the positions of the labelled frames of a clip in its video.

    Raises:
        ValueError: there are fewer than three.
    """
    assert isinstance(clip.video, LabelledVideo)
    positions = [index for index in clip.video.labelled if clip.start <= index < clip.stop]
    if len(positions) < 3:
        raise ValueError(
            f"{clip.name} has {len(positions)} labelled frames, expected three or more, as the "
            "first and the last do not count; choose another split"
        )
    return positions


def _peek(maps: Iterator[Tensor]) -> tuple[tuple[int, int], Iterator[Tensor]]:
    """Give the grid (h, w) of a stream of maps, and the whole stream."""
    first = next(maps)

    def whole() -> Iterator[Tensor]:
        yield first
        yield from maps

    return (first.shape[-2], first.shape[-1]), whole()


def _nan_to_none(values: np.ndarray) -> list[list[float | None]]:
    """JSON has no NaN."""
    return [[None if np.isnan(x) else float(x) for x in row] for row in values]
