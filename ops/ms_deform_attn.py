"""The public operator: checks, shapes for tracing, gradients and mixed precision.

Shapes: N batch, S pixels of all levels, M heads, D channels, Q queries, L levels, P points.
The kernels are in `csrc/`, the slow truth in `ms_deform_attn_reference.py`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vdit.ops.extension import library

AUTOCAST_DEVICES = ("cpu", "cuda")
VALUE_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sample every level bilinearly at learned points and sum with weights.

    Args:
        value: [N, S, M, D] features of all levels, flattened row-major and concatenated;
            S = sum(h * w). float32, float64, bfloat16 or float16.
        spatial_shapes: (h, w) of each level, in the order used in `value`. Numbers, not a tensor.
        sampling_locations: [N, Q, M, L, P, 2] as (x, y), 0..1 from the outer edge of the first
            pixel to the outer edge of the last; outside, NaN and infinity count as zero.
            float32 (float64 if `value` is), kept so under autocast: 16 bits miss by half a pixel.
        attention_weights: [N, Q, M, L, P], already normalized over L * P. In the dtype of
            `sampling_locations` or of `value`.

    Returns:
        [N, Q, M * D] in the dtype of `value`; the sums are made in float32 (float64 for float64).

    Raises:
        ValueError: a shape, dtype or device disagrees; the message names the argument, what was
            expected and what came.

    Reference: Zhu et al., Deformable DETR, ICLR 2021, Eq. 3.

    >>> value = torch.arange(4.0).view(1, 4, 1, 1)  # one level of 2 x 2 pixels
    >>> locations = torch.tensor([0.75, 0.25]).view(1, 1, 1, 1, 1, 2)  # its upper right pixel
    >>> ms_deform_attn(value, [(2, 2)], locations, torch.ones(1, 1, 1, 1, 1))
    tensor([[[1.]]])
    """
    _check_value(value, spatial_shapes)
    _check_samples(value, len(spatial_shapes), sampling_locations, attention_weights)
    _check_dtypes(value, sampling_locations, attention_weights)
    flat = [size for shape in spatial_shapes for size in shape]
    return torch.ops.vdit.ms_deform_attn(value, flat, sampling_locations, attention_weights)


def _check_value(value: Tensor, spatial_shapes: Sequence[tuple[int, int]]) -> None:
    if isinstance(spatial_shapes, Tensor):
        raise ValueError(
            "spatial_shapes: expected a sequence of (h, w) numbers, got a tensor; "
            "pass spatial_shapes.tolist()"
        )
    if value.dim() != 4:
        raise ValueError(f"value: expected [N, S, M, D], got {list(value.shape)}")
    pairs = [tuple(shape) for shape in spatial_shapes]
    if not pairs or any(len(pair) != 2 or min(pair) < 1 for pair in pairs):
        raise ValueError(f"spatial_shapes: expected (h, w) of each level, all >= 1, got {pairs}")
    pixels = sum(height * width for height, width in pairs)
    if value.shape[1] != pixels:
        raise ValueError(
            f"value: expected [N, {pixels}, M, D] to match spatial_shapes {pairs}, "
            f"got {list(value.shape)}"
        )


def _check_samples(value: Tensor, levels: int, locations: Tensor, weights: Tensor) -> None:
    batch, _, heads, _ = value.shape
    rank = locations.dim() == 6
    fixed = (locations.shape[0], *locations.shape[2:4], locations.shape[-1]) if rank else ()
    if fixed != (batch, heads, levels, 2):
        raise ValueError(
            f"sampling_locations: expected [{batch}, Q, {heads}, {levels}, P, 2] to match value "
            f"{list(value.shape)} and {levels} levels, got {list(locations.shape)}"
        )
    if weights.shape != locations.shape[:-1]:
        raise ValueError(
            f"attention_weights: expected {list(locations.shape[:-1])} to match "
            f"sampling_locations, got {list(weights.shape)}"
        )
    for name, tensor in (("sampling_locations", locations), ("attention_weights", weights)):
        if tensor.device != value.device:
            raise ValueError(
                f"{name}: expected device {value.device} as value, got {tensor.device}"
            )


def _check_dtypes(value: Tensor, locations: Tensor, weights: Tensor) -> None:
    if value.dtype not in VALUE_DTYPES:
        raise ValueError(f"value: expected one of {_names(*VALUE_DTYPES)}, got {value.dtype}")
    wide = _wide_dtype(value)
    if wide == torch.float32 and _autocast_is_on(value.device.type):
        return
    if locations.dtype != wide:
        raise ValueError(
            f"sampling_locations: expected {wide} for a value of {value.dtype}, "
            f"got {locations.dtype}; cast them"
        )
    if weights.dtype not in (wide, value.dtype):
        allowed = _names(*dict.fromkeys((wide, value.dtype)))
        raise ValueError(f"attention_weights: expected {allowed}, got {weights.dtype}")


def _autocast_is_on(device: str) -> bool:
    return device in AUTOCAST_DEVICES and torch.is_autocast_enabled(device)


def _names(*dtypes: torch.dtype) -> str:
    return " or ".join(str(dtype) for dtype in dtypes)


def _wide_dtype(value: Tensor) -> torch.dtype:
    """Dtype of the locations, of their gradients and of all sums."""
    return torch.float64 if value.dtype == torch.float64 else torch.float32


@torch.library.register_fake("vdit::ms_deform_attn")
def _fake(value: Tensor, spatial_shapes: list[int], locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])


@torch.library.register_fake("vdit::ms_deform_attn_backward")
def _fake_backward(
    grad_out: Tensor,
    value: Tensor,
    spatial_shapes: list[int],
    locations: Tensor,
    weights: Tensor,
    output_mask: list[bool],
) -> tuple[Tensor, ...]:
    wide = _wide_dtype(value)
    dtypes = (value.dtype, wide, wide)
    return tuple(
        like.new_empty(like.shape if wanted else (0,), dtype=dtype)
        for like, dtype, wanted in zip(
            (value, locations, weights), dtypes, output_mask, strict=True
        )
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, ctx.spatial_shapes, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)


def _alert_not_deterministic() -> None:
    """Do as torch does for its own operators: several threads add to one pixel in any order."""
    if not torch.are_deterministic_algorithms_enabled():
        return
    message = (
        "vdit::ms_deform_attn_backward is not deterministic on CUDA, but "
        "torch.use_deterministic_algorithms(True) is set; allow it with warn_only=True, or compute "
        "the gradients on the CPU"
    )
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(message)
    warnings.warn(message, UserWarning, stacklevel=2)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    value, locations, weights = ctx.saved_tensors
    if grad_out.is_cuda:
        _alert_not_deterministic()
    wanted = [ctx.needs_input_grad[position] for position in (0, 2, 3)]
    grads = torch.ops.vdit.ms_deform_attn_backward(
        grad_out, value, ctx.spatial_shapes, locations, weights, wanted
    )
    grad_value, grad_locations, grad_weights = (
        grad if want else None for grad, want in zip(grads, wanted, strict=True)
    )
    return grad_value, None, grad_locations, grad_weights


def _refuse_double_backward(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError("double backward of vdit::ms_deform_attn is not supported")


def _autocast(
    device: str, value: Tensor, spatial_shapes: list[int], locations: Tensor, weights: Tensor
) -> Tensor:
    """Cast value to the autocast dtype, the rest to float32, as 16-bit locations lose pixels."""
    with torch.autocast(device, enabled=False):
        if value.dtype != torch.float64:
            value = value.to(torch.get_autocast_dtype(device))
            locations, weights = locations.float(), weights.float()
        return torch.ops.vdit.ms_deform_attn(value, spatial_shapes, locations, weights)


torch.library.register_autograd("vdit::ms_deform_attn", _backward, setup_context=_setup_context)
torch.library.register_autograd("vdit::ms_deform_attn_backward", _refuse_double_backward)
for _device in AUTOCAST_DEVICES:
    library.impl(
        "ms_deform_attn", functools.partial(_autocast, _device), f"Autocast{_device.upper()}"
    )
