"""The compiled CUDA kernels on a device."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from tests.ops.comparison import TOLERANCES, assert_close, gradients
from vdit.ops import extension_status, ms_deform_attn
from vdit.ops.ms_deform_attn_reference import ms_deform_attn_reference

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PROBLEMS = [
    {},
    {"shapes": ((1, 1),), "points": 1, "channels": 1, "heads": 1},
    {"shapes": ((1, 7), (5, 1), (3, 3)), "points": 3, "channels": 33},
    {"shapes": ((6, 9), (3, 5), (2, 3), (1, 2)), "channels": 32, "heads": 8, "queries": 700},
    {"channels": 160, "queries": 50},
    {"shapes": ((2, 2),), "batch": 154, "queries": 2, "heads": 1, "channels": 4, "points": 1},
]


def on_device(inputs):
    return [
        item.detach().cuda().requires_grad_() if isinstance(item, torch.Tensor) else item
        for item in inputs
    ]


def test_kernels_are_compiled():
    assert extension_status()["cuda"] == "compiled", extension_status()["cuda_reason"]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_reference(make_inputs, dtype, problem):
    inputs = make_inputs(**problem, dtype=dtype)
    grad_out = torch.randn(len(inputs[0]), inputs[2].shape[1], inputs[0][0, 0].numel()).to(dtype)
    actual = gradients(ms_deform_attn, on_device(inputs), grad_out.cuda())
    expected = gradients(ms_deform_attn_reference, inputs, grad_out)
    low, wide = TOLERANCES[dtype]
    for got, want, tolerance in zip(actual, expected, (low, low, wide, wide), strict=True):
        assert_close(got, want, tolerance)


@pytest.mark.parametrize("channels", [1, 3, 8, 30, 32, 71])
def test_gradients(make_inputs, channels):
    inputs = on_device(make_inputs(queries=3, channels=channels, dtype=torch.float64))
    value, shapes, *rest = inputs
    assert gradcheck(
        lambda *tensors: ms_deform_attn(tensors[0], shapes, *tensors[1:]),
        (value, *rest),
        fast_mode=True,
        nondet_tol=1e-10,
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_locations_at_no_place_give_zero(make_inputs, bad):
    value, shapes, locations, weights = on_device(make_inputs())
    broken = locations.detach().clone()
    broken[:, 0, ..., 0] = bad
    grad_out = torch.ones(2, 7, 24, device="cuda")
    out, *grads = gradients(
        ms_deform_attn, (value, shapes, broken.requires_grad_(), weights), grad_out
    )
    assert not out[:, 0].any()
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize(("batch", "queries"), [(0, 3), (2, 0)])
def test_empty(make_inputs, batch, queries):
    inputs = on_device(make_inputs(batch=batch, queries=queries))
    out, *grads = gradients(ms_deform_attn, inputs, torch.ones(batch, queries, 24, device="cuda"))
    assert out.shape == (batch, queries, 24)
    assert not grads[0].any()


def test_memory_that_is_not_aligned(make_inputs):
    value, shapes, locations, weights = on_device(make_inputs())
    shifted = torch.zeros(value.numel() + 1, device="cuda")
    shifted[1:] = value.detach().flatten()
    moved = shifted[1:].view(value.shape)
    torch.testing.assert_close(
        ms_deform_attn(moved, shapes, locations, weights),
        ms_deform_attn(value, shapes, locations, weights),
    )


def test_other_stream_and_graph(make_inputs):
    inputs = [item.detach() if isinstance(item, torch.Tensor) else item
              for item in on_device(make_inputs())]  # fmt: skip
    expected = ms_deform_attn(*inputs)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        ms_deform_attn(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = ms_deform_attn(*inputs)
    inputs[0].mul_(2)
    graph.replay()
    torch.testing.assert_close(out, 2 * expected)


def test_autocast_and_compile(make_inputs):
    value, shapes, locations, weights = on_device(make_inputs())
    compiled = torch.compile(ms_deform_attn, fullgraph=True)
    with torch.autocast("cuda", torch.bfloat16):
        out = compiled(value, shapes, locations, weights)
        assert out.dtype == torch.bfloat16
    expected = ms_deform_attn(value, shapes, locations, weights).detach()
    assert_close(out.detach().float(), expected, 2e-2)


def test_alert_where_sums_have_no_order(make_inputs):
    value, shapes, *rest = on_device(make_inputs())
    out = ms_deform_attn(value, shapes, *rest)
    try:
        torch.use_deterministic_algorithms(True)
        with pytest.raises(RuntimeError, match="not deterministic on CUDA"):
            out.sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
