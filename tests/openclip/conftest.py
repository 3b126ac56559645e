"""Make torchvision importable beside a torch without CUDA, before anything asks for it.

The wheels of torchvision need CUDA's libraries. Without them its operators are missing, and its
import fails while it describes two of them; with their schemas declared it passes. The operators
still cannot run, and nothing here runs them.
"""

import importlib.util
from pathlib import Path

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
library = torch.library.Library("torchvision", "FRAGMENT")  # kept: schemas live as long as it


def declare_missing_operators() -> None:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for kernels in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(kernels)
        except OSError:
            for name in ("nms", "qnms"):
                library.define(name + SCHEMA)


declare_missing_operators()
