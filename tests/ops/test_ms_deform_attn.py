"""The operator against its reference, against loops, and against what must hold for any input."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.comparison import TOLERANCES, assert_close, gradients
from vdit.ops import ms_deform_attn
from vdit.ops.ms_deform_attn_reference import (
    ms_deform_attn_reference,
    ms_deform_attn_reference_backward,
)

DTYPES = pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda dtype: str(dtype)[6:])
PROBLEMS = [
    {},
    {"shapes": ((1, 1),), "points": 1, "channels": 1, "heads": 1},
    {"shapes": ((1, 7), (5, 1), (3, 3)), "points": 3, "channels": 33},
    {"shapes": ((6, 9), (3, 5), (2, 3), (1, 2)), "channels": 32, "heads": 2, "queries": 70},
]


def by_loops(value, shapes, locations, weights):
    """Follow the definition sample by sample: every pixel weighs max(0, 1 - distance) per axis."""
    batch, queries, heads, _, points = weights.shape
    out = torch.zeros(batch, queries, heads, value.shape[3], dtype=value.dtype)
    for n, q, m, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, points))):
        start = 0
        for level, (height, width) in enumerate(shapes):
            x, y = locations[n, q, m, level, p] * torch.tensor([width, height]) - 0.5
            share_x = (1 - (torch.arange(width) - x).abs()).clamp(min=0)
            share_y = (1 - (torch.arange(height) - y).abs()).clamp(min=0)
            pixels = value[n, start : start + height * width, m].unflatten(0, (height, width))
            sampled = torch.einsum("y,x,yxd->d", share_y, share_x, pixels)
            out[n, q, m] += weights[n, q, m, level, p] * sampled
            start += height * width
    return out.flatten(2)


def test_docstring_example():
    result = doctest.testmod(importlib.import_module("vdit.ops.ms_deform_attn"))
    assert (result.failed, result.attempted) == (0, 3)


@pytest.mark.parametrize("function", [ms_deform_attn, ms_deform_attn_reference])
@torch.no_grad()
def test_equals_definition(make_inputs, function):
    inputs = make_inputs(dtype=torch.float64, queries=3)
    assert_close(function(*inputs), by_loops(*inputs), 1e-12)


@DTYPES
@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_reference(make_inputs, dtype, problem):
    inputs = make_inputs(**problem, dtype=dtype)
    grad_out = torch.randn(inputs[2].shape[0], inputs[2].shape[1], inputs[0][0, 0].numel())
    grad_out = grad_out.to(dtype)
    actual = gradients(ms_deform_attn, inputs, grad_out)
    expected = gradients(ms_deform_attn_reference, inputs, grad_out)
    low, wide = TOLERANCES[dtype]
    for got, want, tolerance in zip(actual, expected, (low, low, wide, wide), strict=True):
        assert_close(got, want, tolerance)


@DTYPES
def test_reference_backward_equals_autograd(make_inputs, dtype):
    inputs = make_inputs(dtype=dtype)
    grad_out = torch.randn(2, 7, 24).to(dtype)
    _, *expected = gradients(ms_deform_attn_reference, inputs, grad_out)
    detached = [item.detach() if isinstance(item, torch.Tensor) else item for item in inputs]
    actual = ms_deform_attn_reference_backward(grad_out, *detached)
    for got, want in zip(actual, expected, strict=True):
        assert_close(got, want, 1e-6)


def test_weights_in_the_dtype_of_value(make_inputs):
    value, shapes, locations, weights = make_inputs(dtype=torch.bfloat16)
    low = weights.detach().bfloat16().requires_grad_()
    out = ms_deform_attn(value, shapes, locations, low)
    assert_close(out, ms_deform_attn(value, shapes, locations, low.float()), 0.0)
    out.float().sum().backward()
    assert low.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("queries", [0, 5])
@pytest.mark.parametrize("batch", [0, 3])
def test_empty_batch_and_no_queries(make_inputs, batch, queries):
    inputs = make_inputs(batch=batch, queries=queries)
    out, *grads = gradients(ms_deform_attn, inputs, torch.ones(batch, queries, 24))
    assert out.shape == (batch, queries, 24)
    assert [grad.shape for grad in grads] == [inputs[i].shape for i in (0, 2, 3)]
    if queries == 0:
        assert not grads[0].any()


@torch.no_grad()
def test_batch_of_154_frames(make_inputs):
    inputs = make_inputs(((2, 2),), batch=154, queries=2, heads=1, channels=4, points=1)
    assert_close(ms_deform_attn(*inputs), ms_deform_attn_reference(*inputs), 2e-5)


@pytest.mark.parametrize("function", [ms_deform_attn, ms_deform_attn_reference])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 1e300])
def test_locations_at_no_place_give_zero(make_inputs, function, bad):
    value, shapes, locations, weights = make_inputs(dtype=torch.float64)
    for axis in (0, 1):
        broken = locations.detach().clone()
        broken[:, 0, ..., axis] = bad
        inputs = (value, shapes, broken.requires_grad_(), weights)
        out, *grads = gradients(function, inputs, torch.ones(2, 7, 24, dtype=torch.float64))
        assert not out[:, 0].any()
        assert not grads[1][:, 0].any()
        assert not grads[2][:, 0].any()
        assert all(grad.isfinite().all() for grad in grads)


@torch.no_grad()
def test_pixels_outside_the_cell_do_not_leak(make_inputs):
    """An infinite value reaches only the samples that lie within a pixel of it."""
    value, shapes, _, weights = make_inputs(((3, 3),), dtype=torch.float64)
    locations = torch.full((2, 7, 3, 1, 4, 2), -0.1, dtype=torch.float64)  # left of pixel 0
    value[:, 1:] = float("inf")
    assert ms_deform_attn(value, shapes, locations, weights).isfinite().all()


def test_inputs_and_gradients_without_contiguity(make_inputs):
    value, shapes, locations, weights = make_inputs()
    strided = [item.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
               for item in (value, locations, weights)]  # fmt: skip
    assert not any(item.is_contiguous() for item in strided)
    grad_out = torch.randn(24, 7, 2).transpose(0, 2)
    actual = gradients(ms_deform_attn, (strided[0], shapes, *strided[1:]), grad_out)
    expected = gradients(ms_deform_attn, (value, shapes, locations, weights), grad_out.contiguous())
    for got, want in zip(actual, expected, strict=True):
        assert_close(got, want, 0.0)


def test_number_of_threads_changes_no_bit(make_inputs):
    inputs = make_inputs(queries=300)
    grad_out = torch.randn(2, 300, 24)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(gradients(ms_deform_attn, inputs, grad_out))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(got, want) for got, want in zip(other, results[0], strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("channels", [64, 37])
@torch.no_grad()
def test_every_16_bit_number_is_read_and_rounded_as_torch_does(dtype, channels):
    """A sample at the center of the only pixel, times a weight that asks for rounding."""
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    numbers = torch.nn.functional.pad(bits, (0, -len(bits) % channels)).view(dtype)
    value = numbers.view(-1, 1, 1, channels)
    locations = torch.full((len(value), 1, 1, 1, 1, 2), 0.5)
    for scale in (1.0, 1.0 / 3.0, 1e-3, 40.0):
        out = ms_deform_attn(
            value, [(1, 1)], locations, torch.full((len(value), 1, 1, 1, 1), scale)
        )
        expected = (torch.tensor(scale) * value.float()).to(dtype).flatten()
        torch.testing.assert_close(out.flatten(), expected, rtol=0, atol=0, equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), height=st.integers(1, 6), width=st.integers(1, 6))
def test_weight_at_one_pixel_center_returns_the_pixel(make_inputs, data, height, width):
    shapes = ((3, 2), (height, width))
    value, _, locations, weights = make_inputs(shapes, batch=1, queries=1, dtype=torch.float64)
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    with torch.no_grad():
        center = [(column + 0.5) / width, (row + 0.5) / height]
        locations[0, 0, :, 1, 2] = torch.tensor(center, dtype=torch.float64)
        weights.zero_()
        weights[0, 0, :, 1, 2] = 1
        out = ms_deform_attn(value, list(shapes), locations, weights)
        assert_close(out[0, 0], value[0, 6 + row * width + column].flatten(), 1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(-4, 4), channels=st.integers(1, 40))
@torch.no_grad()
def test_linear_in_value(make_inputs, seed, scale, channels):
    inputs = make_inputs(dtype=torch.float64, channels=channels, seed=seed)
    value, *rest = inputs
    other = torch.randn_like(value)
    mixed = ms_deform_attn(value + scale * other, *rest)
    separate = ms_deform_attn(value, *rest) + scale * ms_deform_attn(other, *rest)
    assert_close(mixed, separate, 1e-12)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(7)), seed=st.integers(0, 10_000))
@torch.no_grad()
def test_order_of_queries_commutes(make_inputs, order, seed):
    value, shapes, locations, weights = make_inputs(seed=seed)
    out = ms_deform_attn(value, shapes, locations, weights)
    shuffled = ms_deform_attn(value, shapes, locations[:, order], weights[:, order])
    assert torch.equal(shuffled, out[:, order])
