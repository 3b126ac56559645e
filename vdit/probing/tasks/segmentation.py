"""Classes of all pixels of labelled frames.

B clips, K labelled frames of a clip, C classes, H x W pixels. Metrics are in percent.

References: Video diffusion models learn the structure of the dynamic world (Cityscapes, whose head
it does not describe); Oquab et al., DINOv2 (linear head).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.datasets.labelled_videos import VOID, LabelledVideo
from vdit.datasets.videos import VideoDataset
from vdit.metrics.segmentation import class_iou, confusion_matrix, mean_iou, pixel_accuracy
from vdit.models.probes.dense import DenseConfig, DenseHead, LinearDenseHead
from vdit.probing.clip_views import ClipView, ViewOptions
from vdit.probing.learned_config import LearnedProbeConfig
from vdit.probing.probe_task import FeatureShape, Record, Tensors
from vdit.probing.tasks.labelled_frames import (
    LabelledFrameHead,
    Scoring,
    Steps,
    channels_seen,
    check_scoring,
    frames_seen,
    labelled_positions,
    labelled_views,
    nearest_size,
    steps_seen,
)


@dataclass(frozen=True)
class SegmentationHead:
    """What reads classes from features.

    Attributes:
        kind: "dense" has two convolutions, "linear" is one linear map of each cell.
        steps: the head sees the feature frame that shows the "labelled" frame, or "all" of a clip,
            as channels.
        width: channels inside of the dense head.
        norm: of features in front of the dense head, "batch" or "layer"; linear is always "batch".
    """

    kind: Literal["dense", "linear"] = "dense"
    steps: Steps = "labelled"
    width: int = 256
    norm: Literal["batch", "layer"] = "batch"


@dataclass(frozen=True)
class SegmentationConfig(LearnedProbeConfig):
    """Classes of pixels as a learned probe.

    Attributes:
        head: what reads them.
        scored: labels are brought to the size of the "clip", as in the paper, or answers to the
            size of the "frame", which needs clips without a crop.
    """

    head: SegmentationHead = field(default_factory=SegmentationHead)
    scored: Scoring = "clip"


class Segmentation:
    """Name the class of every pixel of the labelled frames of a clip.

    Args:
        head: what reads the classes.
        view: how clips are cut out.
        classes: names of the C classes.
        scored: see `SegmentationConfig`.

    Raises:
        ValueError: the labelled frame is outside of its clip, or whole frames are to be scored by
            cropped clips.
    """

    metrics: Mapping[str, bool] = {"mIoU": True, "pixel_accuracy": True}
    unit = "%"
    is_pooled = False

    def __init__(
        self,
        head: SegmentationHead,
        view: ViewOptions,
        classes: Sequence[str],
        scored: Scoring = "clip",
    ) -> None:
        check_scoring(view, scored)
        self.head, self.view, self.classes, self.scored = head, view, tuple(classes), scored

    @classmethod
    def build(cls, config: SegmentationConfig, dataset: VideoDataset[Any]) -> Segmentation:
        """Make the task of a configuration for a data set."""
        return cls(config.head, config.view, dataset.classes, config.scored)

    @property
    def frames_seen(self) -> tuple[int, ...] | None:
        """See `SeesFrames`."""
        return frames_seen(self.view, self.head.steps)

    def check(self, dataset: VideoDataset[Any]) -> None:
        """See `ProbeTask`, as for all methods."""
        for video in dataset:
            if not isinstance(video, LabelledVideo) or not dataset.classes:
                raise ValueError(
                    f"expected a data set with classes of pixels, got {dataset.name}; choose "
                    "another task"
                )

    def views(self, video: LabelledVideo, is_training: bool) -> list[ClipView]:
        return labelled_views(self.view, video, is_training)

    def targets(self, video: LabelledVideo, view: ClipView, is_training: bool) -> Tensors:
        """Labels [K, H, W] uint8, 255 where nobody knows."""
        is_whole = self.scored == "frame" and not is_training
        size = video.size if is_whole else view.size
        labels = np.full((len(labelled_positions(self.view)), *size), VOID, np.uint8)
        for k, position in enumerate(labelled_positions(self.view)):
            index = view.indices[position]
            if index in video.labelled:
                found = video.labels(index)
                labels[k] = found if is_whole else view.cut_map(found)
        return {"labels": torch.from_numpy(labels)}

    def build_head(self, shape: FeatureShape) -> nn.Module:
        """Make the head, [B, T', C', h, w] and a size -> logits [B, K, C, H, W]."""
        head, C = self.head, len(self.classes)
        channels = channels_seen(shape, head.steps)
        network: nn.Module = LinearDenseHead(channels, C)
        if head.kind == "dense":
            network = DenseHead(DenseConfig(channels, C, head.width, head.norm))
        return LabelledFrameHead(network, steps_seen(shape, head.steps, self.view))

    def losses(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Cross entropy over the pixels that have a class."""
        labels = targets["labels"].flatten(0, 1).long()
        logits = head(features, tuple(labels.shape[-2:])).flatten(0, 1).float()
        is_known = labels != VOID
        count = is_known.sum().clamp(min=1)
        total = F.cross_entropy(logits, labels, ignore_index=VOID, reduction="sum")
        hits = (logits.argmax(1) == labels) & is_known
        return {"loss": total / count, "pixel_accuracy": hits.sum() / count}

    def answer(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """The class of every pixel, [B, K, H, W] uint8."""
        logits = head(features, tuple(targets["labels"].shape[-2:]))
        return {"classes": logits.argmax(2).to(torch.uint8)}

    def blind_rule(self, training: Iterable[Tensors]) -> Callable[[Tensors], Tensors]:
        """The most frequent class of each pixel; of the whole frame where it is always void."""
        counts: Tensor | int = 0
        for targets in training:
            known = torch.arange(len(self.classes))[:, None, None, None] == targets["labels"]
            counts = counts + known.sum(1)  # [C, H, W]
        if isinstance(counts, int):
            raise ValueError("expected labels of at least one clip, got none")
        best = counts.argmax(0)
        best[counts.sum(0) == 0] = counts.sum((1, 2)).argmax()

        def rule(targets: Tensors) -> Tensors:
            labels = targets["labels"]
            found = nearest_size(best.to(torch.uint8), (labels.shape[-2], labels.shape[-1]))
            return {"classes": found.expand(labels.shape)}

        return rule

    def score(self, answers: Sequence[Tensors], targets: Sequence[Tensors]) -> Record:
        """The confusion matrix of a video, rows are true classes."""
        counts = sum(
            confusion_matrix(true["labels"].numpy(), each["classes"].numpy(), len(self.classes))
            for each, true in zip(answers, targets, strict=True)
        )
        return {"confusion": np.asarray(counts).tolist()}

    def summarize(self, records: Sequence[Record]) -> dict[str, float]:
        """Scores of one confusion matrix over all videos, also "IoU <class>" of each class."""
        total = np.sum([np.array(record["confusion"]) for record in records], axis=0)
        by_class = {
            f"IoU {name}": 100 * float(value)
            for name, value in zip(self.classes, class_iou(total), strict=True)
        }
        scores = {"mIoU": mean_iou(total), "pixel_accuracy": pixel_accuracy(total)}
        return {name: 100 * value for name, value in scores.items()} | by_class
