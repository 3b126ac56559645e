"""WALT from the folder that its training filled: `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vdit.atomic import replace_folder_when_complete
from vdit.backbone_loading.weight_files import load_network, read_weights
from vdit.config import load_config
from vdit.model_spec import BUNDLED, local_parts
from vdit.models.backbones.walt import PromptedWaltBackbone, WaltBackbone
from vdit.models.backbones.walt_tokenizer import VideoTokenizer, VideoTokenizerConfig
from vdit.models.backbones.walt_transformer import Walt, WaltConfig
from vdit.network_loading import load_part

UNPUBLISHED = "a folder that `vdit train configs/walt/...` filled"
SOURCES = {"walt": UNPUBLISHED, "walt-xl": UNPUBLISHED}
"""Short name -> where the weights are; none are published."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"
NETWORK, TOKENIZER = "network.", "tokenizer."
TEXT_PARTS = ("text_encoder", "tokenizer")


@dataclass(frozen=True)
class WaltFolder:
    """What `config.json` says.

    Attributes:
        network: sizes of the transformer.
        tokenizer: sizes of the video tokenizer.
        text: model folder or bundled model whose text tower gives the prompts; None = no prompts.
    """

    network: WaltConfig
    tokenizer: VideoTokenizerConfig
    text: str | None = None


def load(place: str, dtype: torch.dtype, *, frames_per_pass: int = 8) -> WaltBackbone:
    """Load a trained V-WALT or I-WALT with its tokenizer (kept in float32).

    Args:
        place: the folder.
        dtype: of the transformer.
        frames_per_pass: see `WaltBackbone`.

    Raises:
        ValueError: the folder is none that a training wrote, or its files are damaged.
    """
    folder = Path(place)
    spec = read_walt_config(folder)
    weights = read_weights(folder / WEIGHTS)
    network = load_network(partial(Walt, spec.network), _strip(weights, NETWORK), place, dtype)
    vae = load_network(
        partial(VideoTokenizer, spec.tokenizer), _strip(weights, TOKENIZER), place, torch.float32
    )
    if spec.text is None:
        return WaltBackbone(network, vae, frames_per_pass)
    tower, words = load_text_tower(spec.text, dtype)
    return PromptedWaltBackbone(network, vae, tower, words, frames_per_pass)


def load_text_tower(source: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Load the frozen CLIP text tower of a model folder or a bundled model, and its tokenizer."""
    folder = BUNDLED.get(source, Path(source))
    parts = local_parts()
    tower, words = (load_part(name, getattr(parts, name), folder, dtype) for name in TEXT_PARTS)
    tower.requires_grad_(False).eval()
    return tower, words


def save_walt(folder: Path, spec: WaltFolder, network: Walt, tokenizer: VideoTokenizer) -> None:
    """Write what `load` reads; the folder appears when it is complete."""
    tensors = {NETWORK + name: value for name, value in network.state_dict().items()}
    tensors |= {TOKENIZER + name: value for name, value in tokenizer.state_dict().items()}
    _save(folder, asdict(spec), tensors)


def read_walt_config(folder: Path) -> WaltFolder:
    """Read `config.json` of a trained WALT.

    Raises:
        ValueError: there is none, or it is no WALT's.
    """
    return load_config(WaltFolder, _read_json(folder), [])


def save_video_tokenizer(folder: Path, tokenizer: VideoTokenizer) -> None:
    """Write a tokenizer alone; the folder appears when it is complete."""
    _save(folder, asdict(tokenizer.config), tokenizer.state_dict())


def load_video_tokenizer(folder: Path) -> VideoTokenizer:
    """Load a tokenizer that was written alone, frozen and in eval mode.

    Raises:
        ValueError: there is none, or its files are damaged.
    """
    config = load_config(VideoTokenizerConfig, _read_json(folder), [])
    weights = read_weights(folder / WEIGHTS)
    tokenizer = load_network(partial(VideoTokenizer, config), weights, str(folder), torch.float32)
    return tokenizer.requires_grad_(False).eval()


def _save(folder: Path, content: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    with replace_folder_when_complete(folder) as temporary:
        (temporary / CONFIG).write_text(json.dumps(content, indent=1) + "\n")
        weights = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(weights, temporary / WEIGHTS, metadata={"format": "pt"})


def _read_json(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected {UNPUBLISHED}, found no readable {CONFIG} in {folder}; pass it: "
            "--weights FOLDER, or path=FOLDER in a configuration"
        ) from error


def _strip(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
