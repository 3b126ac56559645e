"""Activation checkpointing: layers of a pass are run again in the backward pass.

Every walk through a network calls its layers as `run(layer, *inputs)`; `run` keeps what a layer
computes inside for the backward pass, or only its inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

Run = Callable[..., Any]


def run_now(layer: Callable[..., Any], *inputs: Any) -> Any:
    """Run a layer once; autograd keeps what it needs."""
    return layer(*inputs)


def run_again_later(layer: Callable[..., Any], *inputs: Any) -> Any:
    """Run a layer and keep its inputs alone; the backward pass runs it a second time.

    Values and gradients are the same: random numbers, of dropout, are drawn alike.

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174, 2016.
    """
    if not torch.is_grad_enabled():
        return layer(*inputs)
    return checkpoint(layer, *inputs, use_reentrant=False)
