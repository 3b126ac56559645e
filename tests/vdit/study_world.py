"""A study in miniature: random networks where trainings would leave them, few small clips."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from tests.models.tiny_walt import TOKENIZER, lively
from vdit.backbone_loading.walt import WaltFolder, save_walt
from vdit.models.backbones.walt_tokenizer import VideoTokenizer
from vdit.models.backbones.walt_transformer import Walt, WaltConfig
from vdit.stages.walt import FOLDERS

SHIPPED = Path(__file__).parents[2] / "configs" / "study" / "image_vs_video"
FRAMES, SIDE = 9, 32
NETWORK = WaltConfig(
    width=16,
    depth=2,
    heads=2,
    latent_channels=4,
    frames=3,
    space_window=(4, 4),
    spacetime_window=(2, 2),
)
STEPS = 20
STUDY = {
    "sizes": {
        "tiny": {"block": "block2", "steps": STEPS, "video": "tiny_video", "image": "tiny_image"},
        "wide": {"block": "block1", "steps": STEPS, "video": "wide_video", "image": "wide_image"},
    },
    "pairs": [
        {"size": "tiny", "seed": 0, "folder": "walt"},
        {"size": "tiny", "seed": 1, "folder": "walt-1"},
        {"size": "wide", "seed": 0, "folder": "walt-wide"},
    ],
    "size": "tiny",
    "budget": {"steps": [10], "seeds": [0]},
    "sweep": {"blocks": ["block1", "block2"], "timesteps": [0, 200], "seeds": [0]},
    "probes": {"motion": "motion-type", "pose": "camera"},
    "trees": {
        name: {"train": 5, "val": 3, "frames": FRAMES, "height": SIDE, "width": SIDE}
        for name in ("category", "motion-type", "camera", "tracking")
    },
    "pictures": {"recipes": ["motion-type"]},
}


def save_network(folder, kind, seed, **sizes):
    """A random WALT in the folder that a training would have written."""
    config = WaltConfig(**{**vars(NETWORK), **sizes})
    config = config if kind == "video" else config.as_image_model()
    torch.manual_seed(seed)
    network, tokenizer = lively(Walt(config)), VideoTokenizer(TOKENIZER)
    save_walt(folder / FOLDERS[kind], WaltFolder(config, TOKENIZER), network, tokenizer)


def save_networks(models):
    """All of the study but I-WALT of seed 1, with metrics of the trainings of seed 0."""
    for kind in FOLDERS:
        save_network(models / "walt", kind, 0)
        training = models / "walt-training" / f"tiny_{kind}"
        save_network(training / "samples" / "000010", kind, 5)
        lines = [
            {"step": 10, "loss": 1.0},
            {"step": 10, "validation/stills": 0.9},
            {"step": STEPS, "validation/stills": 0.7},
        ]
        (training / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
        save_network(models / "walt-wide", kind, 2, width=32)
    save_network(models / "walt-1", "video", 1)


def write_study(folder, **changes):
    """Write a small study, and the shipped probes made small."""
    folder.mkdir(parents=True, exist_ok=True)
    content = STUDY | changes
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    for name in content["probes"]:
        probe = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
        probe["view"]["num_frames"] = FRAMES
        if name == "depth":
            probe["view"]["position"] = 4
            probe["data"]["options"]["labelled"] = [4]
        probe["run"] |= {"steps": 3, "batch": 4, "warmup": 1}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(probe))
    return folder
