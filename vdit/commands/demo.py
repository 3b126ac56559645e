"""`vdit demo`: render a clip whose truth is known, segment it by text, and score the answer."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vdit.commands.segment import load_segmenter, print_summary, segment_to_folder
from vdit.datasets.synthetic.shapes import RenderedClip, render_shapes
from vdit.masks import read_mask_png
from vdit.metrics.davis import contour_accuracy, region_similarity
from vdit.segment_options import SegmentOptions
from vdit.segment_output import slug
from vdit.video import open_video
from vdit.video_writer import VideoWriter
from vdit.visualize import contact_sheet

SEED = 7
NUM_FRAMES = 24
FPS = 12.0
SHEET_FRAMES = 6
ABSENT = "the orange bicycle"


def run(arguments: Namespace) -> None:
    """Write `clip.mp4`, the files of `vdit segment`, `sheet.png` and `scores.json`."""
    folder = Path(arguments.output)
    clip = render_shapes(SEED, NUM_FRAMES)
    with VideoWriter(folder / "clip.mp4", FPS) as writer:
        for frame in clip.frames:
            writer.add(frame)
    prompts = [*clip.captions[-2:], ABSENT]
    segmenter = load_segmenter(arguments)
    reader = open_video(folder / "clip.mp4")
    summary = segment_to_folder(
        segmenter, reader, prompts, SegmentOptions(), folder, reader.num_frames
    )
    summary["scores"] = _scores(folder, clip, prompts)
    (folder / "scores.json").write_text(json.dumps(summary["scores"], indent=2) + "\n")
    overlay = list(open_video(folder / "overlay.mp4"))
    chosen = [overlay[i] for i in np.linspace(0, len(overlay) - 1, SHEET_FRAMES).astype(int)]
    Image.fromarray(contact_sheet(chosen, columns=3)).save(folder / "sheet.png")
    if arguments.json:
        print(json.dumps(summary))
        return
    print_summary(summary)
    for prompt, score in summary["scores"].items():
        print(f"{prompt}: J&F {score['J&F']:.3f} (J {score['J']:.3f}, F {score['F']:.3f})")


def _scores(folder: Path, clip: RenderedClip, prompts: list[str]) -> dict[str, dict[str, Any]]:
    """Score the written masks against the truth, prompt by prompt; absent objects have no mask."""
    scores = {}
    for p, prompt in enumerate(prompts):
        pictures = sorted((folder / "masks" / f"{p:02d}_{slug(prompt)}").glob("*.png"))
        predicted = np.stack([read_mask_png(picture) > 0 for picture in pictures])
        if prompt in clip.captions:
            target = clip.masks[clip.captions.index(prompt)]
        else:
            target = np.zeros_like(predicted)
        J = float(region_similarity(target, predicted).mean())
        F = float(contour_accuracy(target, predicted).mean())
        scores[prompt] = {"J": J, "F": F, "J&F": (J + F) / 2}
    return scores
