"""Write model folders: of a model in memory, or of a released checkpoint.

A folder holds `config.json`, the trained weights in `model.safetensors`, and a subfolder for each
network that is not loaded from the hub, written by its own library.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from safetensors import SafetensorError
from safetensors.torch import save_file

from vdit.architectures import FULL, MINI, Architecture, build_networks
from vdit.atomic import replace_folder_when_complete
from vdit.build import VDIT, assemble, trained_names
from vdit.model_spec import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    ModelSpec,
    Parts,
    local_parts,
    write_spec,
)
from vdit.released_checkpoint import match_weights, read_state_dict

logger = logging.getLogger(__name__)

HEAD = "head"
NETWORKS = {
    "backbone.unet.": "unet",
    "backbone.vae.": "vae",
    "backbone.text_encoder.": "text_encoder",
    "backbone.image_encoder.": "image_encoder",
    "text_encoder.": "roberta",
}
"""Prefix of our names -> part of `vdit.model_spec.Parts`; all other weights are the head's."""


# ---- a model in memory -------------------------------------------------------------------------


def save_model(
    model: VDIT, spec: ModelSpec, folder: str | Path, with_frozen: bool = False
) -> ModelSpec:
    """Write a model folder that `vdit.build.load_model` reads back bit for bit.

    Args:
        model: on any device.
        spec: what the model says of itself.
        folder: appears when it is complete; an older model folder is replaced.
        with_frozen: write every frozen network and tokenizer too. Otherwise only those that no
            source outside of the folder has: a RoBERTa in training, and parts that lay in the
            folder that the model came from.

    Returns:
        What was written as `config.json`.

    Raises:
        ValueError: the folder holds something else or cannot be written, or the model's noise
            schedule is neither that of ModelScopeT2V nor that of vdit-mini.
    """
    folder = Path(folder)
    check_output(folder)
    schedule = _find_schedule(model.backbone)
    written = [
        part
        for part, source in asdict(spec.parts).items()
        if with_frozen or source.startswith("./") or (part == "roberta" and _roberta_learns(model))
    ]
    return _write_folder(model, spec, written, folder, schedule)


def check_output(folder: Path) -> None:
    """Refuse an output folder whose replacement would delete anything but a model.

    Raises:
        ValueError: it is a file, or holds other files than those of a model.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected the name of a folder to write, got {folder}, which is a file")
    ours = {CONFIG_FILE, WEIGHTS_FILE, *asdict(local_parts())}
    others = sorted({entry.name for entry in folder.iterdir()} - ours) if folder.exists() else []
    if others:
        raise ValueError(
            f"expected a new folder or one with a model, got {folder}, which also holds "
            f"{', '.join(others[:3])}; pass another"
        )


def _roberta_learns(model: VDIT) -> bool:
    return not model.text_encoder.frozen


def _schedule(architecture: Architecture) -> Any:
    return DDPMScheduler(**architecture.scheduler, clip_sample=False)


def _find_schedule(backbone: Any) -> Any:
    """A model keeps only the products of its schedule; find what they come from."""
    found = backbone.alphas_cumprod.cpu()
    for architecture in (FULL, MINI):
        schedule = _schedule(architecture)
        if torch.equal(found, schedule.alphas_cumprod.to(found.dtype)):
            return schedule
    raise ValueError(
        "expected the noise schedule of ModelScopeT2V (1000 steps) or of vdit-mini (20), got "
        f"another one ({len(found)} steps); a model folder cannot hold it"
    )


def _write_folder(
    model: VDIT, spec: ModelSpec, parts: Iterable[str], folder: Path, schedule: Any
) -> ModelSpec:
    """Write the trained weights and the given parts; the others keep their sources."""
    local = asdict(local_parts())
    spec = replace(spec, parts=replace(spec.parts, **{part: local[part] for part in parts}))
    networks = _networks(model) | {"scheduler": schedule}
    trained = set(trained_names(model))
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.named_parameters()
        if name in trained
    }
    with _writing(folder), replace_folder_when_complete(folder) as temporary:
        write_spec(spec, temporary)
        save_file(weights, temporary / WEIGHTS_FILE, metadata={"format": "pt"})
        for part in parts:
            networks[part].save_pretrained(temporary / part)
    return spec


def _networks(model: VDIT) -> dict[str, Any]:
    """Give what each part of `vdit.model_spec.Parts` is in a model, but for the schedule."""
    backbone: Any = model.backbone
    return {
        "unet": backbone.unet,
        "vae": backbone.vae,
        "text_encoder": backbone.text_encoder,
        "tokenizer": backbone.tokenizer,
        "image_encoder": getattr(backbone.image_encoder, "model", None),
        "roberta": model.text_encoder.model,
        "roberta_tokenizer": model.text_encoder.tokenizer,
    }


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{folder} cannot be written: {error}; free space or pass another folder"
        ) from error


# ---- a released checkpoint ---------------------------------------------------------------------


@dataclass(frozen=True)
class ConversionReport:
    """What became of a released checkpoint.

    Attributes:
        name: of the model.
        folder: where it is.
        tensors: number of tensors of each part; "head" is what VD-IT trains.
        written: the parts whose weights are in the folder.
        sources: where the other networks and the tokenizers will be loaded from.
        num_aliases: keys that repeat another key's tensor; all were equal to it.
        unused: keys that the model has no use for.
        not_finite: written tensors with NaN or infinity, by our names.
        checkpoint_bytes: size of the file.
        folder_bytes: size of the folder.
    """

    name: str
    folder: str
    tensors: dict[str, int]
    written: list[str]
    sources: dict[str, str]
    num_aliases: int
    unused: list[str]
    not_finite: list[str]
    checkpoint_bytes: int
    folder_bytes: int


def convert_released(
    checkpoint: str | Path,
    folder: str | Path,
    with_frozen: bool = False,
    architecture: Architecture = FULL,
) -> ConversionReport:
    """Turn a released VD-IT checkpoint into a model folder.

    Every key is accounted for before anything is written. The tokenizers stay with their hub ids,
    since the checkpoint has none; RoBERTa is always written, since it may have been trained.

    Args:
        checkpoint: the `.pth` file.
        folder: appears when it is complete; an older model folder is replaced.
        with_frozen: write the frozen networks of the checkpoint instead of naming their hub ids.
        architecture: sizes of the model that was saved.

    Raises:
        ValueError: the file cannot be read safely, is of another model, or the folder cannot be
            written.
    """
    checkpoint, folder = Path(checkpoint), Path(folder)
    check_output(folder)
    model = _empty_model(architecture)
    released = match_weights(read_state_dict(checkpoint), model, checkpoint)
    counts = Counter(_part_of(name) for name in released.tensors)
    written = [part for part in counts if with_frozen or part in (HEAD, "roberta")]
    tensors = {name: x for name, x in released.tensors.items() if _part_of(name) in written}
    released.tensors.clear()
    not_finite = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if not_finite:
        logger.warning(
            "%d tensors of %s hold NaN or infinity, the first is %s",
            len(not_finite),
            checkpoint,
            not_finite[0],
        )
    model.load_state_dict(tensors, strict=False, assign=True)
    parts = [part for part in written if part != HEAD] + ["scheduler"] * with_frozen
    spec = ModelSpec(name=checkpoint.stem, model=architecture.model, parts=Parts())
    spec = _write_folder(model, spec, parts, folder, _schedule(architecture))
    return ConversionReport(
        name=spec.name,
        folder=str(folder),
        tensors=dict(counts),
        written=written,
        sources={k: v for k, v in asdict(spec.parts).items() if not v.startswith("./")},
        num_aliases=released.num_aliases,
        unused=released.unused,
        not_finite=not_finite,
        checkpoint_bytes=checkpoint.stat().st_size,
        folder_bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
    )


def _empty_model(architecture: Architecture) -> VDIT:
    """Build the model without memory for its weights, and without tokenizers."""
    with torch.device("meta"):
        networks = build_networks(architecture)
        return assemble(
            architecture.model, networks | {"tokenizer": None, "roberta_tokenizer": None}
        )


def _part_of(name: str) -> str:
    return next((part for prefix, part in NETWORKS.items() if name.startswith(prefix)), HEAD)
