"""The five-tensor signature of Deformable-DETR and mmcv."""

from __future__ import annotations

import pytest
import torch

from vdit.ops import ms_deform_attn
from vdit.ops.hosts import multi_scale_deform_attn

SHAPES = torch.tensor([[4, 5], [2, 3]])


@pytest.mark.parametrize("step", [1, 64])
def test_equals_the_operator(make_inputs, step):
    value, shapes, *rest = make_inputs(batch=3)
    out = multi_scale_deform_attn(value, SHAPES, torch.tensor([0, 20]), *rest, step)
    assert torch.equal(out, ms_deform_attn(value, shapes, *rest))


def test_takes_locations_in_half_precision(make_inputs):
    value, shapes, locations, weights = make_inputs()
    low = [tensor.half() for tensor in (value, locations, weights)]
    out = multi_scale_deform_attn(low[0], SHAPES, torch.tensor([0, 20]), *low[1:])
    assert torch.equal(out, ms_deform_attn(low[0], shapes, low[1].float(), low[2].float()))


def test_start_indices_must_follow_from_the_shapes(make_inputs):
    value, _, *rest = make_inputs()
    message = r"^value_level_start_index: expected \[0, 20\] .*, got \[0, 6\]$"
    with pytest.raises(ValueError, match=message):
        multi_scale_deform_attn(value, SHAPES, torch.tensor([0, 6]), *rest)
