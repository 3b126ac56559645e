"""Time of a text-to-video UNet that stops behind a block over that of its whole pass.

Full size, random weights. One network is in memory; a round runs every stop in turn, by processor
time with one thread. The passes start from the encoded clip, so that the VAE is in none of them.
The maps of a pass that stops are compared with those of the whole pass, bit for bit.

OMP_NUM_THREADS=1 python benchmarks/early_stop.py -o benchmarks/early_stop.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from vdit.backbone_loading.random_weights import random_backbone
from vdit.benchmarking.facts import run_facts
from vdit.models.backbones.base import Encoded

BARS = {"up1": 0.65, "up2": 0.82}
WHOLE = "up3"
TIMESTEP = 50


def time_stops(
    backbone: torch.nn.Module, encoded: Encoded, text: Tensor, rounds: int
) -> tuple[dict[str, list[float]], dict[str, Tensor]]:
    """Run every stop in turn; give seconds of processor time by stop, and the last maps."""
    options = {"timestep": TIMESTEP, "text": text, "noise": torch.zeros_like(encoded.latent_mean)}
    stops = [*BARS, WHOLE]
    seconds: dict[str, list[float]] = {stop: [] for stop in stops}
    found: dict[str, Tensor] = {}
    for index in range(rounds + 1):  # the first warms up
        for stop in stops:
            start = time.process_time()
            maps = backbone.extract(encoded, blocks=[stop], **options)
            if index > 0:
                seconds[stop].append(time.process_time() - start)
            found |= maps
    return seconds, found


def main() -> None:
    """Build the network, time it, compare its maps, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="modelscope")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = run_facts()
    backbone = random_backbone(options.backbone, dtype=getattr(torch, options.dtype))
    size, latent_side = (options.side, options.side), options.side // 8
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(
        1, options.frames, backbone.latent_channels, latent_side, latent_side, generator=generator
    )
    encoded = Encoded(size=size, latent_mean=latents)
    text = torch.randn(1, 77, backbone.text_dim, generator=generator)
    with torch.inference_mode():
        seconds, found = time_stops(backbone, encoded, text, options.rounds)
        whole = backbone.extract(
            encoded,
            blocks=[*BARS, WHOLE],
            timestep=TIMESTEP,
            text=text,
            noise=torch.zeros_like(latents),
        )
    best = {stop: min(times) for stop, times in seconds.items()}
    result = facts | {
        "backbone": options.backbone,
        "clip": [options.frames, 3, *size],
        "dtype": options.dtype,
        "seconds": {stop: [round(each, 2) for each in times] for stop, times in seconds.items()},
        "share_of_whole": {stop: round(best[stop] / best[WHOLE], 3) for stop in BARS},
        "bars": BARS,
        "bit_equal": {stop: torch.equal(found[stop], whole[stop]) for stop in whole},
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
