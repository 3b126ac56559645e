"""Peak memory of streaming propagation over the length of the video, a process for each length.

python benchmarks/propagate_length.py -o benchmarks/propagate_length.json

Features are drawn frame by frame, soft labels become masks at once, and nothing else is kept. The
peak is that of the process, without what the imports take, which is also given.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from vdit.benchmarking.processes import run_in_new_process
from vdit.propagation import PropagationSettings, stream_labels
from vdit.propagation.mask_labels import labels_from_mask, mask_from_labels

LENGTHS = (100, 1000)
STRIDE = 8
STATUS = Path("/proc/self/status")


def memory(name: str) -> int:
    """Bytes of VmRSS or VmHWM of this process."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"expected {name} in {STATUS}; measure on Linux")


def draw_maps(count: int, channels: int, grid: tuple[int, int]) -> Iterator[Tensor]:
    """A scene that drifts: each map is made when it is asked for."""
    generator = torch.Generator().manual_seed(0)
    scene = torch.randn(channels, *grid, generator=generator)
    for t in range(count):
        noise = 0.3 * torch.randn(channels, *grid, generator=generator)
        yield scene.roll(t // 8, dims=2) + noise


def measure(
    count: int, channels: int, grid: tuple[int, int], settings: PropagationSettings
) -> dict[str, float]:
    """Propagate two labels over `count` maps: seconds a frame, and bytes of memory."""
    torch.set_num_threads(1)
    imported = memory("VmRSS")
    size = (grid[0] * STRIDE, grid[1] * STRIDE)
    mask = torch.zeros(size, dtype=torch.uint8)
    mask[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 1
    mask[size[0] // 2 :, size[1] // 2 :] = 2
    begin = time.process_time()
    labelled = 0
    for soft in stream_labels(
        draw_maps(count, channels, grid), labels_from_mask(mask, grid), settings
    ):
        labelled += int(mask_from_labels(soft, size).bool().any())
    return {
        "peak_bytes": memory("VmHWM"),
        "imported_bytes": imported,
        "seconds_a_frame": round((time.process_time() - begin) / count, 4),
        "frames_with_objects": labelled + 1,
    }


def main() -> None:
    """Measure all lengths and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--grid", type=int, nargs=2, default=[30, 54], help="rows and columns")
    parser.add_argument("--context", type=int, default=20)
    parser.add_argument("--radius", type=float, default=8)
    parser.add_argument("--topk", type=int, default=10)
    parser.add_argument("--lengths", type=int, nargs=2, default=LENGTHS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    settings = PropagationSettings.dino(options.context, options.radius, options.topk, 0.1)
    rows = {}
    for count in options.lengths:
        rows[count] = run_in_new_process(
            measure, count, options.channels, tuple(options.grid), settings
        )
        print(count, rows[count], flush=True)
    short, long = (rows[count]["peak_bytes"] for count in options.lengths)
    base = rows[options.lengths[0]]["imported_bytes"]
    result = {
        "date": date.today().isoformat(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "hardware": "2 cores of an AMD EPYC with AVX-512, one thread, beside other work",
        "options": {name: value for name, value in vars(options).items() if name != "output"},
        "frames": rows,
        "peak_ratio": round(long / short, 4),
        "peak_ratio_without_imports": round((long - base) / (short - base), 4),
    }
    print({name: value for name, value in result.items() if "ratio" in name})
    if options.output is not None:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
