"""The model that benchmarks train: frozen networks from a folder or the hub, and a fresh head."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from vdit.architectures import FULL
from vdit.build import assemble, find_folder, spec_of, trained_names
from vdit.model_spec import WEIGHTS_FILE, ModelSpec
from vdit.models.conditioning import NoiseStatistics
from vdit.models.vdit import VDIT, Compat, Condition, NoiseKind, VDITConfig
from vdit.network_loading import Networks, load_networks, load_part, reading

FULL_SIZE = "full"
SHORT_NAMES = {"mini": "vdit-mini"}
UNUSED_WORDS = "text_encoder.model.pooler."
"""Part of RoBERTa that no output of ours depends on."""


@dataclass(frozen=True)
class Variant:
    """What a recipe changes of the model; None = as the model has it.

    Attributes:
        condition: prompt of the UNet: "image+text" (VD-IT), "text" (VD-T) or "image" (VD-I).
        noise: "predicted" (VD-IT), "gaussian" or "none".
        noise_stats: what predicted noise is normalized over: "batch" (released) or "clip".
        num_queries: objects that can be told apart in a clip.
        dropout: of the head.
        compat: "released" or "improved", see docs/deviations.md.
    """

    condition: Condition | None = None
    noise: NoiseKind | None = None
    noise_stats: NoiseStatistics | None = None
    num_queries: int | None = None
    dropout: float | None = None
    compat: Compat | None = None

    def apply(self, config: VDITConfig) -> VDITConfig:
        """Give a configuration with these changes."""
        head = config.head
        if self.num_queries is not None:
            head = replace(head, num_queries=self.num_queries)
        if self.dropout is not None:
            transformer = replace(head.transformer, dropout=self.dropout)
            head = replace(head, word_dropout=self.dropout, transformer=transformer)
        return replace(
            config,
            condition=self.condition or config.condition,
            noise=self.noise or config.noise,
            noise_statistics=self.noise_stats or config.noise_statistics,
            compat=self.compat or config.compat,
            head=head,
        )


@dataclass(frozen=True)
class ModelConfig:
    """Which model is trained, and from where.

    Attributes:
        source: of the frozen networks and of the sizes: "full" (ModelScopeT2V 1.7b, CLIP ViT-H/14
            and RoBERTa-base from the hub), "mini" (those of vdit-mini), a model folder, a folder
            of the text-to-video model in the layout of diffusers, or a hub id.
        variant: what is changed of it.
        pretrained: model folder whose trained weights the head starts from; None = fresh ones. A
            text encoder that was trained comes with it.
        fresh: parts of names whose pretrained weights are left out.
        train_text_encoder: train RoBERTa too.
        frozen_dtype: of the frozen networks.
        checkpointing: run the UNet's layers again in the backward pass instead of keeping what
            they computed: the same gradients, less memory, more time.
        name: how the trained model calls itself; None = as its folder.
    """

    source: str = FULL_SIZE
    variant: Variant = field(default_factory=Variant)
    pretrained: str | None = None
    fresh: list[str] = field(default_factory=lambda: ["head.class_heads."])
    train_text_encoder: bool = False
    frozen_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    checkpointing: bool = False
    name: str | None = None


def build_trainee(config: ModelConfig, seed: int) -> tuple[VDIT, ModelSpec]:
    """Load the frozen networks, and make a head with seeded or pretrained weights.

    Returns:
        The model, with gradients for what its variant trains and uses; and what its folder will
        say of it.

    Raises:
        ValueError: a source cannot be loaded, or pretrained weights do not fit.
    """
    spec, folder = _find_spec(config.source)
    spec = replace(spec, trained=True, model=config.variant.apply(spec.model))
    networks = load_networks(spec.parts, folder, getattr(torch, config.frozen_dtype))
    pretrained = None if config.pretrained is None else find_folder(config.pretrained)
    if pretrained is not None:
        spec = _take_words(pretrained, networks, spec)
    torch.manual_seed(seed)
    model = assemble(spec.model, networks)
    if config.train_text_encoder:
        model.text_encoder.frozen = False
        model.text_encoder.float()
    if pretrained is not None:
        load_pretrained(model, pretrained / WEIGHTS_FILE, config.fresh)
    choose_trained(model)
    model.backbone.use_checkpointing(config.checkpointing)
    return model, spec


def _find_spec(source: str) -> tuple[ModelSpec, Path | None]:
    if source == FULL_SIZE:
        return ModelSpec(name="vdit", model=FULL.model), None
    folder = find_folder(SHORT_NAMES.get(source, source))
    return spec_of(folder), folder


def _take_words(folder: Path, networks: Networks, spec: ModelSpec) -> ModelSpec:
    """Take RoBERTa from a pretrained folder that has its own: it was trained."""
    source = spec_of(folder).parts.roberta
    if not source.startswith("./"):
        return spec
    networks["roberta"] = load_part("roberta", source, folder, torch.float32)
    return replace(spec, parts=replace(spec.parts, roberta="./roberta"))


def choose_trained(model: VDIT) -> None:
    """Ask for gradients of what is trained and used, and of nothing else."""
    wanted = set(trained_names(model)) - model.idle_parameters()
    learns = not model.text_encoder.frozen
    for name, parameter in model.named_parameters():
        is_word = name.startswith("text_encoder.") and not name.startswith(UNUSED_WORDS)
        parameter.requires_grad_(name in wanted or (learns and is_word))


def load_pretrained(model: VDIT, file: Path, fresh: list[str]) -> None:
    """Fill the trained parameters from a file, except those whose names contain one of `fresh`.

    Raises:
        ValueError: the file cannot be read, or others are missing, unknown or of another shape.
    """
    weights: dict[str, Tensor] = reading("pretrained weights", str(file), lambda: load_file(file))
    wanted = {name: model.get_parameter(name) for name in trained_names(model)}
    kept = {n: w for n, w in weights.items() if not any(part in n for part in fresh)}
    expected = {n for n in wanted if not any(part in n for part in fresh)}
    problems = [f"{name} is missing" for name in sorted(expected - set(kept))]
    problems += [f"{name} is unknown" for name in sorted(set(kept) - expected)]
    problems += [
        f"{name} has shape {list(kept[name].shape)} in place of {list(wanted[name].shape)}"
        for name in sorted(expected & set(kept))
        if kept[name].shape != wanted[name].shape
    ]
    if problems:
        raise ValueError(
            f"expected the weights of this model in {file}, but {'; '.join(problems[:3])} "
            f"({len(problems)} problems); name what should start anew in model.fresh"
        )
    model.load_state_dict(kept, strict=False)
