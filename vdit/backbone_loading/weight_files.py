"""Read a file of weights and give a network its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vdit.network_loading import reading
from vdit.released_checkpoint import load_pickle

SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, ".pt", ".pth", ".tar")
CONTAINERS = ("state_dict", "model")
BATCH_COUNT = ".num_batches_tracked"
SHOWN = 3

Network = TypeVar("Network", bound=nn.Module)


def read_weights(place: str | Path, containers: Sequence[str] = CONTAINERS) -> dict[str, Tensor]:
    """Read the state dict of a .safetensors, .pt, .pth or .tar file; the last three hold no code.

    Args:
        place: the file, or a folder with one such file.
        containers: entries that may hold the state dict, the first found wins; it may stand alone.

    Returns:
        Its tensors on the CPU, by the names of the file; what is no tensor is left out.

    Raises:
        ValueError: there is no such file, it cannot be read, or it holds no state dict.
    """
    path = _weights_file(place)
    if path.suffix == SAFETENSORS:
        return reading("weights", str(path), lambda: load_file(path))
    loaded = load_pickle(path)
    if isinstance(loaded, Mapping):
        inner = (loaded.get(name) for name in containers)
        loaded = next((state for state in inner if isinstance(state, Mapping)), loaded)
    entries = loaded.items() if isinstance(loaded, Mapping) else ()
    tensors = {name: value for name, value in entries if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(
            f"expected a state dict in {path}, alone or under {' or '.join(containers)}, got "
            f"{type(loaded).__name__} without tensors; pass the file its owners publish"
        )
    return tensors


def load_network(
    build: Callable[[], Network], tensors: Mapping[str, Tensor], place: str, dtype: torch.dtype
) -> Network:
    """Build a network and give it weights; every name and shape must fit.

    The counters of batches in batch norms, which no feature needs, may be absent.

    Args:
        build: makes the network; it runs on the meta device.
        tensors: weights by the names of the network.
        place: where they come from, for the error.
        dtype: floating-point type of the result.

    Raises:
        ValueError: names are missing or unknown, or shapes differ.
    """
    with torch.device("meta"):
        network = build()
    expected = network.state_dict()
    state = {name: torch.tensor(0) for name in expected if name.endswith(BATCH_COUNT)} | {**tensors}
    problems = {
        "missing": [name for name in expected if name not in state],
        "unknown": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} is {list(tensor.shape)} instead of {list(expected[name].shape)}"
            for name, tensor in state.items()
            if name in expected and tensor.shape != expected[name].shape
        ],
    }
    told = [_tell(names, what) for what, names in problems.items() if names]
    if told:
        raise ValueError(
            f"expected the weights of {type(network).__name__} in {place}, but {'; '.join(told)}; "
            "pass the file its owners publish"
        )
    network.load_state_dict(state, assign=True)
    return network.to(dtype)


def _tell(names: list[str], what: str) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:SHOWN])}{more})"


def _weights_file(given: str | Path) -> Path:
    if "://" in str(given):
        raise ValueError(
            f"expected a file of weights, got the address {given}; download it and pass the file: "
            "--weights PATH, or the `path` of its source in a configuration"
        )
    place = Path(given)
    if place.is_dir():
        files = sorted(path for path in place.iterdir() if path.suffix in SUFFIXES)
        if len(files) != 1:
            raise ValueError(
                f"expected one file of weights ({', '.join(SUFFIXES)}) in {place}, got "
                f"{len(files)}; pass the file itself"
            )
        return files[0]
    if not place.is_file():
        raise ValueError(
            f"expected a file or folder of weights, got {place}, which does not exist; "
            "download the weights from their owners and pass the file: --weights PATH, or "
            "the `path` of its source in a configuration"
        )
    if place.suffix not in SUFFIXES:
        raise ValueError(
            f"expected a file that ends in {', '.join(SUFFIXES)}, got {place.name}; rename it"
        )
    return place
