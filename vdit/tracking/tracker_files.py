"""Trained trackers in folders: `tracker.json` and `tracker.safetensors`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vdit.atomic import replace_when_complete
from vdit.config import load_config
from vdit.models.track_queries import TrackQueryConfig, TrackQueryModel
from vdit.tracking.frame_features import FeatureConfig
from vdit.tracking.query_tracker import TrackerOptions

__all__ = ["TrackerSpec", "load_tracker", "save_tracker"]

SPEC_FILE, WEIGHTS_FILE = "tracker.json", "tracker.safetensors"


@dataclass(frozen=True)
class TrackerSpec:
    """What a trained tracker is.

    Attributes:
        model: sizes.
        features: what it sees of a frame.
        options: when its tracks begin and end, unless told otherwise.
        weights: of the backbone that it was trained on, see `name_weights`.
    """

    model: TrackQueryConfig = field(default_factory=TrackQueryConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    options: TrackerOptions = field(default_factory=TrackerOptions)
    weights: str = ""

    def expect(self, weights: str) -> None:
        """Refuse features of other weights than those that the tracker was trained on.

        Raises:
            ValueError: they are others.
        """
        if weights != self.weights:
            raise ValueError(
                f"expected the weights of {self.features.source.backbone} that the tracker was "
                f"trained on ({self.weights[:8]}), got others ({weights[:8]}); train it again, or "
                "install the version that it was trained with"
            )


def save_tracker(model: TrackQueryModel, spec: TrackerSpec, folder: Path) -> None:
    """Write weights first and the description last, each file complete or not at all."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    with replace_when_complete(Path(folder) / WEIGHTS_FILE) as partial:
        save_file(weights, partial)
    with replace_when_complete(Path(folder) / SPEC_FILE) as partial:
        partial.write_text(json.dumps(asdict(spec), indent=1) + "\n")


def load_tracker(folder: str | Path) -> tuple[TrackQueryModel, TrackerSpec]:
    """Load a tracker in eval mode, on the CPU.

    Raises:
        ValueError: the folder holds none, or its weights are damaged or of other sizes.
    """
    folder = Path(folder)
    if not (folder / SPEC_FILE).is_file():
        raise ValueError(
            f"expected {SPEC_FILE} in {folder}; `vdit train` with `stage: tracking` writes one"
        )
    spec = load_config(TrackerSpec, folder / SPEC_FILE)
    model = TrackQueryModel(spec.model)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"expected the weights of the tracker in {folder / WEIGHTS_FILE}: {reason}; train it "
            "again"
        ) from error
    return model.eval(), spec
