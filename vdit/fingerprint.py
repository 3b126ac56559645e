"""Tell weights apart by a short string."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def fingerprint(tensors: Iterable[tuple[str, Tensor]], settings: str = "") -> str:
    """Hash names, dtypes, shapes and every bit of tensors.

    Args:
        tensors: (name, tensor), in any order.
        settings: what else counts.

    Returns:
        32 hexadecimal digits of SHA-256.

    >>> fingerprint([("a", torch.zeros(2))]) == fingerprint([("b", torch.zeros(2))])
    False
    """
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()[:32]


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Give the bytes of a tensor in row-major order."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
