"""vdit: text-prompted video segmentation on diffusion features, and probes of such features."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "ReferringSegmenter": "vdit.segmenter",
    "SegmentOptions": "vdit.segment_options",
    "Prediction": "vdit.prediction",
    "build_backbone": "vdit.build",
    "FeatureOptions": "vdit.feature_options",
    "extract_features": "vdit.features",
}
__all__ = [
    "FeatureOptions",
    "Prediction",
    "ReferringSegmenter",
    "SegmentOptions",
    "__version__",
    "build_backbone",
    "extract_features",
]

# A checkout without symbolic links has no vdit/models: find the folders beside this package.
_here = Path(__file__).parent
if not (_here / "models").is_dir():
    __path__.append(str(_here.parent))


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'vdit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
