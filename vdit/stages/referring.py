"""Stages 8 and 9: VD-IT's own parts on the frozen networks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vdit.architectures import MINI
from vdit.build import assemble, load_trained, trained_names
from vdit.metrics.davis import region_similarity
from vdit.model_spec import WEIGHTS_FILE, ModelSpec, local_parts, write_spec
from vdit.models.vdit import SelectQueries, VDITOutput, best_query
from vdit.stages.clips import (
    ClipConfig,
    ClipExample,
    TrainingClips,
    collate_examples,
    videos_of,
)
from vdit.stages.matched import MatchedStage
from vdit.stages.parts import load_parts, save_weights
from vdit.stages.stored_clips import open_clips
from vdit.structures import Target, VideoBatch
from vdit.training.criterion import Criterion, LossWeights
from vdit.training.engine import RunConfig
from vdit.training.matcher import TemporalMatcher
from vdit.visualize import contact_sheet, overlay_masks

NUM_SAMPLES = 12
PARTS = ("unet", "vae", "scheduler", "text_encoder", "tokenizer", "image_encoder")
WORD_PARTS = ("roberta", "roberta_tokenizer")


@dataclass(frozen=True)
class ReferringConfig:
    """Stages 8 and 9, on single frames and on clips.

    Attributes:
        run: steps, rates.
        data: clips; `captions` sentences of each.
        loss: weights of the terms.
        pretrained: go on from the weights that an earlier run left in the folder.
        name: how the model calls itself.
        short_side: pixels that it sees by default.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: ClipConfig = field(default_factory=ClipConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    pretrained: bool = False
    name: str = "vdit-mini"
    short_side: int = 96


class ReferringStage(MatchedStage):
    """The released losses on all sentences of a batch of clips.

    Args:
        config: of the stage.
        folder: the model folder, with all frozen networks.
    """

    def __init__(self, config: ReferringConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        networks = load_parts(folder, [*PARTS, *WORD_PARTS])
        torch.manual_seed(config.run.seed)
        self.model = assemble(MINI.model, networks)
        if config.pretrained:
            load_trained(self.model, folder / WEIGHTS_FILE)
        self.modules = self.model
        wanted = set(trained_names(self.model))
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in wanted)
        self.data = open_clips(config.data, folder, seed=9)
        self.collate = collate_examples
        self.matcher = TemporalMatcher()
        self.criterion = Criterion(config.loss)

    def targets(self, batch: list[ClipExample]) -> list[Target]:
        return [target for example in batch for target in example.targets]

    def segment(self, batch: list[ClipExample], select: SelectQueries) -> VDITOutput:
        """Run all sentences; clips are encoded once and repeated for each of theirs."""
        videos = videos_of(batch)
        counts = torch.tensor([len(example.captions) for example in batch])
        with torch.no_grad():
            encoded = self.model.encode(videos).repeat(counts)
        B, (H, W) = int(counts.sum()), videos.shape[-2:]
        mask = torch.zeros(B, H, W, dtype=torch.bool)
        padded = VideoBatch(videos.new_empty(B, 0), mask, [(H, W)] * B)
        captions = [caption for example in batch for caption in example.captions]
        return self.model(padded, captions, encoded=encoded, select=select)

    def draw_samples(self, folder: Path) -> None:
        """Segment sentences that are not trained on; draw and score them."""
        clips = TrainingClips(self.config.data, seed=10)
        pictures, scores = [], []
        for index in range(NUM_SAMPLES):
            example = clips[index]
            masks = self.segment([example], best_query).mask_logits[-1].numpy() > 0
            for k, target in enumerate(example.targets):
                if not len(target.masks):  # names nothing
                    continue
                J = float(region_similarity(target.masks[0].numpy(), masks[k]).mean())
                scores.append({"J": round(J, 3), "caption": example.captions[k]})
            pictures += _draw(example, masks[0])
        mean = float(np.mean([score["J"] for score in scores]))
        report = json.dumps({"J": mean, "sentences": scores}, indent=1)
        (folder / "scores.json").write_text(report + "\n")
        Image.fromarray(contact_sheet(pictures, columns=6)).save(folder / "masks.png")

    def export(self) -> None:
        """Complete the model folder: configuration and trained weights."""
        spec = ModelSpec(self.config.name, True, MINI.model, local_parts(), self.config.short_side)
        wanted = set(trained_names(self.model))
        weights = {
            name: value.detach().contiguous()
            for name, value in self.model.named_parameters()
            if name in wanted
        }
        save_weights(weights, self.folder / WEIGHTS_FILE)
        write_spec(spec, self.folder)


def _draw(example: ClipExample, masks: np.ndarray) -> list[np.ndarray]:
    """Three frames with the truth of the first sentence above three with the answer."""
    frames = example.video.permute(0, 2, 3, 1).numpy()
    target: Target = example.targets[0]
    chosen = np.linspace(0, len(frames) - 1, 3).astype(int)
    truth = [overlay_masks(frames[t], target.masks[:, t].numpy()) for t in chosen]
    return truth + [overlay_masks(frames[t], masks[None, t]) for t in chosen]
