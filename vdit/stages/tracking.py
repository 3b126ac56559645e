"""Training of a tracker: frames of a video, track queries of each one in the next.

References: Meinhardt et al., TrackFormer, CVPR 2022; Zeng et al., MOTR, ECCV 2022 (more than two
frames).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import MISSING
from PIL import Image
from torch import Tensor

from vdit.datasets.mot import MotVideo
from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.metrics.tracking import TrackingScores
from vdit.models.deformable_transformer import TransformerConfig
from vdit.models.track_queries import TrackerOutput, TrackQueries, TrackQueryConfig, TrackQueryModel
from vdit.probing.feature_sources import Backbones
from vdit.tracking.box_pictures import draw_boxes
from vdit.tracking.following import follow
from vdit.tracking.frame_chains import ChainBatch, FrameBatch, FrameChains, collate_chains
from vdit.tracking.frame_features import FeatureConfig, FrameFeatures, Levels, name_weights
from vdit.tracking.frame_tracks import FrameTracks, join_frames
from vdit.tracking.query_tracker import TrackerOptions
from vdit.tracking.scoring import score_video
from vdit.tracking.track_augmentation import AugmentationConfig, draw_followers
from vdit.tracking.tracker_files import TrackerSpec, save_tracker
from vdit.training.distributed import Processes
from vdit.training.run_config import RunConfig
from vdit.training.stage import Stage
from vdit.training.track_criterion import FrameTarget, TermWeights, TrackCriterion, match_frame
from vdit.visualize import contact_sheet

NUM_PICTURES = 8
NUM_MEASURED = 64
"""Frames whose maps say on what scale the channels are."""


@dataclass(frozen=True)
class TrackingData:
    """Sequences of pedestrians.

    Attributes:
        dataset: "mot15", "mot17" or "mot20".
        root: its folder; "" = nothing, for validation.
        split: such as "train" or "train-half".
        max_videos: evenly over the split; None = all.
        options: further arguments of the reader.
    """

    dataset: str = "mot17"
    root: str = ""
    split: str = "train"
    max_videos: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def read(self) -> list[MotVideo]:
        """Read the sequences; of several copies of a video one.

        Raises:
            ValueError: the data set is none of MOTChallenge, or cannot be read.
        """
        known = ("mot15", "mot17", "mot20")
        if self.dataset not in known:
            raise ValueError(f"expected a data set among {', '.join(known)}; got {self.dataset!r}")
        if not self.root:
            return []
        read = PROBE_DATASETS[self.dataset].read
        options = {"each_video_once": True} | self.options
        videos = list(read(Path(self.root), self.split, **options))
        if self.max_videos is None or self.max_videos >= len(videos):
            return videos
        chosen = np.linspace(0, len(videos) - 1, self.max_videos).round().astype(int)
        return [videos[index] for index in chosen]


@dataclass(frozen=True)
class TrackerSizes:
    """Sizes of the trained network; the channels of the maps are those of the backbone.

    Attributes:
        num_queries: object queries.
        transformer: sizes.
    """

    num_queries: int = 300
    transformer: TransformerConfig = TrackQueryConfig().transformer


@dataclass(frozen=True)
class TrackingConfig:
    """Training of a tracker on kept features of a frozen backbone.

    Attributes:
        run: steps or epochs, batch, rates.
        data: what is trained on.
        validation: what is scored while training; no root = nothing.
        features: what the tracker sees of a frame.
        model: sizes.
        num_frames: of an example. A tracker asks with queries that went through many frames; of
            two frames it only learns those that went through one.
        previous_range: a frame of an example is 1 to so many frames after the one before it.
        supervise_previous: the frames before the last are trained, too, and gradients flow back to
            them; else they only give track queries, as in TrackFormer.
        augmentation: of the track queries.
        loss: weights of cost and loss.
        tracker: when tracks begin and end.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: TrackingData = field(default_factory=lambda: TrackingData(root=MISSING))
    validation: TrackingData = field(default_factory=TrackingData)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: TrackerSizes = field(default_factory=TrackerSizes)
    num_frames: int = 2
    previous_range: int = 5
    supervise_previous: bool = False
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    loss: TermWeights = field(default_factory=TermWeights)
    tracker: TrackerOptions = field(default_factory=TrackerOptions)


class TrackingStage(Stage):
    """Train object queries and track queries.

    Features of all videos are computed before the first step and kept.

    Args:
        config: of the stage.
        folder: the folder of the tracker that `export` writes.
    """

    def __init__(self, config: TrackingConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        videos, self.held_out = config.data.read(), config.validation.read()
        source, blocks = config.features.source, config.features.blocks
        device = config.run.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        backbone = Backbones(device).get(source)
        levels = Levels.of(backbone, blocks)
        place = Path(config.features.folder or f"{folder}-features")
        # names of videos may be the same in both
        kept = config.features, levels, name_weights(backbone)
        self.features = FrameFeatures(place / "data", *kept)
        self.held_out_features = FrameFeatures(place / "validation", *kept)
        self.features.complete(videos, backbone)
        self.held_out_features.complete(self.held_out, backbone)
        sizes = TrackQueryConfig(
            levels.channels, config.model.num_queries, config.model.transformer
        )
        self.spec = TrackerSpec(sizes, config.features, config.tracker, self.features.weights)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.run.seed)
            self.model = TrackQueryModel(sizes)
        self.model.measure(self._some_frames(videos))
        self.modules = self.model
        self.videos = videos
        self.data = FrameChains(
            videos, self.features, config.num_frames, config.previous_range, config.run.seed
        )
        self.num_examples = len(self.data)
        self.collate = collate_chains
        self.criterion = TrackCriterion(config.loss)
        self.device = torch.device("cpu")

    def move(self, device: torch.device) -> None:
        self.device = device
        self.model.to(device)

    def _some_frames(self, videos: Sequence[MotVideo]) -> list[list[Tensor]]:
        """Give the maps of some frames, evenly over all videos."""
        places = [(video, t) for video in videos for t in range(len(video.frame_names))]
        chosen = np.linspace(0, len(places) - 1, NUM_MEASURED).round().astype(int)
        return [self.features.read(*places[index]) for index in np.unique(chosen)]

    # ---- losses --------------------------------------------------------------------------------

    def count(self, batch: ChainBatch) -> float:
        """Count the true boxes that the loss is a mean over."""
        frames = batch if self.config.supervise_previous else batch[-1:]
        return float(sum(len(boxes) for frame in frames for boxes in frame.boxes))

    def losses(self, batch: ChainBatch) -> dict[str, Tensor]:
        return self.shared_losses(batch, self.count(batch))

    def shared_losses(self, batch: ChainBatch, count: float) -> dict[str, Tensor]:
        """See `Stage.shared_losses`."""
        frames = [each.to(self.device) for each in batch]
        tracks: TrackQueries | None = None
        followed = [each.new_empty(0) for each in frames[0].identities]
        terms: dict[str, Tensor] = {}
        for turn, now in enumerate(frames):
            is_last = turn == len(frames) - 1
            is_trained = is_last or self.config.supervise_previous
            with nullcontext() if is_trained else torch.no_grad():
                output = self.model(now.maps, now.padding_masks, tracks)
            targets = [FrameTarget(*each) for each in zip(now.boxes, followed, strict=True)]
            if is_trained:
                padding = None if tracks is None else tracks.padding
                found = self._terms(output, targets, count, padding)
                terms = {name: value + terms.get(name, 0.0) for name, value in found.items()}
            if not is_last:
                tracks, followed = self._track_queries(output, targets, now, frames[turn + 1])
        return terms

    def _terms(
        self,
        output: TrackerOutput,
        targets: Sequence[FrameTarget],
        count: float,
        padding: Tensor | None = None,
    ) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, enabled=False):
            return self.criterion(
                output.logits.float(), output.boxes.float(), targets, count, padding
            )

    def _track_queries(
        self,
        output: TrackerOutput,
        targets: Sequence[FrameTarget],
        now: FrameBatch,
        after: FrameBatch,
    ) -> tuple[TrackQueries, list[Tensor]]:
        """Make track queries of what was found in frames; whom they follow in those after."""
        states, boxes, followed = [], [], []
        for b, target in enumerate(targets):
            real = torch.arange(output.states.shape[1], device=self.device)
            real = real[(real < len(target.followed)) | (real >= output.num_tracks)]
            logits, found = output.logits[-1, b, real].float(), output.boxes[-1, b, real].float()
            queries, objects = match_frame(logits, found, target, self.config.loss)
            chosen = draw_followers(
                queries,
                now.identities[b][objects],
                found,
                after.identities[b],
                self.config.augmentation,
            )
            states.append(output.states[b, real[chosen.queries]])
            boxes.append(output.boxes[-1, b, real[chosen.queries]].detach())
            followed.append(chosen.followed)
        return TrackQueries.collate(states, boxes), followed

    # ---- scores and pictures -------------------------------------------------------------------

    def follow(self, video: MotVideo, features: FrameFeatures) -> list[FrameTracks]:
        """Run the tracker on a video whose features are kept."""
        frames = (features.read(video, t) for t in range(len(video.frame_names)))
        return list(follow(self.model, frames, self.config.tracker))

    def validate(self, processes: Processes) -> dict[str, float]:
        """Score the held-out videos; every process computes all."""
        if not self.held_out:
            return {}
        was_training = self.model.training
        self.model.eval()
        scores = []
        for video in self.held_out:
            frames = self.follow(video, self.held_out_features)
            scores.append(score_video(video, join_frames(frames, video.size, video.sequence.first)))
        self.model.train(was_training)
        summary = TrackingScores.combine(scores).summary()
        return {name: float(summary[name]) for name in ("MOTA", "IDF1", "HOTA", "IDSw")}

    def draw_samples(self, folder: Path) -> None:
        """Draw boxes and identities over frames of a video."""
        video = (self.held_out or self.videos)[0]
        features = self.held_out_features if self.held_out else self.features
        was_training = self.model.training
        self.model.eval()
        tracks = self.follow(video, features)
        self.model.train(was_training)
        chosen = np.linspace(0, len(tracks) - 1, NUM_PICTURES).round().astype(int).tolist()
        frames = video.frames(chosen)
        drawn = [draw_boxes(frame, tracks[t]) for frame, t in zip(frames, chosen, strict=True)]
        Image.fromarray(contact_sheet(drawn)).save(folder / "tracks.png")
        counts = {"video": video.name, "objects": [len(tracks[t].ids) for t in chosen]}
        (folder / "tracks.json").write_text(json.dumps(counts) + "\n")

    def export(self) -> None:
        """Write the tracker's folder."""
        save_tracker(self.model, self.spec, self.folder)
