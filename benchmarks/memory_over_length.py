"""Peak memory of `vdit segment` over the length of the video, each length in a process of its own.

python benchmarks/memory_over_length.py -o benchmarks/memory_over_length.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from vdit.benchmarking.facts import run_facts
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render_frames
from vdit.video_writer import VideoWriter

PROMPTS = ["the red ball", "the box on the left", "a green diamond", "whatever moves to the right"]
LENGTHS = (100, 1000)


def write_clip(path: Path, num_frames: int, height: int, width: int) -> None:
    """Write a clip of a rendered scene that plays forth and back."""
    frames = render_frames(make_scene("referring", 0, 50, height, width))
    loop = np.concatenate([frames, frames[::-1]])
    with VideoWriter(path, 25) as writer:
        for i in range(num_frames):
            writer.add(loop[i % len(loop)])


def segment(video: Path, output: Path, short_side: int) -> dict:
    """Run the command in a process of its own; give what it prints."""
    words = [sys.executable, "-m", "vdit", "segment", str(video), "-o", str(output), "--json"]
    words += ["--short-side", str(short_side)]
    for prompt in PROMPTS:
        words += ["-p", prompt]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Write a clip of each length, segment it, compare the peaks; write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short-side", type=int, default=96)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    facts = run_facts()
    peaks, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for length in LENGTHS:
            video = Path(folder) / f"{length}.mp4"
            write_clip(video, length, options.height, options.width)
            summary = segment(video, Path(folder) / f"out{length}", options.short_side)
            peaks[length] = summary["peak_memory_bytes"]
            seconds[length] = summary["seconds"]
    result = facts | {
        "prompts": len(PROMPTS),
        "peak_memory_bytes": peaks,
        "seconds": seconds,
        "ratio": round(peaks[LENGTHS[1]] / peaks[LENGTHS[0]], 3),
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
