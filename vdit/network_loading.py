"""Frozen networks and tokenizers from folders, the hub or open_clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet3DConditionModel
from safetensors import SafetensorError
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
    RobertaModel,
    RobertaTokenizer,
)

from vdit.model_spec import Parts, split_source
from vdit.models.open_clip_tower import load_open_clip_tower

OPEN_CLIP = "open_clip:"
LOAD_ERRORS = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)

Networks = dict[str, Any]


def load_networks(parts: Parts, folder: Path | None, dtype: torch.dtype) -> Networks:
    """Load every frozen network and tokenizer from its source.

    Raises:
        ValueError: a source cannot be reached, or its files are damaged; names the part.
    """
    return {part: load_part(part, getattr(parts, part), folder, dtype) for part in LOADERS}


def load_part(part: str, source: str, folder: Path | None, dtype: torch.dtype) -> Any:
    """Load one network or tokenizer; `source` as in `Parts`."""
    if source.startswith(OPEN_CLIP):
        return load_open_clip_tower(source.removeprefix(OPEN_CLIP)).to(dtype)
    place, subfolder = split_source(source, folder)
    options: dict[str, Any] = {"subfolder": subfolder} if subfolder else {}
    return reading(part, source, lambda: LOADERS[part](place, dtype, options))


def _load_scheduler(place: str, dtype: torch.dtype, options: dict[str, Any]) -> DDPMScheduler:
    return DDPMScheduler.from_config(DDPMScheduler.load_config(place, **options))


LOADERS: dict[str, Callable[[str, torch.dtype, dict[str, Any]], Any]] = {
    "unet": lambda place, dtype, options: UNet3DConditionModel.from_pretrained(
        place, torch_dtype=dtype, **options
    ),
    "vae": lambda place, dtype, options: AutoencoderKL.from_pretrained(
        place, torch_dtype=dtype, **options
    ),
    "scheduler": _load_scheduler,
    "text_encoder": lambda place, dtype, options: CLIPTextModel.from_pretrained(
        place, dtype=dtype, **options
    ),
    "tokenizer": lambda place, dtype, options: CLIPTokenizer.from_pretrained(place, **options),
    "image_encoder": lambda place, dtype, options: CLIPVisionModelWithProjection.from_pretrained(
        place, dtype=dtype, **options
    ),
    "roberta": lambda place, dtype, options: RobertaModel.from_pretrained(
        place, dtype=dtype, **options
    ),
    "roberta_tokenizer": lambda place, dtype, options: RobertaTokenizer.from_pretrained(
        place, **options
    ),
}


def reading(what: str, source: str, read: Callable[[], Any]) -> Any:
    """Read something; turn what can go wrong into one sentence.

    Raises:
        ValueError: it cannot be read; names what and from where.
    """
    try:
        return read()
    except LOAD_ERRORS as error:
        raise ValueError(
            f"cannot load {what} from {source}: {first_line(error)}; check the path or hub id, "
            "or fetch the files again"
        ) from error


def first_line(error: Exception) -> str:
    """Give the first line of an error, or its kind."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
