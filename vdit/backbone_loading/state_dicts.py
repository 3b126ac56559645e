"""State dicts of released checkpoints into networks of ours, name by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vdit.network_loading import reading
from vdit.released_checkpoint import read_state_dict

SHOWN = 3


def read_tensors(place: str, entry: str) -> dict[str, Any]:
    """Read the tensors of a `.safetensors` file, or those under `entry` of a checkpoint.

    Raises:
        ValueError: no such file, or it cannot be read.
    """
    path = Path(place)
    if path.suffix == ".safetensors":
        return reading("weights", place, lambda: load_file(path))
    return read_state_dict(path, entry)


def fill(
    network: nn.Module, tensors: Mapping[str, Tensor], source: str, dtype: torch.dtype
) -> None:
    """Give a network on the meta device its tensors, in a dtype.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape; names the first few.
    """
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is unknown" for name in tensors if name not in expected]
    wrong += [
        f"{name} is {list(tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in tensors and list(tensors[name].shape) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ValueError(
            f"expected the weights of a {type(network).__name__} in {source}, but "
            f"{', '.join(wrong[:SHOWN])}{more}; pass another file"
        )
    network.load_state_dict(tensors, assign=True)
    network.to(dtype)
