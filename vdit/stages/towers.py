"""Stage 4: an image and a text tower that agree on what a frame shows, as CLIP's do.

Every cell of a frame is compared with every sentence, so that the tokens of the image tower, which
VD-IT's prompt looks at, say what is where. A convolutional network learns this first and teaches
the image tower, and later the UNet, cell by cell; it is not part of the model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from vdit.datasets.synthetic.referring_recipes import SIMPLE_COLORS, SIMPLE_HEIGHTS
from vdit.models.image_encoder import clip_pixel_values, shared_cells
from vdit.stages.cell_network import CellNames, CellNetwork, save_cell_network
from vdit.stages.parts import fresh_networks, save_part
from vdit.stages.simple_names import fits, plain_sentence
from vdit.stages.stored_clips import ClipStore, StoredClip, store_folder
from vdit.training.engine import RunConfig, Stage

NUM_SAMPLES = 64
FEWEST_PIXELS = 30
"""Of an object that is expected to be recognized."""
SHARPNESS = 20.0
"""Of the softmax over cells; a cosine of 1 against 0.9 weighs 7 times as much."""
SHARES = (0.5, 0.25, 0.25)
"""Of sentences about a category, about a color, and about both: categories are learned last."""


@dataclass(frozen=True)
class TowersConfig:
    """Stage 4.

    Attributes:
        run: steps, rates; the batch is of frames, each with one sentence about each object.
        sets: names of stored clips, in turn.
    """

    run: RunConfig = field(default_factory=RunConfig)
    sets: list[str] = field(default_factory=lambda: ["pictures", "clips"])


@dataclass(frozen=True)
class NamedFrame:
    """A frame and what is in it.

    Attributes:
        frame: [3, H, W] uint8.
        names: (category, color) of the objects that are seen.
        sentences: one about each, by its name.
    """

    frame: Tensor
    names: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]


class NamedFrames(Dataset[NamedFrame]):
    """Frames of stored clips: index -> example; the index also chooses the set.

    Args:
        stores: the sets, in turn.
        seed: another seed takes other frames and sentences.
    """

    def __init__(self, stores: Sequence[ClipStore], seed: int) -> None:
        self.stores = stores
        self.seed = seed

    def __getitem__(self, index: int) -> NamedFrame:
        rng = np.random.default_rng((self.seed, index, 19))
        store = self.stores[index % len(self.stores)]
        clip = store[int(rng.integers(len(store)))]
        t = int(rng.integers(len(clip.frames)))
        seen = np.flatnonzero(clip.masks[:, t].sum(axis=(1, 2)) >= FEWEST_PIXELS)
        return NamedFrame(
            torch.from_numpy(clip.frames[t]).permute(2, 0, 1),
            tuple(clip.names[i] for i in seen),
            tuple(_sentence_about(clip, int(i), rng) for i in seen),
        )


def _sentence_about(clip: StoredClip, index: int, rng: np.random.Generator) -> str:
    """Say its category or its color, or take a sentence that names it by both."""
    category, color = clip.names[index]
    known = [
        caption.text
        for caption in clip.captions
        if caption.objects == (index,) and caption.meaning == "name"
    ]
    both = str(rng.choice([*known, plain_sentence(category, color)]))
    either = plain_sentence(category, None), plain_sentence(None, color), both
    return either[rng.choice(3, p=SHARES)]


class TowersStage(Stage):
    """Whether a sentence names something in a frame, by its most similar cells.

    The convolutional network and the image tower are asked the same sentences; cells of the tower
    are drawn to those of the network besides.

    Args:
        config: of the stage.
        folder: the model folder.

    Reference: Yao et al., FILIP, ICLR 2022 (cells instead of the whole image); Zhai et al., Sigmoid
    Loss for Language Image Pre-Training, ICCV 2023.
    """

    def __init__(self, config: TowersConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        networks = fresh_networks(folder, config.run.seed)
        self.tokenizer = networks["tokenizer"]
        self.image: Any = networks["image_encoder"]
        self.text: Any = networks["text_encoder"]
        dim = self.image.config.projection_dim
        self.names = CellNames(self.text.config.hidden_size, dim)
        self.teacher = CellNetwork(dim)
        self.modules = nn.ModuleList([self.image, self.text, self.names, self.teacher])
        self.stores = [ClipStore(store_folder(folder, name)) for name in config.sets]
        self.data = NamedFrames(self.stores, seed=4)
        self.collate = _collate

    def losses(self, batch: list[NamedFrame]) -> dict[str, Tensor]:
        """Ask every frame for every sentence of the batch.

        A sentence weighs as often as it was drawn. "recall" and "refusal" are the shares of right
        answers of the image tower, "distance" is that of its cells from the teacher's.
        """
        drawn = Counter(text for example in batch for text in example.sentences)
        named = torch.tensor([[fits(text, example.names) for text in drawn] for example in batch])
        weights = balanced_weights(named, torch.tensor([float(times) for times in drawn.values()]))
        frames = torch.stack([example.frame for example in batch])
        states = self._states(list(drawn))
        cells, taught = self._cells(frames), self._taught_cells(frames)
        logits, first = self._logits(cells, states), self._logits(taught, states)
        asked, learned = (
            F.binary_cross_entropy_with_logits(each, named.float(), weights)
            for each in (logits, first)
        )
        distance = 1 - (cells * taught.detach()).sum(dim=-1).mean()
        return {
            "loss": asked + learned + distance,
            "asked": asked,
            "learned": learned,
            "distance": distance,
            "recall": (logits[named] > 0).float().mean(),
            "refusal": (logits[~named] < 0).float().mean(),
        }

    def draw_samples(self, folder: Path) -> None:
        """Ask for every color and category in pictures of one object; write the answers."""
        frames = NamedFrames(self.stores[:1], seed=5)
        batch = [frames[i] for i in range(NUM_SAMPLES)]
        names = [(category, color) for category in SIMPLE_HEIGHTS for color in SIMPLE_COLORS]
        sentences = [plain_sentence(category, color) for category, color in names]
        cells = self._cells(torch.stack([example.frame for example in batch]))
        logits = self._logits(cells, self._states(sentences))
        found = [names[best] for best in logits.argmax(dim=1).tolist()]
        answers = [
            (example.names[0], best)
            for example, best in zip(batch, found, strict=True)
            if example.names
        ]
        report = {
            "category": float(np.mean([truth[0] == best[0] for truth, best in answers])),
            "color": float(np.mean([truth[1] == best[1] for truth, best in answers])),
            "true and chosen": answers,
        }
        (folder / "pictures.json").write_text(json.dumps(report, indent=1) + "\n")

    def export(self) -> None:
        save_part(self.image, self.folder, "image_encoder")
        save_part(self.text, self.folder, "text_encoder")
        save_cell_network(self.teacher, self.names, self.folder)

    def _cells(self, frames: Tensor) -> Tensor:
        """Cells of the image tower, of unit length: [B, S, D]."""
        pixels = clip_pixel_values(frames, self.image.config.image_size)
        tokens = self.image.vision_model(pixel_values=pixels).last_hidden_state
        return shared_cells(self.image, tokens).flatten(2).transpose(1, 2)

    def _taught_cells(self, frames: Tensor) -> Tensor:
        """Cells of the teacher, pooled to as many as the tower has: [B, S, D]."""
        side = self.image.config.image_size // self.image.config.patch_size
        cells = F.adaptive_avg_pool2d(self.teacher(frames), side)
        return F.normalize(cells.flatten(2).transpose(1, 2), dim=-1)

    def _states(self, sentences: list[str]) -> Tensor:
        """Sentences as the text tower sees them, of unit length: [N, D]."""
        tokens = self.tokenizer(
            sentences, padding="max_length", truncation=True, return_tensors="pt"
        )
        pooled = self.text(input_ids=tokens.input_ids).pooler_output
        return self.names.states(pooled)

    def _logits(self, cells: Tensor, states: Tensor) -> Tensor:
        """How much each of B frames shows each of N sentences: [B, N]."""
        cosines = cells @ states.T
        found = (torch.softmax(SHARPNESS * cosines, dim=1) * cosines).sum(dim=1)
        return self.names(found)


def balanced_weights(named: Tensor, weights: Tensor) -> Tensor:
    """Weigh questions so that those with a true answer weigh as much as all others together.

    Args:
        named: [B, N], whether a sentence is true of a frame.
        weights: [N] of the sentences.

    Returns:
        [B, N], 1 in the mean where there are both answers.
    """
    parts = torch.zeros(named.shape)
    for answer in (named, ~named):
        share = weights * answer
        parts += share / share.sum().clamp(min=1e-6)
    return parts * named.numel() / 2


def _collate(batch: list[NamedFrame]) -> list[NamedFrame]:
    return batch
