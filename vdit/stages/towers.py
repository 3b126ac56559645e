"""Stage 2: an image and a text tower that agree on what a frame shows, as CLIP's do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.models.image_encoder import clip_pixel_values
from vdit.stages.clips import ClipConfig, ClipExample, TrainingClips, collate_examples
from vdit.stages.parts import fresh_networks, save_part
from vdit.training.engine import RunConfig, Stage

NUM_SAMPLES = 32


@dataclass(frozen=True)
class TowersConfig:
    """Stage 2.

    Attributes:
        run: steps, rates; the batch is also the number of choices.
        data: clips; one frame of each is used.
        sentences: share of clips that are described by their referring sentences instead.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: ClipConfig = field(default_factory=ClipConfig)
    sentences: float = 0.4


class TowersStage(Stage):
    """Contrastive loss between frames and descriptions.

    Args:
        config: of the stage.
        folder: the model folder.

    Reference: Radford et al., Learning Transferable Visual Models, ICML 2021.
    """

    def __init__(self, config: TowersConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        networks = fresh_networks(folder, config.run.seed)
        self.tokenizer = networks["tokenizer"]
        self.image: Any = networks["image_encoder"]
        self.text: Any = networks["text_encoder"]
        width = self.text.config.hidden_size
        self.projection = nn.Linear(width, self.image.config.projection_dim, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.modules = nn.ModuleList([self.image, self.text, self.projection])
        self.modules.register_parameter("scale", self.scale)
        self.data = TrainingClips(config.data, seed=4)
        self.collate = collate_examples

    def losses(self, batch: list[ClipExample]) -> dict[str, Tensor]:
        texts = [
            ", ".join(example.captions)
            if torch.rand(()) < self.config.sentences
            else example.description
            for example in batch
        ]
        scores = self._scores(batch, texts)
        right = torch.arange(len(batch))
        loss = (F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)) / 2
        return {"loss": loss, "accuracy": (scores.argmax(dim=1) == right).float().mean()}

    def draw_samples(self, folder: Path) -> None:
        """Choose among the descriptions of clips that are not trained on; write the answers."""
        clips = TrainingClips(self.config.data, seed=5)
        batch = [clips[i] for i in range(NUM_SAMPLES)]
        scores = self._scores(batch, [example.description for example in batch])
        best = scores.argmax(dim=1).tolist()
        right = sum(i == k for i, k in enumerate(best)) / NUM_SAMPLES
        answers = [(batch[i].description, batch[k].description) for i, k in enumerate(best)]
        text = json.dumps({"accuracy": right, "true and chosen": answers}, indent=1)
        (folder / "retrieval.json").write_text(text + "\n")

    def export(self) -> None:
        save_part(self.image, self.folder, "image_encoder")
        save_part(self.text, self.folder, "text_encoder")

    def _scores(self, batch: list[ClipExample], texts: list[str]) -> Tensor:
        """Cosines of all frames with all texts, over the temperature: [B, B]."""
        size = self.image.config.image_size
        pixels = clip_pixel_values(torch.stack([example.video[0] for example in batch]), size)
        images = self.image(pixel_values=pixels).image_embeds
        tokens = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        states = self.projection(self.text(input_ids=tokens.input_ids).pooler_output)
        scale = self.scale.exp().clamp(max=100)
        return scale * F.normalize(images, dim=-1) @ F.normalize(states, dim=-1).T
