"""Measure whether the UNet of a small model uses its text and the order of frames.

python tools/measure_unet.py --model runs/mini -o unet.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import yaml

from vdit.atomic import replace_when_complete
from vdit.build import find_folder, quiet_libraries
from vdit.config import load_config
from vdit.evaluation.denoising import denoising_losses
from vdit.stages.diffusion import DiffusionConfig, held_out_latents
from vdit.stages.parts import load_parts


def main() -> None:
    """Compare validation losses: own text, another clip's, frames in another order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vdit-mini", help="name, folder or hub id")
    parser.add_argument("--config", type=Path, default=Path("configs/mini/7_diffusion.yaml"))
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("-o", "--output", type=Path, default=Path("unet.json"))
    options = parser.parse_args()
    quiet_libraries()
    content = yaml.safe_load(options.config.read_text())
    content.pop("stage")
    config = load_config(DiffusionConfig, content, [])
    names = ["unet", "scheduler", "vae", "text_encoder", "tokenizer"]
    parts = load_parts(find_folder(options.model), names)
    held_out = held_out_latents(parts, config.data, options.clips)
    losses = denoising_losses(parts["unet"], parts["scheduler"], *held_out)
    means = {name: float(np.mean(values)) for name, values in losses.items()}
    rises = {name: means[name] / means["own"] - 1 for name in ("other", "shuffled_frames")}
    report = {"clips": options.clips, "means": means, "rises": rises, "by_level": losses}
    with replace_when_complete(options.output) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({"means": means, "rises": rises}))


if __name__ == "__main__":
    main()
