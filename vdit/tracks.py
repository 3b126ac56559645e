"""One prompt's object from window to window: which query it is, and what its masks are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vdit.linking import link_queries
from vdit.measure import Stopwatch
from vdit.models.vdit import VDIT, Sentences, SharedWork
from vdit.structures import LayerOutput, VideoBatch
from vdit.windows import Window

MIN_LINK_IOU = 0.1
"""A query that overlaps its predecessor less has lost its object; the best one is chosen anew."""
EMPTY = -100.0
"""Logit of "certainly not the object"."""
DEFAULT_UNION_FLOOR = 0.5
"""Mean score above which a query joins the union, unless a threshold is given."""


@dataclass(frozen=True)
class TrackRules:
    """How queries become one answer; see `vdit.segmenter.SegmentOptions`."""

    select: str
    no_target_threshold: float | None
    overlap: int


@dataclass
class WindowMasks:
    """One prompt's answer in one window of T frames, at the padded size the model saw.

    Attributes:
        logits: [T, H, W].
        scores: [T] in 0..1.
        query_logits: [Q, T, H, W] of every query, if they were asked for.
        query_scores: [Q, T] in 0..1; query q is the same object in every window.
    """

    logits: Tensor
    scores: Tensor
    query_logits: Tensor | None
    query_scores: Tensor


class ObjectTrack:
    """Follow one prompt's object through consecutive windows.

    Queries are put in the order of the window before by the overlap of their masks on the shared
    frames; there, old and new logits fade into each other.

    Args:
        model: VD-IT in eval mode.
        sentence: the prompt's text features.
        rules: how queries become one answer.
    """

    def __init__(self, model: VDIT, sentence: Sentences, rules: TrackRules) -> None:
        self.model, self.sentence, self.rules = model, sentence, rules
        self.slot: int | None = None
        self.tail_masks: Tensor | None = None
        self.tail: WindowMasks | None = None

    def advance(
        self,
        batch: VideoBatch,
        shared: SharedWork,
        window: Window[Any],
        keep_queries: bool,
        stopwatch: Stopwatch,
    ) -> WindowMasks:
        """Segment the next window.

        Args:
            batch: the window's frames, one clip.
            shared: what the model made of them without the sentence.
            window: where the window lies in the video.
            keep_queries: also compute every query's full masks.
            stopwatch: told what the time went into.
        """
        with stopwatch.measure("features"):
            features = self.model.features(shared, self.sentence)
        with stopwatch.measure("head"):
            layer = self.model.head(
                features,
                batch.padding_mask,
                batch.sizes,
                self.sentence.words,
                self.sentence.words_padding,
                all_layers=False,
            )[-1]
            overlap = self.rules.overlap
            known = slice(window.num_known - overlap, window.num_known)
            order = self._link(layer, features, known)
            result = self._answer(layer, features, order, keep_queries)
            if self.tail is not None:
                _fade(self.tail, result, known)
            self._remember(layer, features, order, result, window)
        return result

    def _link(self, layer: LayerOutput, features: Sequence[Tensor], shared: slice) -> Tensor:
        """Order the window's queries as in the window before, and let go of a lost object."""
        queries = torch.arange(layer.class_logits.shape[-1], device=layer.class_logits.device)
        if self.tail_masks is None:
            return queries
        masks = self._masks(layer, features, queries, shared) > 0
        order, iou = link_queries(self.tail_masks, masks)
        if self.slot is not None and iou[self.slot] < MIN_LINK_IOU:
            self.slot = None
        return order

    def _answer(
        self, layer: LayerOutput, features: Sequence[Tensor], order: Tensor, keep_queries: bool
    ) -> WindowMasks:
        scores = layer.class_logits[0].sigmoid().T[order]
        slots = self._choose(scores.mean(dim=1))
        wanted = list(range(len(scores))) if keep_queries else slots
        logits = self._masks(layer, features, order[wanted], slice(None))
        if slots:
            union = logits[[wanted.index(slot) for slot in slots]].amax(dim=0)
        else:
            union = logits.new_full(logits.shape[1:], EMPTY)
        return WindowMasks(
            logits=union,
            scores=scores.amax(dim=0) if self.slot is None else scores[self.slot],
            query_logits=logits if keep_queries else None,
            query_scores=scores,
        )

    def _choose(self, means: Tensor) -> list[int]:
        """Name the queries whose masks are the answer; none = no object."""
        floor = self.rules.no_target_threshold
        if self.rules.select == "union":
            floor = DEFAULT_UNION_FLOOR if floor is None else floor
            return [slot for slot, mean in enumerate(means.tolist()) if mean >= floor]
        if self.slot is None:
            self.slot = int(means.argmax())
        return [self.slot] if floor is None or means[self.slot] >= floor else []

    def _masks(
        self, layer: LayerOutput, features: Sequence[Tensor], queries: Tensor, frames: slice
    ) -> Tensor:
        """Full-resolution logits [K, T, H, W] of K queries."""
        clips = torch.zeros_like(queries)
        return self.model.head.refine(layer, features, clips, queries, frames)

    def _remember(
        self,
        layer: LayerOutput,
        features: Sequence[Tensor],
        order: Tensor,
        result: WindowMasks,
        window: Window[Any],
    ) -> None:
        """Keep what the next window needs of the frames that it shares with this one."""
        overlap = self.rules.overlap
        if window.is_last:
            return
        if overlap == 0:
            self.slot = None  # nothing tells which query goes on
            return
        frames = slice(len(window.items) - overlap, None)
        queries = result.query_logits
        self.tail_masks = self._masks(layer, features, order, frames) > 0
        self.tail = WindowMasks(
            logits=result.logits[frames].clone(),
            scores=result.scores[frames].clone(),
            query_logits=None if queries is None else queries[:, frames].clone(),
            query_scores=result.query_scores[:, frames].clone(),
        )


def _fade(before: WindowMasks, after: WindowMasks, shared: slice) -> None:
    """Let the earlier answer fade into the later one over the shared frames, in place."""
    count = len(before.scores)
    weight = torch.arange(1, count + 1, device=before.scores.device) / (count + 1)

    def blend(old: Tensor, new: Tensor, axis: int) -> None:
        shape = [1] * new.ndim
        shape[axis] = count
        frames = (slice(None),) * axis + (shared,)
        new[frames] = torch.lerp(old, new[frames], weight.view(shape))

    blend(before.logits, after.logits, 0)
    blend(before.scores, after.scores, 0)
    blend(before.query_scores, after.query_scores, 1)
    if before.query_logits is not None and after.query_logits is not None:
        blend(before.query_logits, after.query_logits, 1)
