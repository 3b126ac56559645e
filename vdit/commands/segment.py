"""`vdit segment`: masks of the objects that sentences name in a video."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vdit.build import quiet_libraries
from vdit.measure import peak_memory
from vdit.memory import map_large_blocks
from vdit.prediction import FramePrediction
from vdit.segment_options import SegmentOptions, check_prompts
from vdit.segment_output import UNTRAINED_NOTE, SegmentationWriter
from vdit.segmenter import ReferringSegmenter
from vdit.video import open_video
from vdit.video_reader import VideoReader

DEFAULT_OVERLAP = SegmentOptions().overlap


def run(arguments: Namespace) -> None:
    """Segment a video and say where the results are."""
    options = SegmentOptions(
        window=arguments.window,
        overlap=_overlap(arguments),
        threshold=arguments.threshold,
        no_target_threshold=arguments.no_target_threshold,
        select=arguments.select,
        short_side=arguments.short_side,
        seed=arguments.seed,
    )
    check_prompts(arguments.prompt)
    reader = open_video(arguments.video)
    num_frames = reader.num_frames
    segmenter = load_segmenter(arguments)
    summary = segment_to_folder(
        segmenter, reader, arguments.prompt, options, Path(arguments.output), num_frames
    )
    if arguments.json:
        print(json.dumps(summary))
    else:
        print_summary(summary)


def _overlap(arguments: Namespace) -> int:
    if arguments.overlap is not None:
        return int(arguments.overlap)
    return min(DEFAULT_OVERLAP, max(arguments.window // 2, 0))


def load_segmenter(arguments: Namespace) -> ReferringSegmenter:
    """Load the model that `--model`, `--device` and `--dtype` name."""
    check_device(arguments.device)
    quiet_libraries()
    map_large_blocks()
    return ReferringSegmenter.from_pretrained(
        arguments.model, device=arguments.device, dtype=getattr(torch, arguments.dtype)
    )


def check_device(name: str) -> None:
    """Raise a ValueError unless torch knows the device and sees one."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"expected a device such as cpu or cuda, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"expected a CUDA device for {name!r}, none is visible to torch")


def segment_to_folder(
    segmenter: ReferringSegmenter,
    reader: VideoReader,
    prompts: list[str],
    options: SegmentOptions,
    folder: Path,
    num_frames: int,
) -> dict[str, Any]:
    """Stream a video through a segmenter into a folder; give the summary of the run."""
    start = time.perf_counter()
    facts = {
        "video": str(reader.path),
        "height": reader.height,
        "width": reader.width,
        "fps": round(reader.fps, 3),
        "model": segmenter.name,
        "options": asdict(options) | {"short_side": options.short_side or segmenter.short_side},
    }
    with SegmentationWriter(folder, prompts, reader.fps, facts, segmenter.trained) as writer:
        frames: Iterable[FramePrediction] = segmenter.stream(reader, prompts, options)
        for frame in tqdm(frames, total=num_frames, unit="frame", disable=not sys.stderr.isatty()):
            with segmenter.stopwatch.measure("output"):
                writer.add(frame)
        costs = {
            "seconds": round(time.perf_counter() - start, 3),
            "stage_seconds": segmenter.stopwatch.rounded(),
            "peak_memory_bytes": peak_memory(),
        }
        summary = writer.finish(costs)
    return {
        "output": str(folder),
        "model": segmenter.name,
        "trained": segmenter.trained,
        "prompts": prompts,
        **summary,
    }


def print_summary(summary: dict[str, Any]) -> None:
    """Print one line a prompt, then where the files are."""
    for prompt, score, area in zip(
        summary["prompts"], summary["mean_scores"], summary["mean_areas"], strict=True
    ):
        print(f"{prompt}: score {score:.2f}, {area:.1%} of the frame on average")
    if not summary["trained"]:
        print(f"{summary['model']}: {UNTRAINED_NOTE}")
    speed = summary["num_frames"] / summary["seconds"]
    print(
        f"{summary['num_frames']} frames in {summary['seconds']:.1f} s ({speed:.2f} frames/s), "
        f"peak memory {summary['peak_memory_bytes'] / 1e9:.2f} GB"
    )
    print(f"{summary['output']}: masks/, overlay.mp4, result.json")
