"""Load the compiled kernels, or stand in for them: after this import the operators exist.

`torch.ops.vdit.ms_deform_attn` and its backward are defined either by `vdit.ops._C`, which brings
CPU kernels, or here. `vdit.ops._C_cuda` adds CUDA kernels; it is loaded where torch finds a device.
Devices without a kernel of their own are served by the reference.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Sequence

import torch  # before _C: it brings the libraries that _C links to
from torch import Tensor

from vdit.ops.ms_deform_attn_reference import (
    ms_deform_attn_reference,
    ms_deform_attn_reference_backward,
)

logger = logging.getLogger(__name__)

BUILD_COMMAND = "pip install --no-build-isolation -e ."
SCHEMAS = {
    "ms_deform_attn": "(Tensor value, SymInt[] spatial_shapes, Tensor sampling_locations, "
    "Tensor attention_weights) -> Tensor",
    "ms_deform_attn_backward": "(Tensor grad_out, Tensor value, SymInt[] spatial_shapes, "
    "Tensor sampling_locations, Tensor attention_weights, bool[3] output_mask) "
    "-> (Tensor, Tensor, Tensor)",
    "cpu_capability": "() -> str",
}
library = torch.library.Library("vdit", "FRAGMENT")


def _load(name: str) -> tuple[str | None, str | None]:
    """Import a library of kernels and return its file, or the reason why it cannot be imported."""
    try:
        return importlib.import_module(f"vdit.ops.{name}").__file__, None
    except ImportError as error:
        return None, str(error)


def _load_cuda() -> tuple[str | None, str | None]:
    if not torch.cuda.is_available():
        return None, "torch finds no CUDA device"
    if _file is None:
        return None, "vdit.ops._C, which it adds to, is not loaded"
    return _load("_C_cuda")


def extension_status() -> dict[str, str | bool | None]:
    """Tell which kernels serve the operators of `vdit.ops`.

    Returns:
        built: whether `vdit.ops._C` is loaded; file: where it lies; reason: why it is not loaded;
        cuda_file, cuda_reason: the same of `vdit.ops._C_cuda`; cpu, cuda: "compiled" or
        "reference"; cpu_capability: "default", "avx2" or "avx512", the instructions that the CPU
        kernels use (ATEN_CPU_CAPABILITY lowers them); build_command: what builds both.
    """
    return {
        "built": _file is not None,
        "file": _file,
        "reason": _reason,
        "cuda_file": _cuda_file,
        "cuda_reason": _cuda_reason,
        "cpu": "reference" if _file is None else "compiled",
        "cpu_capability": torch.ops.vdit.cpu_capability(),
        "cuda": "reference" if _cuda_file is None else "compiled",
        "build_command": BUILD_COMMAND,
    }


@functools.cache
def _warn_about_device(device: str) -> None:
    reason = f" ({_cuda_reason})" if device == "cuda" else ""
    logger.warning(
        "vdit.ops has no compiled kernel for %s%s: the slow reference computes ms_deform_attn "
        "there. Build it with: %s",
        device,
        reason,
        BUILD_COMMAND,
    )


def _announce(value: Tensor) -> None:
    """Say once per device that the reference is at work, unless the import has said so."""
    if value.device.type != "cpu":
        _warn_about_device(value.device.type)


def _pairs(flat: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _forward(value: Tensor, shapes: list[int], locations: Tensor, weights: Tensor) -> Tensor:
    _announce(value)
    return ms_deform_attn_reference(value, _pairs(shapes), locations, weights)


def _backward(
    grad_out: Tensor,
    value: Tensor,
    shapes: list[int],
    locations: Tensor,
    weights: Tensor,
    output_mask: list[bool],
) -> tuple[Tensor, ...]:
    _announce(value)
    grads = ms_deform_attn_reference_backward(grad_out, value, _pairs(shapes), locations, weights)
    return tuple(
        grad if wanted else grad.new_empty(0)
        for grad, wanted in zip(grads, output_mask, strict=True)
    )


_file, _reason = _load("_C")
if _file is None:
    logger.warning(
        "vdit.ops._C is not available (%s): ms_deform_attn runs on the slow reference. "
        "Build it with: %s",
        _reason,
        BUILD_COMMAND,
    )
    for _name, _schema in SCHEMAS.items():
        library.define(_name + _schema)
    library.impl("cpu_capability", lambda: "default", "CompositeExplicitAutograd")
_cuda_file, _cuda_reason = _load_cuda()
library.impl("ms_deform_attn", _forward, "CompositeExplicitAutograd")
library.impl("ms_deform_attn_backward", _backward, "CompositeExplicitAutograd")
