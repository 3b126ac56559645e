"""Classes of videos and pictures: actions, objects, places.

B clips, K classes. Accuracies are in percent.

References: Video diffusion models learn the structure of the dynamic world (linear probe); Bardes
et al., V-JEPA (attentive probe); Carreira et al., Scaling 4D representations (readout).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset
from vdit.models.probes.attentive import AttentiveConfig, AttentiveProbe, vjepa2_config
from vdit.models.probes.pooled import PooledProbe
from vdit.models.probes.readout import ClassificationReadout, ReadoutConfig
from vdit.probing.clip_views import ClipView, ViewOptions, choose_views
from vdit.probing.learned_config import LearnedProbeConfig
from vdit.probing.probe_task import FeatureShape, Record, Tensors


@dataclass(frozen=True)
class ClassificationHead:
    """What reads the class from features.

    Attributes:
        kind: "pooled" is a linear layer on the mean over space and time, "attentive" V-JEPA's
            probe, "attentive-4" that of V-JEPA 2, "readout" the attention readout.
        norm: of the pooled features: "none", "layer" or "batch".
        num_heads: of attention.
        width: of the readout.
        label_smoothing: of the cross entropy.
    """

    kind: Literal["pooled", "attentive", "attentive-4", "readout"] = "pooled"
    norm: Literal["none", "layer", "batch"] = "none"
    num_heads: int = 16
    width: int = 1024
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"expected head.label_smoothing of 0 or more and below 1, got "
                f"{self.label_smoothing}"
            )


@dataclass(frozen=True)
class ClassificationConfig(LearnedProbeConfig):
    """Classes as a learned probe.

    Attributes:
        head: what reads the class.
    """

    head: ClassificationHead = field(default_factory=ClassificationHead)


class Classification:
    """Name the class of a video; views are averaged after the softmax.

    Args:
        head: what reads the class.
        view: how clips are cut out.
        num_classes: K.
    """

    metrics: Mapping[str, bool] = {"top1": True, "top5": True}
    unit = "%"

    def __init__(self, head: ClassificationHead, view: ViewOptions, num_classes: int) -> None:
        self.head, self.view, self.num_classes = head, view, num_classes

    @property
    def is_pooled(self) -> bool:
        return self.head.kind == "pooled"

    @classmethod
    def build(cls, config: ClassificationConfig, dataset: VideoDataset[Any]) -> Classification:
        """Make the task of a configuration for a data set."""
        return cls(config.head, config.view, len(dataset.classes))

    def check(self, dataset: VideoDataset[Any]) -> None:
        """See `ProbeTask`, as for all methods."""
        for video in dataset:
            if not isinstance(video, ClassifiedVideo):
                raise ValueError(
                    f"expected a data set of classes, got {dataset.name}; choose another task"
                )

    def views(self, video: ClassifiedVideo, is_training: bool) -> list[ClipView]:
        count = len(video.frame_names)
        return choose_views(self.view, count, video.size, is_training=is_training)

    def targets(self, video: ClassifiedVideo, view: ClipView, is_training: bool) -> Tensors:
        return {"label": torch.tensor(video.label)}

    def build_head(self, shape: FeatureShape) -> nn.Module:
        """Make the head of this kind, [B, T', C, h, w] -> [B, K]."""
        kind, K = self.head.kind, self.num_classes
        if kind == "pooled":
            return PooledProbe(shape.channels, K, self.head.norm)
        if kind == "readout":
            config = ReadoutConfig(
                shape.channels, shape.steps, self.head.width, self.head.num_heads
            )
            return ClassificationReadout(config, K)
        if kind == "attentive":
            return AttentiveProbe(AttentiveConfig(shape.channels, K, self.head.num_heads))
        return AttentiveProbe(vjepa2_config(shape.channels, K, self.head.num_heads))

    def losses(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        logits, label = head(features), targets["label"]
        loss = F.cross_entropy(logits, label, label_smoothing=self.head.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(1) == label).float().mean()}

    def answer(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        return {"shares": head(features).float().softmax(1)}

    def blind_rule(self, training: Iterable[Tensors]) -> Callable[[Tensors], Tensors]:
        """The most frequent class, then the next ones."""
        counts = Counter(int(each["label"]) for each in training)
        shares = torch.tensor([float(counts[k]) for k in range(self.num_classes)])
        return lambda targets: {"shares": shares}

    def score(self, answers: Sequence[Tensors], targets: Sequence[Tensors]) -> Record:
        shares = torch.stack([each["shares"] for each in answers]).mean(0)
        label = int(targets[0]["label"])
        ranks = shares.argsort(descending=True, stable=True)
        return {"label": label, "rank": int((ranks == label).nonzero()[0])}

    def summarize(self, records: Sequence[Record]) -> dict[str, float]:
        """Also "mean_class", the mean over classes of their top-1 accuracy."""
        hits: dict[int, list[bool]] = {}
        for record in records:
            hits.setdefault(record["label"], []).append(record["rank"] == 0)
        by_class = [sum(each) / len(each) for each in hits.values()]
        return {
            "top1": 100 * sum(record["rank"] < 1 for record in records) / len(records),
            "top5": 100 * sum(record["rank"] < 5 for record in records) / len(records),
            "mean_class": 100 * sum(by_class) / len(by_class),
        }
