"""Read the checkpoint that the authors of VD-IT released and give its tensors our names.

The file is a pickle: only tensors, plain containers and `argparse.Namespace` are built from it.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vdit.released_names import canonical_name, is_unused, released_name

ZIP_MAGIC = b"PK\x03\x04"
SHOWN = 3


@dataclass
class ReleasedWeights:
    """What a released checkpoint holds of the model.

    Attributes:
        tensors: by our names, complete, of the right shapes; no two share memory.
        num_aliases: keys that repeated another key's tensor, and agreed with it.
        unused: keys that the model has no use for.
    """

    tensors: dict[str, Tensor]
    num_aliases: int
    unused: list[str]


# ---- file --------------------------------------------------------------------------------------


def read_state_dict(checkpoint: Path, entry: str = "model") -> dict[str, Any]:
    """Read the state dict of a `.pth` file, old or new format, and nothing else of it.

    Args:
        checkpoint: a training checkpoint with the state dict under `entry`, or a state dict.
        entry: key of the state dict.

    Returns:
        Its entries on the CPU, without the prefix that DistributedDataParallel adds.

    Raises:
        ValueError: no such file, not a torch file, damaged, no state dict in it, or it asks for
            more than weights; the sentence names what it asks for.
    """
    loaded = load_pickle(checkpoint)
    state = loaded.get(entry, loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise ValueError(
            f"expected a state dict in {checkpoint}, alone or under {entry!r}, got "
            f"{type(state).__name__}; pass the released .pth file"
        )
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_pickle(checkpoint: Path) -> Any:
    """Read a torch file, old or new format, that asks for no code; tensors are on the CPU.

    Raises:
        ValueError: no such file, not a torch file, damaged, or it asks for more than weights.
    """
    if not checkpoint.is_file():
        what = "is a folder" if checkpoint.is_dir() else "does not exist"
        raise ValueError(f"expected a checkpoint file, got {checkpoint}, which {what}")
    try:
        with checkpoint.open("rb") as file:
            zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(_why_unreadable(checkpoint, error)) from error


def _why_unreadable(checkpoint: Path, error: Exception) -> str:
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return (
            f"{checkpoint} asks for {refused[1]}, but only weights are loaded because anything "
            "else could run code; pass a file that holds the state dict alone"
        )
    told = str(error).rpartition("WeightsUnpickler error:")[2].strip() or type(error).__name__
    reason = told.splitlines()[0].rstrip(".")
    return (
        f"expected a torch checkpoint, cannot read {checkpoint}: {reason}; it is another kind of "
        "file or incomplete, fetch it again"
    )


# ---- names -------------------------------------------------------------------------------------


def match_weights(state: Mapping[str, Any], model: nn.Module, source: Path) -> ReleasedWeights:
    """Find the tensor of every parameter of a model among the entries of a released state dict.

    Args:
        state: entries by released name.
        model: gives names and shapes; its weights may be on the meta device.
        source: file to name in errors.

    Raises:
        ValueError: a tensor is missing, unknown, of another shape, or differs from its alias.
    """
    expected = {released_name(name): name for name in model.state_dict()}
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    unused = [key for key in state if is_unused(key)]
    keys: dict[str, list[str]] = defaultdict(list)
    for key in state.keys() - set(unused):
        keys[canonical_name(key)].append(key)
    problems: dict[str, list[str]] = {
        "missing": [name for name in expected if name not in keys],
        "unknown": [key for name in keys.keys() - expected.keys() for key in keys[name]],
        "misshapen": [],
        "contradicting": [],
    }
    tensors: dict[str, Tensor] = {}
    for canonical, name in expected.items():
        if canonical not in keys:
            continue
        first, *aliases = sorted(keys[canonical], key=lambda key: key != canonical)
        tensor = state[first]
        wrong = _wrong_shape(tensor, shapes[name])
        if wrong:
            problems["misshapen"].append(f"{first} is {wrong}")
            continue
        problems["contradicting"] += [
            f"{alias} differs from {first}" for alias in aliases if not _same(state[alias], tensor)
        ]
        tensors[name] = tensor
    if any(problems.values()):
        raise ValueError(_summarize(problems, len(expected), source))
    num_aliases = len(state) - len(unused) - len(expected)
    return ReleasedWeights(_separate(tensors), num_aliases, sorted(unused))


def _wrong_shape(tensor: Any, shape: torch.Size) -> str | None:
    """Say what came instead of a floating-point tensor of that shape."""
    if not isinstance(tensor, Tensor):
        return f"a {type(tensor).__name__}"
    if not tensor.is_floating_point():
        return f"of {tensor.dtype}"
    if tensor.shape != shape:
        return f"{list(tensor.shape)} instead of {list(shape)}"
    return None


def _same(alias: Any, tensor: Tensor) -> bool:
    if not isinstance(alias, Tensor) or alias.dtype != tensor.dtype or alias.shape != tensor.shape:
        return False
    if alias.data_ptr() == tensor.data_ptr() and alias.stride() == tensor.stride():
        return True
    return torch.allclose(alias, tensor, rtol=0, atol=0, equal_nan=True)


def _summarize(problems: Mapping[str, list[str]], expected: int, source: Path) -> str:
    found = []
    for kind, entries in problems.items():
        if entries:
            more = ", ..." if len(entries) > SHOWN else ""
            found.append(f"{len(entries)} {kind} ({', '.join(sorted(entries)[:SHOWN])}{more})")
    return (
        f"expected the {expected} tensors of VD-IT in {source}, but of its keys "
        f"{', '.join(found)}; is it the checkpoint of another model?"
    )


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy the tensors that have gaps or share another one's memory: safetensors takes neither."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        if memory in seen or not tensor.is_contiguous():
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        seen.add(memory)
        separate[name] = tensor.detach()
    return separate
