"""Stage 0: two small byte-level BPE vocabularies, from the sentences of rendered clips."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer, RobertaTokenizer

from vdit.byte_tokenizers import byte_alphabet
from vdit.stages.clips import ClipConfig, TrainingClips
from vdit.stages.parts import save_part


@dataclass(frozen=True)
class TokenizerConfig:
    """How the vocabularies are made.

    Attributes:
        vocabulary: most entries of one.
        length: most tokens of a UNet's prompt; every prompt is padded to it.
        clips: rendered clips whose sentences are read.
        recipes: of the clips, in turn.
        data: what they look like; few small frames suffice.
    """

    vocabulary: int = 1200
    length: int = 32
    clips: int = 600
    recipes: list[str] = field(default_factory=lambda: ["simple", "referring"])
    data: ClipConfig = field(default_factory=ClipConfig)


def sentences(config: TokenizerConfig) -> Iterator[str]:
    """Yield captions and descriptions of clips."""
    sets = [TrainingClips(replace(config.data, recipe=name), seed=1) for name in config.recipes]
    for index in range(config.clips):
        example = sets[index % len(sets)][index]
        yield example.description
        yield from example.captions


def train_tokenizers(config: TokenizerConfig, folder: Path) -> None:
    """Write `tokenizer` (CLIP's class) and `roberta_tokenizer` into the model folder."""
    text = list(sentences(config))
    words, merges = _learn(text, config.vocabulary, suffix="</w>")
    words = ["!", *words, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    clip = CLIPTokenizer(
        vocab=vocabulary, merges=merges, pad_token="!", model_max_length=config.length
    )
    save_part(clip, folder, "tokenizer")
    words, merges = _learn(text, config.vocabulary, suffix="")
    words = ["<s>", "<pad>", "</s>", "<unk>", *words, "<mask>"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    save_part(RobertaTokenizer(vocab=vocabulary, merges=merges), folder, "roberta_tokenizer")


def _learn(text: list[str], size: int, suffix: str) -> tuple[list[str], list[Any]]:
    """Learn byte-level BPE; a suffix marks the end of words, else the space before them does."""
    letters = byte_alphabet()
    alphabet = [*letters, *(letter + suffix for letter in letters)] if suffix else letters
    marks: dict[str, Any] = {"end_of_word_suffix": suffix} if suffix else {}
    tokenizer = Tokenizer(models.BPE(**marks))
    split = pre_tokenizers.Whitespace()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not suffix)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level]) if suffix else byte_level
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=letters,
        **marks,
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    known = sorted(learned["vocab"], key=learned["vocab"].get)
    return list(dict.fromkeys([*alphabet, *known])), merges
