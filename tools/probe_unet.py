"""Ask a small model's UNet, by a linear probe, for the category and the color of rendered objects.

python tools/probe_unet.py --model runs/mini --timesteps 0 3 6
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vdit.backbone_loading.modelscope import modelscope
from vdit.build import find_folder, quiet_libraries
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.referring_recipes import SIMPLE_COLORS, SIMPLE_HEIGHTS
from vdit.datasets.synthetic.render import annotate, render_frames
from vdit.stages.parts import load_parts

FIRST_SEED = 600_000
BLOCKS = ("in", "down0", "down1", "up0", "up1", "up2")
FEWEST_PIXELS = 60
DECAYS = (1.0, 10.0, 100.0, 1000.0)


def probe(features: Tensor, labels: Tensor, is_train: Tensor) -> float:
    """Accuracy of ridge regression to one-hot labels; the best of a few decays on the rest."""
    mean, std = features[is_train].mean(dim=0), features[is_train].std(dim=0)
    x = F.pad((features - mean) / (std + 1e-6), (0, 1), value=1.0)
    y = F.one_hot(labels).float()
    gram, moment = x[is_train].T @ x[is_train], x[is_train].T @ y[is_train]
    accuracies = []
    for decay in DECAYS:
        weights = torch.linalg.solve(gram + decay * torch.eye(len(gram)), moment)
        right = (x[~is_train] @ weights).argmax(dim=1) == labels[~is_train]
        accuracies.append(float(right.float().mean()))
    return max(accuracies)


@torch.no_grad()
def main() -> None:
    """Probe every block at every timestep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vdit-mini", help="name, folder or hub id")
    parser.add_argument("--clips", type=int, default=260, help="of one frame; 30 %% are tested on")
    parser.add_argument("--timesteps", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    quiet_libraries()
    names = ["unet", "vae", "scheduler", "text_encoder", "tokenizer"]
    backbone = modelscope(load_parts(find_folder(options.model), names), "improved")
    frames, masks, clips, labels = [], [], [], []
    for index in range(options.clips):
        scene = make_scene("crossed", FIRST_SEED + index, 1, 96, 96)
        frames.append(render_frames(scene)[0])
        for spec, mask in zip(scene.objects, annotate(scene).masks[:, 0], strict=True):
            if mask.sum() >= FEWEST_PIXELS:
                masks.append(mask)
                clips.append(index)
                labels.append(
                    (list(SIMPLE_HEIGHTS).index(spec.category), SIMPLE_COLORS.index(spec.color))
                )
    category, color = torch.tensor(labels).T
    is_train = torch.tensor(clips) < round(0.7 * options.clips)
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[:, None].float() / 255
    encoded = backbone.encode(video)
    text = backbone.encode_text([""] * options.clips)
    noise = torch.zeros_like(encoded.latent_mean)
    for timestep in options.timesteps:
        found = backbone.extract(encoded, blocks=BLOCKS, timestep=timestep, text=text, noise=noise)
        for block, maps in found.items():
            cells = F.adaptive_avg_pool2d(
                torch.from_numpy(np.stack(masks)).float(), maps.shape[-2:]
            )
            sums = torch.einsum("ochw,ohw->oc", maps[torch.tensor(clips), 0], cells)
            features = sums / cells.sum(dim=(1, 2))[:, None]
            scores = {
                name: round(probe(features, wanted, is_train), 3)
                for name, wanted in (("category", category), ("color", color))
            }
            print(json.dumps({"timestep": timestep, "block": block, **scores}), flush=True)


if __name__ == "__main__":
    main()
