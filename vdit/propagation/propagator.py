"""Label propagation in a stream: windows instead of dense matrices, in bounded memory.

Axes: T frames, C channels, K labels, h x w cells.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from vdit.propagation.settings import PropagationSettings
from vdit.propagation.tile_labels import label_tile
from vdit.propagation.windowed_scores import WindowedScores, score_dtype

WORKSPACE_BYTES = 64 * 2**20


class LabelPropagator:
    """Carry labels from the first frame to each next one; keeps the context and nothing else.

    The result is that of `reference.propagate_labels_dense` up to the rounding of the dot products,
    exact ties included.

    Args:
        first_features: [C, h, w].
        first_labels: [K, h, w], one map for each label, the background included.
        settings: what to look at.
        dtype: of the maps in the context, by default that of the features. Half precision halves
            the memory; similarities and labels stay in float32.
        workspace_bytes: what the similarities in memory at once may take.

    Raises:
        ValueError: the shapes do not fit.
    """

    def __init__(
        self,
        first_features: Tensor,
        first_labels: Tensor,
        settings: PropagationSettings,
        *,
        dtype: torch.dtype | None = None,
        workspace_bytes: int = WORKSPACE_BYTES,
    ) -> None:
        if first_features.dim() != 3 or first_features.shape[1:] != first_labels.shape[1:]:
            raise ValueError(
                "expected features [C, h, w] and labels [K, h, w] of one grid, got "
                f"{list(first_features.shape)} and {list(first_labels.shape)}"
            )
        self.settings = settings
        self.shape, self.device = first_features.shape, first_features.device
        self.dtype = first_features.dtype if dtype is None else dtype
        height, width = self.shape[1:]
        place = (height, width, self.device, workspace_bytes)
        self._windows = WindowedScores(settings, *place)
        self._everywhere = WindowedScores(dataclasses.replace(settings, radius=0), *place)
        labels = first_labels.to(self.device, score_dtype(self.dtype)).flatten(1).T.contiguous()
        self._first = (self._prepared(first_features), labels)
        self._recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=settings.num_context)
        self._num_frames = 1

    @torch.no_grad()
    def step(self, features: Tensor) -> Tensor:
        """Label the next frame.

        Args:
            features: [C, h, w].

        Returns:
            [K, h, w]: soft labels in float32, or in float64 where `dtype` is.

        Raises:
            ValueError: the shape is not that of the first frame.
        """
        query = self._prepared(features)
        context = [self._first, *self._recent]
        maps = [each for each, _ in context]
        table = torch.cat([labels for _, labels in context])
        copies = self.settings.first_frame_copies(self._num_frames)
        num_first = 1 if self.settings.first_frame == "unrestricted" else 0
        height, width = self.shape[1:]
        labels = table.new_empty((height, width, table.shape[1]))
        for tiles in self._windows.bands(
            len(maps) - num_first, num_first * height * width, table.element_size()
        ):
            parts = []
            if len(maps) > num_first:
                parts.append(self._windows.score(query, maps[num_first:], num_first, tiles))
            if num_first:
                parts.append(self._everywhere.score(query, maps[:1], 0, tiles))
            for tile, *tile_parts in zip(tiles, *parts, strict=True):
                found = label_tile(tile_parts, table, self.settings, (height, width), copies)
                place = labels[tile.top : tile.bottom, tile.left : tile.right]
                place.copy_(found.unflatten(0, place.shape[:2]))
        self._recent.append((query, labels.flatten(0, 1)))
        self._num_frames += 1
        return labels.permute(2, 0, 1).contiguous()

    def _prepared(self, features: Tensor) -> Tensor:
        """[h, w, C] of unit length, in the dtype of the context."""
        if features.shape != self.shape:
            raise ValueError(
                f"expected features of the first frame's shape {list(self.shape)}, got "
                f"{list(features.shape)}"
            )
        wide = score_dtype(torch.promote_types(features.dtype, self.dtype))
        features = functional.normalize(features.to(self.device, wide), dim=0)
        return features.permute(1, 2, 0).to(self.dtype).contiguous()


def stream_labels(
    features: Iterable[Tensor],
    first_labels: Tensor,
    settings: PropagationSettings,
    *,
    dtype: torch.dtype | None = None,
    workspace_bytes: int = WORKSPACE_BYTES,
) -> Iterator[Tensor]:
    """Yield the labels [K, h, w] of every frame after the first, as soon as it is there.

    Args:
        features: maps [C, h, w], one a frame, the first frame first; taken one by one.
        first_labels: [K, h, w].
        settings: what to look at.
        dtype: see `LabelPropagator`.
        workspace_bytes: see `LabelPropagator`.

    Raises:
        ValueError: there is no frame, or the shapes do not fit.
    """
    frames = iter(features)
    first = next(frames, None)
    if first is None:
        raise ValueError("expected features of at least one frame, got none")
    propagator = LabelPropagator(
        first, first_labels, settings, dtype=dtype, workspace_bytes=workspace_bytes
    )
    yield from map(propagator.step, frames)


def propagate_labels(
    features: Tensor | Iterable[Tensor],
    first_labels: Tensor,
    *,
    num_context: int,
    radius: float,
    topk: int,
    temperature: float,
    window: str = "square",
    first_frame: str = "windowed",
    pad_context: bool = False,
    ties: str = "keep",
    dtype: torch.dtype | None = None,
    workspace_bytes: int = WORKSPACE_BYTES,
) -> Tensor:
    """Carry the labels of the first frame through a video by the similarity of features.

    A cell takes the mean of the labels of the `topk` most similar cells near it in the first frame
    and the `num_context` frames before it, weighted by the softmax of the cosine similarities over
    the temperature. The defaults are the variant of DINO and DIFT; window="disc",
    first_frame="unrestricted", pad_context=True, ties="split" is that of CRW.

    Args:
        features: [T, C, h, w], or maps [C, h, w] one by one.
        first_labels: [K, h, w], one map for each label, the background included.
        num_context: see `PropagationSettings`, as for all up to `ties`.
        radius: cells.
        topk: cells.
        temperature: of the softmax.
        window: "square" or "disc".
        first_frame: "windowed" or "unrestricted".
        pad_context: fill a context that is not full with copies of the first frame.
        ties: "keep" or "split".
        dtype: see `LabelPropagator`.
        workspace_bytes: see `LabelPropagator`.

    Returns:
        [T - 1, K, h, w] soft labels of the frames after the first.

    Raises:
        ValueError: an option is out of range, there is no frame, or the shapes do not fit.

    Reference: Caron et al., ICCV 2021; Jabri et al., NeurIPS 2020; Tang et al., NeurIPS 2023.
    """
    settings = PropagationSettings(
        num_context=num_context,
        radius=radius,
        topk=topk,
        temperature=temperature,
        window=window,
        first_frame=first_frame,
        pad_context=pad_context,
        ties=ties,
    )
    labels = list(
        stream_labels(
            features, first_labels, settings, dtype=dtype, workspace_bytes=workspace_bytes
        )
    )
    return torch.stack(labels) if labels else first_labels.new_empty((0, *first_labels.shape))
