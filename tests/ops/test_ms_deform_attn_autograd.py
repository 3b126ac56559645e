"""Gradients, tracing and mixed precision of the operator."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck
from torch.fx.experimental.proxy_tensor import make_fx

from vdit.ops import ms_deform_attn
from vdit.ops.ms_deform_attn import _alert_not_deterministic
from vdit.ops.ms_deform_attn_reference import ms_deform_attn_reference

SHAPES = {1: ((2, 3),), 2: ((3, 4), (2, 1)), 4: ((3, 4), (2, 2), (1, 2), (1, 1))}
OP = torch.ops.vdit.ms_deform_attn.default
BACKWARD = torch.ops.vdit.ms_deform_attn_backward.default


def flat(shapes):
    return [size for shape in shapes for size in shape]


@pytest.mark.parametrize("channels", [1, 3, 8, 30, 32, 71])
@pytest.mark.parametrize(("levels", "points"), [(1, 1), (1, 4), (2, 3), (4, 1)])
def test_gradients(make_inputs, channels, levels, points):
    value, shapes, locations, weights = make_inputs(
        SHAPES[levels], queries=3, heads=2, channels=channels, points=points, dtype=torch.float64
    )

    def function(value, locations, weights):
        return ms_deform_attn(value, shapes, locations, weights)

    inputs = (value, locations, weights)
    assert gradcheck(function, inputs, fast_mode=True)
    if channels <= 3:
        assert gradcheck(function, inputs)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_the_wanted_gradients_are_computed(make_inputs, wanted):
    value, shapes, *rest = make_inputs()
    tensors = [value, *rest]
    full = torch.autograd.grad(ms_deform_attn(value, shapes, *rest).sum(), tensors)
    leaves = [t.detach().requires_grad_(i in wanted) for i, t in enumerate(tensors)]
    ms_deform_attn(leaves[0], shapes, *leaves[1:]).sum().backward()
    for position, leaf in enumerate(leaves):
        assert (leaf.grad is not None) == (position in wanted)
        if position in wanted:
            assert torch.equal(leaf.grad, full[position])
    mask = [position in wanted for position in range(3)]
    grads = BACKWARD(torch.ones(2, 7, 24), tensors[0], flat(shapes), *tensors[1:], mask)
    assert [grad.numel() > 0 for grad in grads] == mask


def test_no_grad_records_nothing(make_inputs):
    with torch.no_grad():
        assert not ms_deform_attn(*make_inputs()).requires_grad


def test_double_backward_is_refused(make_inputs):
    value, shapes, locations, weights = make_inputs()
    out = ms_deform_attn(value, shapes, locations, weights)
    (grad,) = torch.autograd.grad(out.square().sum(), locations, create_graph=True)
    message = "double backward of vdit::ms_deform_attn is not supported"
    with pytest.raises(NotImplementedError, match=message):
        grad.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 2])
def test_opcheck_forward(make_inputs, dtype, batch):
    value, shapes, locations, weights = make_inputs(batch=batch, dtype=dtype)
    for tensors in ((value, locations, weights), (value.detach(), locations.detach(), weights)):
        torch.library.opcheck(OP, (tensors[0], flat(shapes), *tensors[1:]))
    low = weights.detach().to(dtype).requires_grad_()
    torch.library.opcheck(OP, (value, flat(shapes), locations, low))


@pytest.mark.parametrize("mask", [[True, True, True], [False, True, False]])
def test_opcheck_backward(make_inputs, mask):
    value, shapes, *rest = make_inputs()
    tensors = [tensor.detach() for tensor in rest]
    torch.library.opcheck(
        BACKWARD, (torch.randn(2, 7, 24), value.detach(), flat(shapes), *tensors, mask)
    )


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_equals_eager(make_inputs, dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda *args: ms_deform_attn(*args).square(),
        fullgraph=True,
        dynamic=dynamic,
        backend="aot_eager",
    )
    for queries, shapes in ((7, ((4, 5), (2, 3))), (9, ((4, 6), (3, 3)))):
        value, shapes, *rest = make_inputs(shapes, queries=queries)
        actual = compiled(value, shapes, *rest)
        expected = ms_deform_attn(value, shapes, *rest).square()
        assert torch.equal(actual, expected)
        for got, want in zip(
            torch.autograd.grad(actual.sum(), (value, *rest)),
            torch.autograd.grad(expected.sum(), (value, *rest)),
            strict=True,
        ):
            assert torch.equal(got, want)


def test_compiled_by_inductor(make_inputs):
    torch._dynamo.reset()
    inputs = make_inputs()
    with torch.no_grad():
        compiled = torch.compile(ms_deform_attn, fullgraph=True)
        torch.testing.assert_close(compiled(*inputs), ms_deform_attn(*inputs), rtol=0, atol=0)


def test_export_keeps_the_operator(make_inputs):
    class Layer(torch.nn.Module):
        def forward(self, value, locations, weights):
            return ms_deform_attn(value, [(4, 5), (2, 3)], locations, weights)

    value, _, *rest = (t.detach() if isinstance(t, torch.Tensor) else t for t in make_inputs())
    program = torch.export.export(Layer(), (value, *rest))
    assert any(node.target is OP for node in program.graph.nodes)
    expected = ms_deform_attn(value, [(4, 5), (2, 3)], *rest)
    assert torch.equal(program.module()(value, *rest), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_fake_tensors_have_the_shapes_of_real_ones(make_inputs, dtype):
    value, shapes, *rest = make_inputs(dtype=dtype)
    real = ms_deform_attn(value, shapes, *rest)
    real_grads = BACKWARD(real, value, flat(shapes), *rest, [True, False, True])
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(tensor.detach()) for tensor in (value, *rest)]
        fake = ms_deform_attn(fakes[0], shapes, *fakes[1:])
        fake_grads = BACKWARD(fake, fakes[0], flat(shapes), *fakes[1:], [True, False, True])
        with pytest.raises(ValueError, match=r"^value: expected \[N, 6, M, D\]"):
            ms_deform_attn(fakes[0], [(2, 3)], *fakes[1:])
    for got, want in zip((fake, *fake_grads), (real, *real_grads), strict=True):
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())


def test_meta_device(make_inputs):
    value, shapes, *rest = make_inputs()
    out = ms_deform_attn(value.to("meta"), shapes, *(tensor.to("meta") for tensor in rest))
    assert (out.shape, out.device.type) == ((2, 7, 24), "meta")


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_keeps_locations_wide(make_inputs, low):
    value, shapes, locations, weights = make_inputs()
    with torch.autocast("cpu", low):
        out = ms_deform_attn(value, shapes, locations, weights)
        out.float().sum().backward()
    assert out.dtype == low
    expected = ms_deform_attn(value.detach().to(low), shapes, locations, weights)
    assert torch.equal(out, expected)
    assert {tensor.grad.dtype for tensor in (value, locations, weights)} == {torch.float32}


@pytest.mark.parametrize("inputs_dtype", [torch.float32, torch.bfloat16])
def test_autocast_accepts_what_linear_layers_give(make_inputs, inputs_dtype):
    value, shapes, locations, weights = make_inputs()
    low = [tensor.detach().to(inputs_dtype) for tensor in (value, locations, weights)]
    with torch.autocast("cpu", torch.bfloat16):
        out = ms_deform_attn(low[0], shapes, *low[1:])
    expected = ms_deform_attn(low[0].bfloat16(), shapes, low[1].float(), low[2].float())
    assert torch.equal(out, expected)


def test_autocast_leaves_float64_alone(make_inputs):
    inputs = make_inputs(dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        out = ms_deform_attn(*inputs)
    assert torch.equal(out, ms_deform_attn(*inputs))


def test_autocast_inside_a_compiled_function(make_inputs):
    torch._dynamo.reset()
    value, shapes, *rest = (t.detach() if isinstance(t, torch.Tensor) else t for t in make_inputs())
    compiled = torch.compile(ms_deform_attn, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        actual, expected = (f(value, shapes, *rest) for f in (compiled, ms_deform_attn))
    assert actual.dtype == torch.bfloat16
    assert torch.equal(actual, expected)


def test_gradient_scaling_under_autocast(make_inputs):
    """Scaled float16 gradients, unscaled, equal the plain ones up to float16."""
    value, shapes, *rest = make_inputs()
    with torch.autocast("cpu", torch.float16):
        (ms_deform_attn(value, shapes, *rest).float().sum() * 1024).backward()
    expected = torch.autograd.grad(ms_deform_attn_reference(value, shapes, *rest).sum(), value)
    torch.testing.assert_close(value.grad / 1024, expected[0], rtol=2e-3, atol=2e-3)


def test_traced_graph_holds_one_node(make_inputs):
    value, shapes, *rest = (t.detach() if isinstance(t, torch.Tensor) else t for t in make_inputs())
    graph = make_fx(lambda v, loc, w: ms_deform_attn(v, shapes, loc, w))(value, *rest).graph
    assert [node.target for node in graph.nodes if node.op == "call_function"] == [OP]


def test_alert_where_sums_have_no_order():
    _alert_not_deterministic()
    try:
        torch.use_deterministic_algorithms(True)
        with pytest.raises(RuntimeError, match="not deterministic on CUDA"):
            _alert_not_deterministic()
        torch.use_deterministic_algorithms(True, warn_only=True)
        with pytest.warns(UserWarning, match="not deterministic on CUDA"):
            _alert_not_deterministic()
    finally:
        torch.use_deterministic_algorithms(False)


def test_cpu_gradients_need_no_alert(make_inputs):
    value, shapes, *rest = make_inputs()
    try:
        torch.use_deterministic_algorithms(True)
        ms_deform_attn(value, shapes, *rest).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert value.grad is not None
