"""Features of one video in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vdit.atomic import replace_when_complete

FILE_KINDS = (".npz", ".safetensors")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def save_features(
    path: str | Path,
    features: Mapping[str, Tensor],
    spans: Sequence[tuple[int, int]],
    facts: Mapping[str, Any],
    dtype: str = "float16",
) -> None:
    """Write the features of one video to one file, which appears once it is complete.

    Args:
        path: .npz (arrays by block, `spans` [T', 2] and `facts`, JSON) or .safetensors (tensors by
            block; the metadata `facts` hold both, as JSON).
        features: block -> [T', C, h, w].
        spans: half-open range of video frames that each feature frame stands for.
        facts: JSON.
        dtype: see `DTYPES`; .npz knows no bfloat16.

    Raises:
        ValueError: another extension; the dtype does not fit; the file cannot be written.
    """
    check_file(path, dtype)
    tensors = converted(features, dtype)
    if Path(path).suffix == ".safetensors":
        write_safetensors(Path(path), tensors, {**facts, "spans": list(spans)})
        return
    arrays: dict[str, Any] = {name: feature.numpy() for name, feature in tensors.items()}
    arrays |= {"spans": np.array(spans), "facts": np.array(json.dumps(facts))}
    with replace_when_complete(path) as partial:
        np.savez(partial, **arrays)


def check_file(path: str | Path, dtype: str) -> None:
    """Raise a ValueError unless features of a dtype can be written to such a file."""
    if Path(path).suffix not in FILE_KINDS:
        raise ValueError(f"expected a file that ends in {' or '.join(FILE_KINDS)}, got {path}")
    if Path(path).suffix == ".npz" and dtype == "bfloat16":
        raise ValueError("expected float16 or float32 for .npz, got bfloat16; use .safetensors")
    if dtype not in DTYPES:
        raise ValueError(f"expected a dtype among {', '.join(DTYPES)}; got {dtype!r}")


def converted(features: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """Bring features to a dtype for storage.

    Raises:
        ValueError: a finite number is too large for it.
    """
    tensors = {}
    for name, feature in features.items():
        tensors[name] = feature.to(DTYPES[dtype]).contiguous()
        if feature.isfinite().all() and not tensors[name].isfinite().all():
            raise ValueError(
                f"features of {name!r} reach {feature.abs().max():.3g}, too large for {dtype}; "
                "store them as bfloat16 or float32"
            )
    return tensors


def write_safetensors(path: Path, tensors: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and, as JSON under `facts` of the metadata, what is known of them.

    The file appears once it is complete. Several metadata would be written in changing order.
    """
    metadata = {"facts": json.dumps(facts, sort_keys=True)}
    with replace_when_complete(path) as partial:
        try:
            save_file(tensors, partial, metadata=metadata)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be written ({error})") from error
