"""Object discovery: slots learn without labels to divide a video into its objects.

The head sees short clips while it learns and whole videos in the test, in which it carries its
slots from chunk to chunk. True instances are used for scores only.

B clips, T frames, C channels, h x w cells of the grid, K slots. Scores are in percent.

References: Video diffusion models learn the structure of the dynamic world (task, sizes); Bao et
al., Object Discovery from Motion-Guided Tokens, CVPR 2023 ("codes"); Zadaianchuk et al., VideoSAUR,
NeurIPS 2023 ("similarity"); `vdit.models.probes.cluster_discovery` ("clusters").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.datasets.truth_videos import InstanceVideo
from vdit.datasets.videos import VideoDataset
from vdit.feature_projection import cluster_features
from vdit.metrics.grouping import GroupingScores, score_grouping, summarize
from vdit.models.probes.cluster_discovery import ClusterDiscovery, distortion
from vdit.models.probes.code_discovery import (
    CodeDiscovery,
    CodeLossWeights,
    code_discovery_losses,
    weighted_sum,
)
from vdit.models.probes.similarity_discovery import (
    SimilarityLossWeights,
    similarity_discovery_losses,
)
from vdit.probing.clip_views import ClipView, ViewOptions, choose_views
from vdit.probing.discovery_head import DiscoveryHead, segment_video
from vdit.probing.learned_config import LearnedProbeConfig
from vdit.probing.probe_task import FeatureShape, Record, Tensors
from vdit.probing.segment_baselines import best_blocks
from vdit.probing.segment_pictures import draw_segments

SLOTS, CLUSTERS, SEEN, EQUALS = "slots", "clusters", "seen clusters", "as many clusters"
"""Answers [T, h, w] uint8: of the head, and of k-means on the directions of the backbone's
features, which is told the number of objects. Beside "clusters" also of k-means on what that head
sees, standardized features and places, with that number and with as many clusters as slots."""
TITLES = {CLUSTERS: "k-means", SEEN: "k-means with places", EQUALS: "k-means, K slots"}
BLIND_CLIPS = 1000
"""Training clips that chance is chosen by."""


@dataclass(frozen=True)
class DiscoveryConfig(LearnedProbeConfig):
    """Object discovery as a learned probe.

    Attributes:
        head: what finds objects.
    """

    head: DiscoveryHead = field(default_factory=DiscoveryHead)


class Discovery:
    """Divide videos into objects; the whole video is one answer.

    Args:
        head: what finds objects.
        view: how clips are cut out to learn from; a test sees all frames, one after another.
    """

    metrics: Mapping[str, bool] = {
        "FG-ARI": True,
        "mBO": True,
        "frame FG-ARI": True,
        "k-means FG-ARI": True,
        "k-means mBO": True,
        "k-means with places FG-ARI": True,
        "k-means with places mBO": True,
        "k-means, K slots FG-ARI": True,
        "k-means, K slots mBO": True,
    }
    unit = "%"
    is_pooled = False

    def __init__(self, head: DiscoveryHead, view: ViewOptions) -> None:
        self.head, self.view = head, view

    @classmethod
    def build(cls, config: DiscoveryConfig, dataset: VideoDataset[Any]) -> Discovery:
        """Make the task of a configuration for a data set."""
        return cls(config.head, config.view)

    def check(self, dataset: VideoDataset[Any]) -> None:
        """See `ProbeTask`, as for all methods."""
        if not all(isinstance(video, InstanceVideo) for video in dataset):
            raise ValueError(
                f"expected a data set of instances, got {dataset.name}; choose another task"
            )

    def views(self, video: InstanceVideo, is_training: bool) -> list[ClipView]:
        count = len(video.frame_names)
        options = self.view
        if not is_training:
            options = replace(options, num_frames=count, sampling="strided", stride=1, clips=1)
        return choose_views(options, count, video.size, is_training=True)

    def targets(self, video: InstanceVideo, view: ClipView, is_training: bool) -> Tensors:
        """Instances [T, h, w] on the grid, how many there are, and frames [T, 3, H, W] to learn."""
        instances = video.instances(view.indices)
        grid = torch.stack([_reduced(view, each, self.head.grid) for each in instances])
        num_objects = len(torch.unique(grid[grid > 0]))
        targets = {"instances": grid, "num_objects": torch.tensor(num_objects)}
        if is_training and self.head.kind == "codes":
            frames = torch.from_numpy(view.frames(video)).movedim(-1, 1)
            size = [cells * self.head.quantizer.stride for cells in self.head.grid]
            targets["frames"] = _resized(frames, size)
        return targets

    def build_head(self, shape: FeatureShape) -> nn.Module:
        """Make the head of this kind."""
        return self.head.build(shape.channels)

    def losses(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """All terms of the head's paper, and their weighted sum as "loss"."""
        features = _per_frame(features, targets["instances"].shape[1])
        if isinstance(head, ClusterDiscovery):
            return {"loss": distortion(head(features))}
        weights: CodeLossWeights | SimilarityLossWeights
        if isinstance(head, CodeDiscovery):
            output = head(features, targets["frames"].float() / 255)
            losses = code_discovery_losses(output, head.quantizer.codebook.entries)
            weights = self.head.code_weights
        else:
            losses = similarity_discovery_losses(head(features), self.head.temperature)
            weights = self.head.similarity_weights
        return {"loss": weighted_sum(losses, weights), **losses}

    def answer(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """Slots, and clusters of k-means."""
        features = _per_frame(features, targets["instances"].shape[1])
        counts = [int(count) + 1 for count in targets["num_objects"]]
        answers = {
            SLOTS: segment_video(head, features, self.head.chunk),
            CLUSTERS: _clustered(features, counts, self.head.grid),
        }
        if isinstance(head, ClusterDiscovery):
            with torch.no_grad():
                seen = head.describe(features)
            equals = [min(self.head.attention.num_slots, seen[0, :, 0].numel())] * len(counts)
            if self.head.place_weight > 0:
                answers[SEEN] = _clustered(seen, counts, self.head.grid, normalize=False)
            answers[EQUALS] = _clustered(seen, equals, self.head.grid, normalize=False)
        return answers

    def blind_rule(self, training: Iterable[Tensors]) -> Callable[[Tensors], Tensors]:
        """Blocks of equal size, at most K, in the rows and columns that suit training clips best.

        Objects are compact, so that blocks beat both a single segment, which has an FG-ARI of 0,
        and stripes. The first clips are enough to choose them.
        """
        clips = [each["instances"].numpy() for each in islice(training, BLIND_CLIPS)]
        blocks = torch.from_numpy(best_blocks(clips, self.head.attention.num_slots))
        return lambda targets: {SLOTS: blocks.expand(targets["instances"].shape)}

    def score(self, answers: Sequence[Tensors], targets: Sequence[Tensors]) -> Record:
        (answer,), (target,) = answers, targets
        truth = target["instances"].numpy()
        return {
            name: _as_json(score_grouping(truth, found.numpy())) for name, found in answer.items()
        }

    def summarize(self, records: Sequence[Record]) -> dict[str, float]:
        """Also overlaps of pairs, and counts of videos that say little."""
        metrics = _in_percent(records, SLOTS)
        for answer, title in TITLES.items():
            clusters = _in_percent(records, answer) if answer in records[0] else {}
            for name in ("FG-ARI", "mBO", "frame FG-ARI"):
                metrics[f"{title} {name}"] = clusters.get(name, math.nan)
        return metrics

    def draw(self, video: InstanceVideo, views: Sequence[ClipView], answers: Sequence[Tensors],
             folder: Path) -> list[Path]:  # fmt: skip
        """Write the slots over the frames of a video, beside the truth; see `DrawingTask`."""
        (view,), (answer,) = views, answers
        truth = [view.cut_map(each) for each in video.instances(view.indices)]
        return draw_segments(
            view.frames(video),
            {"slots": answer[SLOTS].numpy(), "k-means": answer[CLUSTERS].numpy()},
            truth,
            folder / video.name,
        )


def _per_frame(features: Tensor, num_frames: int) -> Tensor:
    """Repeat features [B, T', C, h, w] that stand for several frames each: [B, T, C, h, w].

    Raises:
        ValueError: they do not stand for equally many frames.
    """
    steps = features.shape[1]
    if num_frames % steps:
        raise ValueError(
            f"expected features that stand for equally many of {num_frames} frames, got {steps}; "
            "choose another length of clips or another backbone"
        )
    return features.repeat_interleave(num_frames // steps, dim=1)


def _reduced(view: ClipView, instances: Any, grid: tuple[int, int]) -> Tensor:
    """Bring instances of a frame to the grid, by the pixel in the middle of each cell."""
    window = torch.from_numpy(view.cut_map(instances))
    rows, columns = (
        (2 * torch.arange(cells) + 1) * pixels // (2 * cells)
        for cells, pixels in zip(grid, window.shape, strict=True)
    )
    return window[rows[:, None], columns]


def _resized(frames: Tensor, size: Sequence[int]) -> Tensor:
    """Bring frames [T, 3, H, W] uint8 to a size, bilinearly over the area of a pixel."""
    if list(frames.shape[-2:]) == list(size):
        return frames
    found = F.interpolate(
        frames.float(), list(size), mode="bilinear", align_corners=False, antialias=True
    )
    return found.round().clamp(0, 255).to(torch.uint8)


def _clustered(
    features: Tensor, counts: Sequence[int], grid: tuple[int, int], normalize: bool = True
) -> Tensor:
    """Cluster features [B, T, C, h', w'] of each video: [B, T, h, w] uint8 on the grid."""
    found = [
        torch.from_numpy(cluster_features(each.cpu(), count, normalize=normalize)).to(torch.uint8)
        for each, count in zip(features, counts, strict=True)
    ]
    clusters = torch.stack(found)
    if tuple(clusters.shape[-2:]) == tuple(grid):
        return clusters
    return F.interpolate(clusters.float(), grid, mode="nearest-exact").to(torch.uint8)


def _as_json(scores: GroupingScores) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: None if value != value else value for name, value in asdict(scores).items()}


def _in_percent(records: Sequence[Record], name: str) -> dict[str, float]:
    means = summarize([_from_json(record[name]) for record in records])
    return {key: value if "videos" in key else 100 * value for key, value in means.items()}


def _from_json(values: Mapping[str, Any]) -> GroupingScores:
    numbers: dict[str, Any] = {
        key: math.nan if value is None else value for key, value in values.items()
    }
    return GroupingScores(**numbers)
