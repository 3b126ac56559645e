"""How results of the operator are compared, whoever computed them."""

from __future__ import annotations

import torch

# dtype -> (of the output and the gradient of value, of the float32 or float64 gradients)
TOLERANCES = {
    torch.float64: (1e-12, 1e-12),
    torch.float32: (2e-5, 1e-4),
    torch.bfloat16: (1e-2, 1e-4),
    torch.float16: (1e-3, 1e-4),
}


def gradients(function, inputs, grad_out):
    """Output and the gradients of value, locations and weights."""
    value, shapes, locations, weights = inputs
    out = function(value, shapes, locations, weights)
    return out.detach(), *torch.autograd.grad(out, (value, locations, weights), grad_out)


def assert_close(actual, expected, tolerance):
    """Compare on the CPU, up to a share of the largest expected number."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    bound = tolerance * max(1.0, float(expected.detach().abs().max())) if expected.numel() else 0.0
    torch.testing.assert_close(actual.cpu(), expected.cpu(), rtol=0, atol=bound)
