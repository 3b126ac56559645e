"""Fixtures of the tests against stored numbers: the files, and weights that follow a formula."""

import os
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

Arrays = dict[str, np.ndarray]


def _load(name: str) -> Arrays:
    folder = Path(os.environ.get("VDIT_GOLDEN_DIR") or Path(__file__).parent / "data")
    path = folder / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{name}.npz is not in {folder}")
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _formula_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    state = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    values = np.asarray(state.standard_normal(shape)).astype(np.float32)
    if len(shape) >= 2:
        return values / np.float32(np.sqrt(np.prod(shape[1:])))
    if name.endswith("weight"):
        return 1 + np.float32(0.1) * values
    return np.float32(0.1) * values


@torch.no_grad()
def _fill_from_formula(module: nn.Module, name_of: Callable[[str], str | None]) -> list[str]:
    filled = []
    for own_name, parameter in module.named_parameters():
        name = name_of(own_name)
        if name is None:
            continue
        parameter.copy_(torch.from_numpy(_formula_weight(name, tuple(parameter.shape))))
        filled.append(own_name)
    return filled


@pytest.fixture
def golden() -> Callable[[str], Arrays]:
    """Load "<folder>/<file>" from $VDIT_GOLDEN_DIR; skip the test where the file is absent."""
    return _load


@pytest.fixture
def formula_weight() -> Callable[[str, tuple[int, ...]], np.ndarray]:
    """Compute the float32 weight that belongs to a released parameter name and a shape."""
    return _formula_weight


@pytest.fixture
def fill_from_formula() -> Callable[[nn.Module, Callable[[str], str | None]], list[str]]:
    """Fill the parameters of a module in place; returns the names of those filled.

    `name_of` maps our parameter name to the released one; None leaves the parameter alone.
    """
    return _fill_from_formula


@pytest.fixture
def no_initialization(monkeypatch):
    """Build modules without drawing weights that are overwritten anyway."""

    @contextmanager
    def skipping():
        with monkeypatch.context() as patch:
            for name in (
                "normal_",
                "uniform_",
                "kaiming_uniform_",
                "xavier_uniform_",
                "trunc_normal_",
            ):
                patch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)
            yield

    return skipping
