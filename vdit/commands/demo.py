"""`vdit demo`: render a clip whose truth is known, segment it by text, and score the answer."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vdit.commands.segment import load_segmenter, print_summary, segment_to_folder
from vdit.datasets.synthetic.clip import Annotation, Caption, RenderedClip
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import annotate, render
from vdit.datasets.synthetic.scene import FRAMES_PER_SECOND
from vdit.evaluation.referring_clips import similarity
from vdit.masks import read_mask_png
from vdit.segment_options import SegmentOptions
from vdit.segment_output import slug
from vdit.segmenter import ReferringSegmenter
from vdit.stages.clips import draw_absent, single_captions
from vdit.video import open_video
from vdit.video_writer import VideoWriter
from vdit.visualize import contact_sheet

RECIPE, SEED, OTHER_SEED = "crossed", 700_000, 700_001
"""The clip, and the one whose sentence is a baseline; neither is trained on."""
SIZE = (24, 256, 256)
"""Frames, height and width."""
SENTENCES = 20
"""Of a kind, to choose from."""
SHEET_FRAMES = 6
KINDS = ("spatial", "appearance", "category")
"""Kinds of sentences about one object, those first that show most."""
NO_TARGET_THRESHOLD = 0.2


def run(arguments: Namespace) -> None:
    """Write `clip.mp4`, the files of `vdit segment`, `sheet.png` and `scores.json`."""
    folder = Path(arguments.output)
    clip = render(make_scene(RECIPE, SEED, *SIZE), captions_per_kind=SENTENCES)
    captions = choose_captions(clip)
    with VideoWriter(folder / "clip.mp4", FRAMES_PER_SECOND) as writer:
        for frame in clip.frames:
            writer.add(frame)
    prompts = [caption.text for caption in captions]
    segmenter = load_segmenter(arguments)
    reader = open_video(folder / "clip.mp4")
    options = SegmentOptions(no_target_threshold=NO_TARGET_THRESHOLD)
    summary = segment_to_folder(segmenter, reader, prompts, options, folder, reader.num_frames)
    strange = _strange_answer(segmenter, clip, options)
    summary["scores"] = score_prompts(folder, clip, captions, strange)
    (folder / "scores.json").write_text(json.dumps(summary["scores"], indent=2) + "\n")
    overlay = list(open_video(folder / "overlay.mp4"))
    chosen = [overlay[i] for i in np.linspace(0, len(overlay) - 1, SHEET_FRAMES).astype(int)]
    Image.fromarray(contact_sheet(chosen, columns=3)).save(folder / "sheet.png")
    if arguments.json:
        print(json.dumps(summary))
        return
    print_summary(summary)
    absent = {caption.text for caption in captions if not caption.objects}
    for prompt, score in summary["scores"].items():
        if prompt in absent:
            right = "and none was found" if score["J&F"] == 1 else "but something was found"
            print(f"{prompt}: there is no such object, {right}")
            continue
        print(
            f"{prompt}: J&F {score['J&F']:.3f} (J {score['J']:.3f}, F {score['F']:.3f}); "
            f"the largest object would get {score['largest_object']:.3f}, "
            f"the answer to another clip's sentence {score['other_sentence']:.3f}"
        )


def choose_captions(clip: Annotation | RenderedClip, kinds: Sequence[str] = KINDS) -> list[Caption]:
    """Pick sentences about two different objects, and one about an object that is not there.

    Args:
        clip: with its sentences.
        kinds: of the first two, those first that are wanted most.
    """
    chosen: dict[int, Caption] = {}
    for caption in sorted(
        single_captions(clip.captions, kinds), key=lambda each: kinds.index(each.kind)
    ):
        if len(chosen) < 2:
            chosen.setdefault(caption.objects[0], caption)
    names = [(spec.category, spec.color) for spec in clip.scene.objects]
    return [*chosen.values(), *draw_absent(np.random.default_rng(clip.scene.seed), names, 1)]


def score_prompts(
    folder: Path, clip: RenderedClip, captions: list[Caption], strange: np.ndarray
) -> dict[str, dict[str, float]]:
    """Score the written masks against the truth, prompt by prompt, beside two baselines.

    Absent objects have an empty mask.

    Args:
        folder: holds the masks.
        clip: the truth.
        captions: of the prompts, in order.
        strange: [T, H, W] bool, the answer to a sentence about something else.
    """
    largest = clip.masks[clip.masks.sum(axis=(1, 2, 3)).argmax()]
    scores = {}
    for p, caption in enumerate(captions):
        prompt = caption.text
        pictures = sorted((folder / "masks" / f"{p:02d}_{slug(prompt)}").glob("*.png"))
        predicted = np.stack([read_mask_png(picture) > 0 for picture in pictures])
        target = np.logical_or.reduce(clip.masks[list(caption.objects)], axis=0)
        scores[prompt] = {
            **similarity(target, predicted),
            "largest_object": similarity(target, largest)["J&F"],
            "other_sentence": similarity(target, strange)["J&F"],
        }
    return scores


def _strange_answer(
    segmenter: ReferringSegmenter, clip: RenderedClip, options: SegmentOptions
) -> np.ndarray:
    """Segment the clip by a sentence about another one, [T, H, W] bool."""
    other = annotate(make_scene(RECIPE, OTHER_SEED, *SIZE))
    answers = segmenter.segment(clip.frames, [choose_captions(other)[0].text], options)
    return answers[0].masks[:]
