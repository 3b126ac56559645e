"""Fixtures that several folders of tests share."""

import os
from pathlib import Path

import pytest
import torch

from vdit.architectures import MINI, build_networks
from vdit.backbone_loading.modelscope import modelscope
from vdit.build import byte_tokenizers

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def assets():
    """Folder with real data; tests that ask for it are marked `assets` and skip without it."""
    folder = Path(os.environ.get("VDIT_ASSETS_DIR") or ROOT.parent / "shared" / "assets")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set VDIT_ASSETS_DIR")
    return folder


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def seeded():
    """Weights that a test draws are the same every time; other tests do not notice."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def mini_networks():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_networks(MINI) | byte_tokenizers()


@pytest.fixture
def mini_backbone(mini_networks):
    return modelscope(mini_networks)
