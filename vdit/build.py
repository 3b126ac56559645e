"""Configuration to objects: models and backbones by name, with their weights."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from torch import nn

from vdit.architectures import FULL, MINI, build_networks
from vdit.backbone_loading.families import BACKBONES
from vdit.backbone_loading.modelscope import modelscope
from vdit.byte_tokenizers import clip_byte_tokenizer, roberta_byte_tokenizer
from vdit.model_spec import (
    BUNDLED,
    CONFIG_FILE,
    WEIGHTS_FILE,
    ModelSpec,
    pipeline_parts,
    read_spec,
    split_source,
)
from vdit.models.backbones.base import Backbone
from vdit.models.text_encoder import RobertaTextEncoder
from vdit.models.vdit import VDIT, VDITConfig
from vdit.network_loading import (
    LOAD_ERRORS,
    Networks,
    first_line,
    load_networks,
    reading,
)

logger = logging.getLogger(__name__)

ALIGNMENT = 64  # bytes, as torch allocates
FROZEN_PREFIXES = ("backbone.", "text_encoder.")

# ---- models ------------------------------------------------------------------------------------


def load_model(
    name: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[VDIT, ModelSpec]:
    """Load VD-IT with its weights.

    Args:
        name: "vdit-mini", which is bundled; "vdit-mini-random" or "vdit-full-random"; a folder with
            `config.json`, a folder of the text-to-video model in the layout of diffusers (its head
            is then untrained), or the hub id of either. `HF_HUB_OFFLINE=1` keeps to what is on this
            machine.
        device: where the model goes.
        dtype: of the frozen networks; the trained parts (about 30 M parameters) stay float32.

    Returns:
        The model in eval mode, and what it says of itself.

    Raises:
        ValueError: nothing is there under that name, or weights are damaged or do not fit.
    """
    name = str(name)
    if name in BUILT_IN:
        model, spec = BUILT_IN[name](dtype)
    else:
        folder = find_folder(name)
        spec = spec_of(folder)
        networks = load_networks(spec.parts, folder, dtype)
        model = assemble(spec.model, networks)
        if (folder / CONFIG_FILE).is_file():
            load_trained(model, folder / WEIGHTS_FILE)
    model.to(device).eval()
    _align(model)
    return model, spec


def _align(model: nn.Module) -> None:
    """Move weights that a file was mapped to at odd addresses, where CPU kernels round otherwise.

    So equal weights give equal predictions, whatever files they came from.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


def find_folder(name: str) -> Path:
    """Give the folder of a model: a bundled one, itself, or the local snapshot of a hub id."""
    if name in BUNDLED:
        return BUNDLED[name]
    if Path(name).is_dir():
        return Path(name)
    if Path(name).exists() or name.startswith((".", "/")):
        raise ValueError(f"expected a model folder or hub id, got {name}, which is no folder")
    repository = split_source(name)[0]
    try:
        return Path(snapshot_download(repository))
    except LOAD_ERRORS as error:
        known = ", ".join(known_models())
        raise ValueError(
            f"expected a known model ({known}), a folder or a hub id that can be reached, got "
            f"{name!r}: {first_line(error)}"
        ) from error


def spec_of(folder: Path) -> ModelSpec:
    """Read what a model folder, or one of a text-to-video pipeline alone, says of itself.

    Raises:
        ValueError: it is neither, or `config.json` is wrong.
    """
    if (folder / "model_index.json").is_file() and not (folder / CONFIG_FILE).is_file():
        logger.warning("%s holds no trained head: masks are meaningless", folder)
        return ModelSpec(name=folder.name, trained=False, parts=pipeline_parts(str(folder)))
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(
            f"expected {CONFIG_FILE} or model_index.json in the model folder, found neither in "
            f"{folder}; `vdit convert` writes one from a released checkpoint"
        )
    return read_spec(folder)


def assemble(config: VDITConfig, networks: Networks) -> VDIT:
    """Put the frozen networks and a head with fresh weights together."""
    backbone = modelscope(networks, config.compat)
    text_encoder = RobertaTextEncoder(networks["roberta"], networks["roberta_tokenizer"])
    return VDIT(config, backbone, text_encoder)


def trained_names(model: nn.Module) -> list[str]:
    """Name what `model.safetensors` holds: every parameter outside the frozen networks."""
    return [name for name, _ in model.named_parameters() if not name.startswith(FROZEN_PREFIXES)]


def load_trained(model: VDIT, file: Path) -> None:
    """Fill every parameter outside the frozen networks from a file.

    Raises:
        ValueError: the file cannot be read, or holds the parameters of another model.
    """
    weights = reading("the trained weights", str(file), lambda: load_file(file))
    wanted = set(trained_names(model))
    problems = [f"{name} is missing" for name in sorted(wanted - set(weights))]
    problems += [f"{name} is unknown" for name in sorted(set(weights) - wanted)]
    if problems:
        raise ValueError(
            f"expected the {len(wanted)} trained tensors of the model in {file}, but "
            f"{'; '.join(problems[:3])} ({len(problems)} problems); convert the checkpoint again"
        )
    reading("the trained weights", str(file), lambda: model.load_state_dict(weights, strict=False))


def quiet_libraries() -> None:
    """Switch off what diffusers and transformers print while they load weights from disk."""
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


# ---- models that need no files -----------------------------------------------------------------


def _mini(dtype: torch.dtype) -> tuple[VDIT, ModelSpec]:
    """Build the small model with seeded weights; the frozen parts in `dtype`."""
    spec = ModelSpec(name="vdit-mini-random", trained=False, model=MINI.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = build_networks(MINI) | byte_tokenizers()
        model = assemble(MINI.model, networks)
    for network in networks.values():
        if isinstance(network, nn.Module) and dtype != torch.float32:
            network.to(dtype)
    return model, spec


def _full_random(dtype: torch.dtype) -> tuple[VDIT, ModelSpec]:
    """Build the full-size model with random weights, for measurements of time and memory."""
    spec = ModelSpec(name="vdit-full-random", trained=False, model=FULL.model)
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            networks = build_networks(FULL) | byte_tokenizers()
        finally:
            torch.set_default_dtype(before)
        return assemble(FULL.model, networks), spec


def byte_tokenizers() -> Networks:
    """Build tokenizers that need no vocabulary file."""
    return {"tokenizer": clip_byte_tokenizer(), "roberta_tokenizer": roberta_byte_tokenizer()}


BUILT_IN: dict[str, Callable[[torch.dtype], tuple[VDIT, ModelSpec]]] = {
    "vdit-mini-random": _mini,
    "vdit-full-random": _full_random,
}


def known_models() -> list[str]:
    """Names that need no folder and no network."""
    return [*BUNDLED, *BUILT_IN]


# ---- backbones ---------------------------------------------------------------------------------


def build_backbone(
    name: str,
    *,
    path: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Backbone:
    """Build a frozen backbone with its weights.

    Args:
        name: one of `vdit.backbone_loading.families.BACKBONES`.
        path: folder or hub id to load instead of the usual one.
        dtype: of the weights.
        options: of the family's `load`.

    Raises:
        ValueError: the name is unknown, or the weights cannot be loaded.
    """
    if name not in BACKBONES:
        raise ValueError(f"expected a backbone among {', '.join(BACKBONES)}; got {name!r}")
    family = importlib.import_module(f"vdit.backbone_loading.{BACKBONES[name]}")
    return family.load(str(path or family.SOURCES[name]), dtype, **options)
