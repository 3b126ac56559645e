"""Stage 5: features of words, by guessing hidden ones, as RoBERTa's are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import RobertaForMaskedLM

from vdit.stages.clips import ClipConfig, ClipExample, TrainingClips, collate_examples
from vdit.stages.parts import fresh_networks, save_part
from vdit.stages.stored_clips import open_clips
from vdit.training.engine import RunConfig, Stage


@dataclass(frozen=True)
class WordsConfig:
    """Stage 5.

    Attributes:
        run: steps, rates.
        data: clips whose sentences are read; small frames suffice.
        hidden: share of tokens to guess.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: ClipConfig = field(default_factory=ClipConfig)
    hidden: float = 0.2


class WordsStage(Stage):
    """Masked language modelling on the sentences of clips.

    Args:
        config: of the stage.
        folder: the model folder.

    Reference: Liu et al., RoBERTa, 2019.
    """

    def __init__(self, config: WordsConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        networks = fresh_networks(folder, config.run.seed)
        self.tokenizer = networks["roberta_tokenizer"]
        self.modules = RobertaForMaskedLM(networks["roberta"].config)
        self.data = open_clips(config.data, folder, seed=6)
        self.collate = collate_examples

    def losses(self, batch: list[ClipExample]) -> dict[str, Tensor]:
        """Hide tokens of all sentences and guess them; "accuracy" is that of the guesses."""
        sentences = [text for example in batch for text in (*example.captions, example.description)]
        tokens = self.tokenizer(sentences, padding="longest", return_tensors="pt")
        ids, mask = tokens.input_ids, tokens.attention_mask
        special = ids < self.tokenizer.unk_token_id + 1
        hidden = (torch.rand(ids.shape) < self.config.hidden) & ~special & (mask == 1)
        shown = ids.masked_fill(hidden, self.tokenizer.mask_token_id)
        logits = self.modules(input_ids=shown, attention_mask=mask).logits
        if not hidden.any():
            return {"loss": 0 * logits.sum()}
        guessed, right = logits[hidden], ids[hidden]
        accuracy = (guessed.argmax(dim=1) == right).float().mean()
        return {"loss": F.cross_entropy(guessed, right), "accuracy": accuracy}

    def draw_samples(self, folder: Path) -> None:
        clips = TrainingClips(self.config.data, seed=7)
        lines = [text for i in range(8) for text in clips[i].captions]
        losses = self.losses([clips[i] for i in range(8)])
        report = {name: float(value) for name, value in losses.items()} | {"sentences": lines}
        (folder / "words.json").write_text(json.dumps(report, indent=1) + "\n")

    def export(self) -> None:
        save_part(self.modules.roberta, self.folder, "roberta")
