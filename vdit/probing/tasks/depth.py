"""Depth of all pixels of labelled frames, in metres.

B clips, K labelled frames of a clip, H x W pixels.

References: Video diffusion models learn the structure of the dynamic world (Cityscapes; its "mErr"
is not defined and is taken for the mean absolute error in metres); Carreira et al., Scaling 4D
representations (ScanNet); Eigen et al., NeurIPS 2014 (errors, scale-invariant loss).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vdit.datasets.truth_videos import DepthVideo
from vdit.datasets.videos import VideoDataset
from vdit.metrics.depth import DepthSums, depth_sums, mean_over_images
from vdit.probing.clip_views import ClipView, ViewOptions
from vdit.probing.learned_config import LearnedProbeConfig
from vdit.probing.probe_task import FeatureShape, Record, Tensors
from vdit.probing.tasks.depth_heads import DepthCode, DepthHead, build_depth_head
from vdit.probing.tasks.labelled_frames import (
    Scoring,
    check_scoring,
    frames_seen,
    labelled_positions,
    labelled_views,
    nearest_size,
)


@dataclass(frozen=True)
class DepthConfig(LearnedProbeConfig):
    """Depth as a learned probe.

    Attributes:
        head: what reads it.
        scored: truth is brought to the size of the "clip", as in the paper, or answers to the size
            of the "frame", which needs clips without a crop.
    """

    head: DepthHead = field(default_factory=DepthHead)
    scored: Scoring = "clip"


class Depth:
    """Estimate the depth of every pixel of the labelled frames of a clip.

    Args:
        head: what reads the depth.
        view: how clips are cut out.
        scored: see `DepthConfig`.

    Raises:
        ValueError: the labelled frame is outside of its clip, or whole frames are to be scored by
            cropped clips.
    """

    metrics: Mapping[str, bool] = {"mErr": False, "AbsRel": False, "RMSE": False, "delta_1": True}
    unit = "m"
    is_pooled = False

    def __init__(self, head: DepthHead, view: ViewOptions, scored: Scoring = "clip") -> None:
        check_scoring(view, scored)
        self.head, self.view, self.scored = head, view, scored
        self.code = DepthCode(head.output, head.min_depth, head.max_depth)

    @classmethod
    def build(cls, config: DepthConfig, dataset: VideoDataset[Any]) -> Depth:
        """Make the task of a configuration."""
        return cls(config.head, config.view, config.scored)

    @property
    def frames_seen(self) -> tuple[int, ...] | None:
        """See `SeesFrames`."""
        return frames_seen(self.view, "all" if self.head.kind == "readout" else self.head.steps)

    def check(self, dataset: VideoDataset[Any]) -> None:
        """See `ProbeTask`, as for all methods."""
        for video in dataset:
            if not isinstance(video, DepthVideo):
                raise ValueError(
                    f"expected a data set with depth, got {dataset.name}; choose another task"
                )

    def views(self, video: DepthVideo, is_training: bool) -> list[ClipView]:
        return labelled_views(self.view, video, is_training)

    def targets(self, video: DepthVideo, view: ClipView, is_training: bool) -> Tensors:
        """Depth [K, H, W] float32 in metres, 0 where nobody knows."""
        is_whole = self.scored == "frame" and not is_training
        size = video.size if is_whole else view.size
        depth = np.zeros((len(labelled_positions(self.view)), *size), np.float32)
        for k, position in enumerate(labelled_positions(self.view)):
            index = view.indices[position]
            if index in video.labelled:
                found = video.depth(index)
                depth[k] = found if is_whole else view.cut_map(found)
        return {"depth": torch.from_numpy(depth)}

    def build_head(self, shape: FeatureShape) -> nn.Module:
        return build_depth_head(self.head, self.view, shape)

    def losses(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Mean over frames of both losses over their pixels of known depth."""
        depth = targets["depth"]
        size = (depth.shape[-2], depth.shape[-1])
        if self.head.kind == "pixels":
            count = max(1, round(self.head.pixel_share * size[0] * size[1]))
            chosen = torch.randperm(size[0] * size[1], device=depth.device)[:count]
            numbers = head(features, size, chosen).float()  # [B, K, Q]
            depth = depth.flatten(-2)[..., chosen]
        else:
            numbers = head(features, size)[:, :, 0].float().flatten(-2)
            depth = depth.flatten(-2)
        return self._losses(numbers.flatten(0, 1), depth.flatten(0, 1))

    def answer(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Depth [B, K, H, W] in metres."""
        size = (targets["depth"].shape[-2], targets["depth"].shape[-1])
        return {"depth": self.code.metres(head(features, size)[:, :, 0].float())}

    def blind_rule(self, training: Iterable[Tensors]) -> Callable[[Tensors], Tensors]:
        """The mean logarithm of each pixel's depth; of the whole frame where it is never known."""
        total: Tensor | float = 0.0
        counts: Tensor | int = 0
        for targets in training:
            depth = targets["depth"].double()
            known = self._is_known(depth)
            total = total + torch.where(known, depth, 1.0).log().sum(0)
            counts = counts + known.sum(0)
        if isinstance(counts, int) or isinstance(total, float) or not counts.any():
            raise ValueError("expected a clip with known depth to train on, got none")
        means = torch.where(counts > 0, total / counts.clamp(min=1), total.sum() / counts.sum())

        def rule(targets: Tensors) -> Tensors:
            depth = targets["depth"]
            found = nearest_size(means.exp().float(), (depth.shape[-2], depth.shape[-1]))
            return {"depth": found.expand(depth.shape)}

        return rule

    def score(self, answers: Sequence[Tensors], targets: Sequence[Tensors]) -> Record:
        """Sums of the errors of each labelled frame of known depth."""
        least, largest = self.head.min_depth, self.head.max_depth
        frames = [
            depth_sums(true, found, max_depth=largest, prediction_range=(least, largest))
            for each, asked in zip(answers, targets, strict=True)
            for found, true in zip(each["depth"].numpy(), asked["depth"].numpy(), strict=True)
        ]
        return {"frames": [asdict(sums) for sums in frames if sums.num_pixels]}

    def summarize(self, records: Sequence[Record]) -> dict[str, float]:
        """Errors over the pixels of a frame, then their mean over all frames."""
        frames = [DepthSums(**sums) for record in records for sums in record["frames"]]
        if not frames:
            raise ValueError("expected a frame with known depth to score, got none")
        errors = mean_over_images(frames)
        return {"mErr": errors.pop("MeanError"), **errors}

    def _is_known(self, depth: Tensor) -> Tensor:
        return (depth > 0) & (depth <= self.head.max_depth)

    def _losses(self, numbers: Tensor, depth: Tensor) -> Tensors:
        """Compare numbers and depths [N, Q] of N frames."""
        known = self._is_known(depth)
        counts = known.sum(1)
        true = torch.where(known, depth, self.code.center)
        error = self.code.compared(numbers) - self.code.compared_truth(true)
        ratio = self.code.log_depth(numbers) - torch.log(true / self.code.center)

        def mean(values: Tensor) -> Tensor:
            return torch.where(known, values, 0.0).sum(1) / counts.clamp(min=1)

        has_truth = (counts > 0).float()
        scale = mean(ratio**2) - self.head.scale_share * mean(ratio) ** 2
        l1, scale_invariant = (
            (each * has_truth).sum() / has_truth.sum().clamp(min=1)
            for each in (mean(error.abs()), scale)
        )
        loss = self.head.l1_weight * l1 + self.head.scale_weight * scale_invariant
        return {"loss": loss, "l1": l1, "scale_invariant": scale_invariant}
