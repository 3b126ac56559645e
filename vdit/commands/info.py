"""`vdit info`: the first lines of every bug report."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from argparse import Namespace
from typing import Any

import torch
from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound

import vdit
from vdit.build import known_models
from vdit.model_spec import CLIP_VISION, MODELSCOPE, ROBERTA
from vdit.ops import extension_status

PACKAGES = (
    "torch numpy scipy pillow av omegaconf safetensors pycocotools diffusers transformers "
    "huggingface-hub open-clip-torch mmcv detectron2"
).split()


def run(arguments: Namespace) -> None:
    """Print versions, devices, kernels and models."""
    facts = collect()
    if arguments.json:
        print(json.dumps(facts))
        return
    for section, values in facts.items():
        lines = values.items() if isinstance(values, dict) else [(section, values)]
        if isinstance(values, dict):
            print(f"{section}:")
        for name, value in lines:
            print(f"  {name}: {value}" if isinstance(values, dict) else f"{name}: {value}")


def collect() -> dict[str, Any]:
    """Gather the facts."""
    return {
        "vdit": vdit.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "kernels": extension_status(),
        "models": {**dict.fromkeys(known_models(), "built in"), **_downloaded()},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> dict[str, str]:
    devices = {
        "cpu": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    }
    for i in range(torch.cuda.device_count()):
        devices[f"cuda:{i}"] = torch.cuda.get_device_name(i)
    return devices


def _downloaded() -> dict[str, str]:
    """Tell which networks of the released model the hub's cache holds."""
    try:
        cached = {repository.repo_id for repository in scan_cache_dir().repos}
    except CacheNotFound:
        cached = set()
    return {
        name: "in the hub's cache" if name in cached else "not downloaded"
        for name in (MODELSCOPE, CLIP_VISION, ROBERTA)
    }
