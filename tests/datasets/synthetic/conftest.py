"""Helpers of the tests of sentences, as modules of this folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def load_beside(name):
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def solver():
    """Reads sentences back."""
    return load_beside("caption_solver")


@pytest.fixture(scope="session")
def worlds():
    """Makes objects, cameras and boxes without the renderer."""
    return load_beside("caption_worlds")
