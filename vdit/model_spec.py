"""What a model folder says of itself: variant, sizes, and where its frozen networks come from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vdit.config import load_config
from vdit.models.vdit import VDITConfig

BUNDLED = {"vdit-mini": Path(__file__).parent / "bundled" / "vdit-mini"}
"""Models that come with the package; their cards say what they were trained on."""
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
MODELSCOPE = "ali-vilab/text-to-video-ms-1.7b"
CLIP_VISION = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
ROBERTA = "FacebookAI/roberta-base"

RENAMED = {
    "damo-vilab/text-to-video-ms-1.7b": MODELSCOPE,
    "damo-vilab/modelscope-damo-text-to-video-synthesis": MODELSCOPE,
    "roberta-base": ROBERTA,
}
"""Hub ids that moved, old -> new."""


@dataclass(frozen=True)
class Parts:
    """Source of every frozen network and tokenizer: hub id or folder, "#" and a subfolder.

    A source that starts with "./" lies in the model's own folder. The image tower may also be
    "open_clip:TAG", which needs the extra `[openclip]`.
    """

    unet: str = f"{MODELSCOPE}#unet"
    vae: str = f"{MODELSCOPE}#vae"
    scheduler: str = f"{MODELSCOPE}#scheduler"
    text_encoder: str = f"{MODELSCOPE}#text_encoder"
    tokenizer: str = f"{MODELSCOPE}#tokenizer"
    image_encoder: str = CLIP_VISION
    roberta: str = ROBERTA
    roberta_tokenizer: str = ROBERTA


@dataclass(frozen=True)
class ModelSpec:
    """Content of a model folder's `config.json`.

    Attributes:
        name: how the model calls itself in outputs.
        trained: False where the head has random weights, so that every output can say so.
        model: variant and sizes.
        parts: where the frozen networks are.
        short_side: pixels of a frame's short side that the model was made for.
    """

    name: str
    trained: bool = True
    model: VDITConfig = field(default_factory=VDITConfig)
    parts: Parts = field(default_factory=Parts)
    short_side: int = 360


def pipeline_parts(place: str) -> Parts:
    """Sources of a text-to-video pipeline (folder or hub id) in the layout of diffusers."""
    return Parts(
        **{
            part: f"{place}#{part}"
            for part in ("unet", "vae", "scheduler", "text_encoder", "tokenizer")
        }
    )


def local_parts() -> Parts:
    """Sources of a folder that holds everything itself, in the layout of diffusers."""
    return Parts(
        unet="./unet",
        vae="./vae",
        scheduler="./scheduler",
        text_encoder="./text_encoder",
        tokenizer="./tokenizer",
        image_encoder="./image_encoder",
        roberta="./roberta",
        roberta_tokenizer="./roberta_tokenizer",
    )


def split_source(source: str, folder: Path | None = None) -> tuple[str, str | None]:
    """Split "repo#subfolder", follow renamed hub ids, and anchor "./" at the model's folder.

    >>> split_source("damo-vilab/text-to-video-ms-1.7b#unet")
    ('ali-vilab/text-to-video-ms-1.7b', 'unet')
    """
    place, _, subfolder = source.partition("#")
    if place.startswith("./") and folder is not None:
        place = str(folder / place[2:])
    return RENAMED.get(place, place), subfolder or None


def read_spec(folder: Path) -> ModelSpec:
    """Read `config.json` of a model folder; a ValueError names what is wrong with it."""
    return load_config(ModelSpec, folder / CONFIG_FILE)


def write_spec(spec: ModelSpec, folder: Path) -> None:
    """Write `config.json`."""
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(spec), indent=2) + "\n")
