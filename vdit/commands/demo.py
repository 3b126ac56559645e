"""`vdit demo`: render a clip whose truth is known, segment it by text, and score the answer."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vdit.commands.segment import load_segmenter, print_summary, segment_to_folder
from vdit.datasets.synthetic.clip import Caption, RenderedClip
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.scene import FRAMES_PER_SECOND
from vdit.masks import read_mask_png
from vdit.metrics.davis import contour_accuracy, region_similarity
from vdit.segment_options import SegmentOptions
from vdit.segment_output import slug
from vdit.video import open_video
from vdit.video_writer import VideoWriter
from vdit.visualize import contact_sheet

RECIPE, SEED = "referring", 6
SIZE = (24, 240, 320)
"""Frames, height and width."""
SHEET_FRAMES = 6
KINDS = ("motion", "spatial", "appearance", "relation", "ordinal", "category")
"""Kinds of sentences about one object, those first that show most."""


def run(arguments: Namespace) -> None:
    """Write `clip.mp4`, the files of `vdit segment`, `sheet.png` and `scores.json`."""
    folder = Path(arguments.output)
    clip = render(make_scene(RECIPE, SEED, *SIZE))
    captions = choose_captions(clip)
    with VideoWriter(folder / "clip.mp4", FRAMES_PER_SECOND) as writer:
        for frame in clip.frames:
            writer.add(frame)
    prompts = [caption.text for caption in captions]
    segmenter = load_segmenter(arguments)
    reader = open_video(folder / "clip.mp4")
    summary = segment_to_folder(
        segmenter, reader, prompts, SegmentOptions(), folder, reader.num_frames
    )
    summary["scores"] = _scores(folder, clip, captions)
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


def choose_captions(clip: RenderedClip) -> list[Caption]:
    """Pick sentences about two different objects, and one about an object that is not there."""
    chosen: dict[int, Caption] = {}
    single = [caption for caption in clip.captions if len(caption.objects) == 1]
    for caption in sorted(single, key=lambda each: KINDS.index(each.kind)):
        if len(chosen) < 2:
            chosen.setdefault(caption.objects[0], caption)
    absent = [caption for caption in clip.captions if caption.kind == "no target"]
    return [*chosen.values(), *absent[:1]]


def _scores(folder: Path, clip: RenderedClip, captions: list[Caption]) -> dict[str, dict[str, Any]]:
    """Score the written masks against the truth, prompt by prompt; absent objects have no mask."""
    scores = {}
    for p, caption in enumerate(captions):
        prompt = caption.text
        pictures = sorted((folder / "masks" / f"{p:02d}_{slug(prompt)}").glob("*.png"))
        predicted = np.stack([read_mask_png(picture) > 0 for picture in pictures])
        target = np.logical_or.reduce(clip.masks[list(caption.objects)], axis=0)
        J = float(region_similarity(target, predicted).mean())
        F = float(contour_accuracy(target, predicted).mean())
        scores[prompt] = {"J": J, "F": F, "J&F": (J + F) / 2}
    return scores
