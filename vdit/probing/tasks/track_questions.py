"""Which tracks of a clip are asked for, where each begins, and what counts.

N tracks of a video, Q questions, T frames of a clip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vdit.datasets.videos import Video
from vdit.probing.clip_views import ClipView
from vdit.probing.probe_task import Tensors

EDGE = 1e-4
"""Share of the window next to its edge that counts as the edge where logits are taken."""

Asked = Literal["start", "first"]
"""A track is asked for in the first frame of the clip, or in the first one where it is seen."""


class KeptTargets:
    """Targets of training clips, which every epoch asks for: a few kilobytes each."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str, ClipView], Tensors] = {}

    def get(self, video: Video, view: ClipView, make: Callable[[], Tensors]) -> Tensors:
        """Give the targets of a clip, made at its first use."""
        key = (video.dataset, video.split, video.name, view)
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def new_frames(view: ClipView) -> np.ndarray:
    """Mark the frames of a clip that do not repeat an earlier one, [T] bool.

    A video that is too short repeats its last frame; what holds there was asked before.
    """
    indices = np.array(view.indices)
    return np.array([index not in indices[:t] for t, index in enumerate(indices)])


def choose_questions(askable: np.ndarray, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """Choose tracks and where they begin.

    Args:
        askable: [N, T] bool, where a track can be asked for.
        asked: in which frame.

    Returns:
        Tracks [Q] and frames [Q]; each track at most once.
    """
    if asked == "start":
        tracks = np.flatnonzero(askable[:, 0])
        return tracks, np.zeros(len(tracks), np.int64)
    tracks = np.flatnonzero(askable.any(axis=1))
    return tracks, askable[tracks].argmax(axis=1) if len(tracks) else tracks


def draw_questions(count: int, most: int, video: Video, view: ClipView) -> np.ndarray:
    """Draw `most` of `count` questions or keep all; always the same for one clip of one video."""
    if count <= most:
        return np.arange(count)
    digest = hashlib.sha256(f"{video.name} {view!r}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return np.sort(rng.choice(count, most, replace=False))


def as_targets(arrays: dict[str, np.ndarray], pad_to: int | None) -> Tensors:
    """Turn arrays [Q, ...] into tensors; "asked" marks those that are no padding.

    Args:
        arrays: numbers become float32, whole numbers int64.
        pad_to: number of rows; those that are missing are zeros. None = as many as there are.
    """
    num_rows = len(next(iter(arrays.values())))
    missing = 0 if pad_to is None else pad_to - num_rows
    targets = {}
    for name, values in (arrays | {"asked": np.ones(num_rows, bool)}).items():
        filled = np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1))
        kept = filled.astype(np.float32) if filled.dtype.kind == "f" else filled
        targets[name] = torch.from_numpy(np.ascontiguousarray(kept))
    return targets


def add_to_query(shares: Tensor, queries: Tensor) -> Tensor:
    """Read positions relative to those of the queries, so that a half leaves all where it was.

    Args:
        shares: [B, Q, T, D] in 0..1, what a head says.
        queries: [B, Q, D] in 0..1.

    Returns:
        [B, Q, T, D] in 0..1; logits are added.
    """
    moved = torch.logit(shares.float(), EDGE) + torch.logit(queries, EDGE)[:, :, None]
    return moved.sigmoid()


def since_question(targets: Tensors) -> Tensor:
    """Mark what a tracker can know: labelled frames from that of the question on.

    Args:
        targets: "labelled" [..., Q, T] bool, "query_frames" [..., Q], "asked" [..., Q] bool.

    Returns:
        [..., Q, T] bool.
    """
    labelled = targets["labelled"]
    times = torch.arange(labelled.shape[-1], device=labelled.device)
    begun = times >= targets["query_frames"][..., None]
    return labelled & begun & targets["asked"][..., None]


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Average the values that are marked; 0 where none is."""
    return (values * where).sum() / where.sum().clamp(min=1)


def join_views(views: Sequence[Tensors], name: str) -> np.ndarray:
    """Put the questions of all views of a video behind one another."""
    return np.concatenate([each[name].numpy() for each in views])
