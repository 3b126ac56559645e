"""Training on the benchmarks: clips of referring data sets, the released recipe by default."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vdit.checkpoint import check_output, save_model
from vdit.datasets.clip_dataset import ReferringClip, collate_clips
from vdit.datasets.clip_mix import DataConfig, DatasetMix, load_clips
from vdit.metrics.davis import region_similarity
from vdit.models.vdit import SelectQueries, VDITOutput, all_queries
from vdit.stages.clip_encodings import ClipEncodings, EncodedVideoBatch
from vdit.stages.matched import MatchedStage
from vdit.stages.referring_model import ModelConfig, build_trainee
from vdit.structures import Target, VideoBatch
from vdit.training.criterion import Criterion, LossWeights
from vdit.training.distributed import Processes
from vdit.training.engine import RunConfig
from vdit.training.matcher import MatcherWeights, TemporalMatcher
from vdit.visualize import contact_sheet, overlay_masks

Batch = tuple[VideoBatch, list[str], list[Target]]
NUM_SAMPLES = 4
MASK_THRESHOLD = 0.0
"""On logits."""


@dataclass(frozen=True)
class ValidationConfig:
    """What is scored while training.

    Attributes:
        data: clips; none = nothing is scored.
        clips: most clips that are scored, spread evenly over the data.
        select: the answer to a sentence is the mask of the "best" query, or the "union" of those
            of all queries whose mean score is above `threshold`.
        threshold: see `select`.
    """

    data: DataConfig = field(default_factory=DataConfig)
    clips: int = 200
    select: str = "best"
    threshold: float = 0.5


@dataclass(frozen=True)
class BenchmarkConfig:
    """Training on referring data sets.

    Attributes:
        run: steps or epochs, batch, rates.
        data: data sets and how clips are made of them.
        model: what is trained.
        loss: weights of the terms.
        matching: weights of the costs.
        validation: what is scored while training.
        caches: folders that `vdit cache` filled, one for each data set of `data`; what the frozen
            networks make of the frames is read from them; none = it is computed.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    matching: MatcherWeights = field(default_factory=MatcherWeights)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    caches: list[str] = field(default_factory=list)


class BenchmarkStage(MatchedStage):
    """The released training on clips of referring data sets.

    Every named object is matched to a query of its own; other queries learn that they are not
    named. Where single frames are labelled, the head sees the first of them only.

    Args:
        config: of the stage.
        folder: the model folder that `export` writes.
    """

    def __init__(self, config: BenchmarkConfig, folder: Path) -> None:
        if config.validation.select not in ("best", "union"):
            raise ValueError(
                f"expected validation.select to be best or union, got {config.validation.select!r}"
            )
        check_output(folder)
        self.config = config
        self.folder = folder
        self.data: DatasetMix = load_clips(config.data, config.run.seed)
        self.num_examples = len(self.data)
        self.held_out = None
        if config.validation.data.datasets:
            self.held_out = load_clips(config.validation.data, config.run.seed)
        self.model, spec = build_trainee(config.model, config.run.seed)
        self.spec = replace(spec, name=config.model.name or folder.name)
        self.modules = self.model
        self.collate = collate_clips
        if config.caches:
            data = config.data
            self.collate = ClipEncodings(
                config.caches, data.datasets, data.recipe, self.model.backbone
            ).collate
        self.matcher = TemporalMatcher(config.matching)
        self.criterion = Criterion(config.loss)
        self.device = torch.device("cpu")

    def move(self, device: torch.device) -> None:
        self.device = device
        self.model.to(device)

    def compile(self, backend: str) -> None:
        """Compile the head, which is most of what is trained."""
        self.model.head.compile(backend=backend)

    # ---- losses --------------------------------------------------------------------------------

    def targets(self, batch: Batch) -> list[Target]:
        _, _, targets = batch
        frames = labelled_frames(targets)
        if frames is None:
            return targets
        return [target.select_frames(frames[b]) for b, target in enumerate(targets)]

    def segment(self, batch: Batch, select: SelectQueries) -> VDITOutput:
        video, captions, targets = batch
        frames = labelled_frames(targets)
        frames = None if frames is None else frames.to(self.device)
        video = video.to(self.device)
        encoded = video.encoded if isinstance(video, EncodedVideoBatch) else None
        return self.model(video, captions, select=select, frames=frames, encoded=encoded)

    # ---- scores and pictures -------------------------------------------------------------------

    def validate(self, processes: Processes) -> dict[str, float]:
        """Score J, the mean over sentences of the mean IoU over frames; shared out by clips."""
        if self.held_out is None:
            return {}
        chosen = _spread(len(self.held_out), self.config.validation.clips)
        scores = []
        for index in chosen[processes.rank :: processes.world_size]:
            clip = self.held_out[0, index]
            answer, truth = self._answer(clip)
            scores.append(float(region_similarity(truth, answer).mean()))
        total, count = processes.sum(sum(scores), len(scores))
        return {"J": total / count, "sentences": count}

    def _answer(self, clip: ReferringClip) -> tuple[np.ndarray, np.ndarray]:
        """Answer and truth [T', H, W] bool in the labelled frames of a clip, without padding."""
        batch = collate_clips([clip])
        output = self.segment(batch, all_queries)
        scores = output.layers[-1].class_logits[0].float().sigmoid().mean(dim=0)
        masks = output.mask_logits[-1] > MASK_THRESHOLD
        if self.config.validation.select == "best":
            answer = masks[scores.argmax()]
        else:
            answer = masks[scores >= self.config.validation.threshold].any(dim=0)
        height, width = batch[0].sizes[0]
        truth = self.targets(batch)[0].masks.any(dim=0)
        return (
            answer.cpu().numpy()[:, :height, :width],
            truth.cpu().numpy()[:, :height, :width],
        )

    def draw_samples(self, folder: Path) -> None:
        """Draw some clips, three frames with the truth above three with the answer; score them."""
        data = self.held_out or self.data
        pictures: list[np.ndarray] = []
        sentences = []
        for index in _spread(len(data), NUM_SAMPLES):
            clip = data[0, index]
            answer, truth = self._answer(clip)
            J = float(region_similarity(truth, answer).mean())
            sentences.append({"J": round(J, 3), "caption": clip.caption})
            pictures += _draw(clip, truth, answer)
        (folder / "scores.json").write_text(json.dumps(sentences, indent=1) + "\n")
        Image.fromarray(contact_sheet(pictures, columns=6)).save(folder / "masks.png")

    def export(self) -> None:
        """Write the model folder: configuration, trained weights, a text encoder that learned."""
        save_model(self.model, self.spec, self.folder)


def labelled_frames(targets: Sequence[Target]) -> Tensor | None:
    """Give the first labelled frame of each clip, [B, 1]; None where all frames are labelled.

    Raises:
        ValueError: some clips of the batch are labelled in all frames, others are not.
    """
    labelled = [target.labelled for target in targets if target.labelled is not None]
    if not labelled:
        return None
    if len(labelled) < len(targets):
        raise ValueError(
            "expected clips that are all labelled alike, got some with single labelled frames "
            "and some with all; set run.micro_batch=1"
        )
    return torch.stack([each.int().argmax() for each in labelled])[:, None]


def _spread(length: int, count: int) -> list[int]:
    """At most `count` positions, evenly over 0..length-1."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()


def _draw(clip: ReferringClip, truth: np.ndarray, answer: np.ndarray) -> list[np.ndarray]:
    """Three frames with the truth, and the same three with the answer, at one small size."""
    frames = (clip.video.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    labelled = clip.target.labelled
    if labelled is not None:
        frames = frames[int(labelled.int().argmax())][None]
    chosen = np.linspace(0, len(frames) - 1, 3).astype(int)
    drawn = [overlay_masks(frames[t], masks[None, t]) for masks in (truth, answer) for t in chosen]
    return [np.asarray(Image.fromarray(each).resize((192, 108))) for each in drawn]
