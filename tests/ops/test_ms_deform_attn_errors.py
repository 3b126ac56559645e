"""Every wrong argument is named, with what was expected and what came."""

from __future__ import annotations

import re

import pytest
import torch

from vdit.ops import ms_deform_attn

CASES = {
    "rank of value": (
        {"value": torch.zeros(2, 26, 24)},
        "value: expected [N, S, M, D], got [2, 26, 24]",
    ),
    "pixels": (
        {"value": torch.zeros(2, 25, 3, 8)},
        "value: expected [N, 26, M, D] to match spatial_shapes [(4, 5), (2, 3)], got [2, 25, 3, 8]",
    ),
    "no levels": (
        {"spatial_shapes": []},
        "spatial_shapes: expected (h, w) of each level, all >= 1, got []",
    ),
    "empty level": (
        {"spatial_shapes": [(4, 5), (2, 0)]},
        "spatial_shapes: expected (h, w) of each level, all >= 1, got [(4, 5), (2, 0)]",
    ),
    "triple": (
        {"spatial_shapes": [(4, 5, 1), (2, 3)]},
        "spatial_shapes: expected (h, w) of each level, all >= 1, got [(4, 5, 1), (2, 3)]",
    ),
    "tensor of shapes": (
        {"spatial_shapes": torch.tensor([[4, 5], [2, 3]])},
        "spatial_shapes: expected a sequence of (h, w) numbers, got a tensor; "
        "pass spatial_shapes.tolist()",
    ),
    "levels": (
        {"sampling_locations": torch.zeros(2, 7, 3, 3, 4, 2)},
        "sampling_locations: expected [2, Q, 3, 2, P, 2] to match value [2, 26, 3, 8] and "
        "2 levels, got [2, 7, 3, 3, 4, 2]",
    ),
    "rank of locations": (
        {"sampling_locations": torch.zeros(2, 7, 3, 2, 4)},
        "sampling_locations: expected [2, Q, 3, 2, P, 2] to match value [2, 26, 3, 8] and "
        "2 levels, got [2, 7, 3, 2, 4]",
    ),
    "batch of locations": (
        {"sampling_locations": torch.zeros(1, 7, 3, 2, 4, 2)},
        "sampling_locations: expected [2, Q, 3, 2, P, 2] to match value [2, 26, 3, 8] and "
        "2 levels, got [1, 7, 3, 2, 4, 2]",
    ),
    "points of weights": (
        {"attention_weights": torch.zeros(2, 7, 3, 2, 3)},
        "attention_weights: expected [2, 7, 3, 2, 4] to match sampling_locations, "
        "got [2, 7, 3, 2, 3]",
    ),
    "dtype of value": (
        {"value": torch.zeros(2, 26, 3, 8, dtype=torch.int64)},
        "value: expected one of torch.float32 or torch.float64 or torch.bfloat16 or "
        "torch.float16, got torch.int64",
    ),
    "dtype of locations": (
        {"sampling_locations": torch.zeros(2, 7, 3, 2, 4, 2, dtype=torch.bfloat16)},
        "sampling_locations: expected torch.float32 for a value of torch.float32, "
        "got torch.bfloat16; cast them",
    ),
    "locations of float64": (
        {"value": torch.zeros(2, 26, 3, 8, dtype=torch.float64)},
        "sampling_locations: expected torch.float64 for a value of torch.float64, "
        "got torch.float32; cast them",
    ),
    "dtype of weights": (
        {
            "value": torch.zeros(2, 26, 3, 8, dtype=torch.bfloat16),
            "attention_weights": torch.zeros(2, 7, 3, 2, 4, dtype=torch.float16),
        },
        "attention_weights: expected torch.float32 or torch.bfloat16, got torch.float16",
    ),
    "device": (
        {"attention_weights": torch.zeros(2, 7, 3, 2, 4, device="meta")},
        "attention_weights: expected device cpu as value, got meta",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_message(make_inputs, name):
    changed, message = CASES[name]
    names = ("value", "spatial_shapes", "sampling_locations", "attention_weights")
    arguments = dict(zip(names, make_inputs(), strict=True)) | changed
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ms_deform_attn(**arguments)


def test_kernel_refuses_what_would_read_beyond_the_arrays(make_inputs):
    """A call past the checks, by the registered name, raises instead of reading foreign memory."""
    value, _, locations, weights = make_inputs()
    operator = torch.ops.vdit.ms_deform_attn
    cases = (
        ([9, 9], locations, weights),
        ([4, 5, 2, 3], locations[:, :, :2], weights[:, :, :2]),
        ([4, 5, 2, 3], locations, weights[:, :3]),
    )
    for shapes, places, shares in cases:
        with pytest.raises((RuntimeError, ValueError)):
            operator(value, shapes, places, shares)
