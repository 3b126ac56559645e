"""The folder that the stages fill: a model folder in the making."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vdit.architectures import MINI, Architecture, build_networks
from vdit.atomic import replace_folder_when_complete, replace_when_complete
from vdit.model_spec import local_parts
from vdit.network_loading import Networks, load_part


def load_parts(folder: Path, names: list[str]) -> Networks:
    """Load networks and tokenizers that earlier stages wrote, frozen and in eval mode.

    Raises:
        ValueError: one is missing; the sentence names it.
    """
    sources = local_parts()
    loaded = {}
    for name in names:
        if not (folder / name).is_dir():
            raise ValueError(
                f"expected {name} of an earlier stage in {folder}, found none; train that first"
            )
        part = load_part(name, getattr(sources, name), folder, torch.float32)
        if isinstance(part, nn.Module):
            part.requires_grad_(False).eval()
        loaded[name] = part
    return loaded


def save_part(part: Any, folder: Path, name: str) -> None:
    """Write one network or tokenizer where `load_parts` finds it."""
    with replace_folder_when_complete(folder / name) as temporary:
        part.save_pretrained(temporary)


def fresh_networks(folder: Path, seed: int, architecture: Architecture = MINI) -> Networks:
    """Build all networks with seeded weights, their vocabularies sized by the tokenizers there."""
    tokenizers = load_parts(folder, ["tokenizer", "roberta_tokenizer"])
    torch.manual_seed(seed)
    text = tokenizers["tokenizer"]
    text_encoder = {
        **architecture.text_encoder,
        "vocab_size": len(text),
        "max_position_embeddings": text.model_max_length,
        "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id,
    }
    roberta = {**architecture.roberta, "vocab_size": len(tokenizers["roberta_tokenizer"])}
    architecture = replace(architecture, text_encoder=text_encoder, roberta=roberta)
    return build_networks(architecture) | tokenizers


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Write tensors as one safetensors file."""
    with replace_when_complete(path) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
