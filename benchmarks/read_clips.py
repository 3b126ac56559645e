"""Milliseconds of processor time to count the frames of a video file and to read sixteen of them.

    OMP_NUM_THREADS=1 python benchmarks/read_clips.py -o benchmarks/read_clips.json [FOLDER]

Files are written here as data sets have them, and those of FOLDER are added. "open" is what
`open_video` does, "count" what `num_frames` adds. "naive" decodes up to the last wanted frame and
converts each frame by itself, "loop" iterates over the reader, "pick" converts wanted frames only.
The three give the same pixels and take turns; each time is the least of several rounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

from vdit.benchmarking.facts import run_facts
from vdit.video import VideoReader, open_video

KINDS = {  # frames, height, width
    "mpeg4.avi": ("mpeg4", 180, 240, 320),
    "h264.mp4": ("libx264", 300, 256, 340),
    "vp9.webm": ("libvpx-vp9", 48, 240, 426),
}


def write(path: Path, codec: str, count: int, height: int, width: int) -> None:
    """A textured plane moves by one pixel a frame under a block that moves by three."""
    texture = np.random.default_rng(0).integers(0, 60, (2 * height, 2 * width, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(count):
            top, left = k % height, k % width
            frame = texture[top : top + height, left : left + width].copy()
            frame[40:90, 3 * k % (width - 50) :][:, :50] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())


def naive(reader: VideoReader, indices: list[int]) -> np.ndarray:
    with av.open(str(reader.path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        decoded = zip(range(indices[-1] + 1), container.decode(video=0), strict=False)
        frames = [frame.to_ndarray(format="rgb24") for _, frame in decoded]
    return np.stack([frames[index] for index in indices])


def loop(reader: VideoReader, indices: list[int]) -> np.ndarray:
    frames = [frame for _, frame in zip(range(indices[-1] + 1), reader, strict=False)]
    return np.stack([frames[index] for index in indices])


def pick(reader: VideoReader, indices: list[int]) -> np.ndarray:
    return reader.pick(indices)


def measure(paths: list[Path], rounds: int) -> dict[str, float]:
    """Milliseconds of all threads a file."""
    opened = [open_video(path) for path in paths]
    wanted = [((2 * np.arange(16) + 1) * each.num_frames // 32).tolist() for each in opened]
    for reader, indices in zip(opened, wanted, strict=True):
        expected = naive(reader, indices)
        assert (loop(reader, indices) == expected).all()
        assert (pick(reader, indices) == expected).all()
    best: dict[str, float] = {}
    fresh: list[VideoReader] = []
    jobs: dict[str, Callable[[VideoReader, list[int]], Any]] = {
        "open": lambda reader, _: fresh.append(open_video(reader.path)),
        "count": lambda reader, _: fresh.pop(0).num_frames,
        "naive": naive,
        "loop": loop,
        "pick": pick,
    }
    for _ in range(rounds):
        for name, job in jobs.items():
            begin = time.process_time()
            for reader, indices in zip(opened, wanted, strict=True):
                job(reader, indices)
            seconds = time.process_time() - begin
            best[name] = min(best.get(name, np.inf), 1000 * seconds / len(paths))
    frames = sum(each.num_frames for each in opened)
    return {"files": len(paths), "frames": frames} | {k: round(v, 2) for k, v in best.items()}


def main() -> None:
    """Measure all kinds; write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="videos, found in folders below too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    report = run_facts() | {"kinds": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, (codec, *sizes) in KINDS.items():
            write(Path(folder, name), codec, *sizes)
            report["kinds"][name] = measure([Path(folder, name)], arguments.rounds)
    if arguments.folder:
        videos = sorted(p for p in arguments.folder.rglob("*") if p.suffix in (".avi", ".mp4"))
        report["kinds"]["files of the folder"] = measure(videos, arguments.rounds)
    text = json.dumps(report, indent=1)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
