"""Fit the head of `vdit-mini-random` to one rendered clip: a check that all parts learn.

The result says nothing about other clips. Writes the files of `vdit demo` to a folder.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vdit.benchmarking.facts import run_facts
from vdit.build import load_model, trained_names
from vdit.commands.demo import choose_captions
from vdit.datasets.synthetic.clip import Caption, RenderedClip
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.metrics.davis import contour_accuracy, region_similarity
from vdit.segment_options import SegmentOptions
from vdit.segmenter import ReferringSegmenter
from vdit.stages.clips import target_of
from vdit.structures import VideoBatch
from vdit.training.criterion import Criterion
from vdit.training.matcher import TemporalMatcher
from vdit.visualize import contact_sheet, draw_legend, object_colors, overlay_masks

HEIGHT, WIDTH = 96, 128
KINDS = ("motion", "spatial", "appearance", "relation", "ordinal", "category")
NOTE = "fitted to this clip"


def fit(clip: RenderedClip, captions: list[Caption], steps: int) -> ReferringSegmenter:
    """Minimize the released training loss on all captions of one clip."""
    torch.manual_seed(0)
    model, _ = load_model("vdit-mini-random")
    model.train()
    video = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).float() / 255
    mask = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    batch = VideoBatch(video[None], mask, [(HEIGHT, WIDTH)])
    encoded = model.encode(batch.video)
    targets = [target_of(clip, caption, np.arange(len(clip.frames))) for caption in captions]
    matcher, criterion = TemporalMatcher(), Criterion()
    wanted = set(trained_names(model))
    parameters = [p for name, p in model.named_parameters() if name in wanted]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        chosen = step % len(captions)
        target = targets[chosen]
        output = model(
            batch,
            [captions[chosen].text],
            encoded=encoded,
            select=lambda layers, target=target: [matcher(layer, [target]) for layer in layers],
        )
        losses = criterion(output.layers, output.matches, output.mask_logits, [target])
        optimizer.zero_grad()
        criterion.total(losses).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    return ReferringSegmenter(model.eval(), "vdit-mini-random, fitted to one clip", trained=True)


def main() -> None:
    """Fit, segment the same clip, score, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", default="overfit", type=Path)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--seed", type=int, default=6, help="of the clip")
    arguments = parser.parse_args()
    facts, start = run_facts(), time.perf_counter()
    clip = render(make_scene("referring", arguments.seed, arguments.frames, HEIGHT, WIDTH))
    captions = choose_captions(clip, KINDS)[:2]
    segmenter = fit(clip, captions, arguments.steps)
    seconds = time.perf_counter() - start
    prompts = [caption.text for caption in captions]
    predictions = segmenter.segment(
        clip.frames, prompts, SegmentOptions(short_side=HEIGHT, threshold=0.5)
    )
    scores = {}
    for prediction, caption in zip(predictions, captions, strict=True):
        truth = clip.masks[caption.objects[0]]
        masks = prediction.masks[:]
        J = region_similarity(truth, masks).mean()
        F = contour_accuracy(truth, masks).mean()
        scores[prediction.prompt] = {"J": float(J), "F": float(F)}
    arguments.output.mkdir(parents=True, exist_ok=True)
    report = facts | {"seconds": round(seconds, 1), "scores": scores}
    (arguments.output / "scores.json").write_text(json.dumps(report, indent=2) + "\n")
    colors = object_colors(len(prompts))
    pictures = []
    for t, frame in enumerate(clip.frames):
        large = np.kron(frame, np.ones((3, 3, 1), dtype=np.uint8))
        masks = np.stack([np.kron(p.masks[t], np.ones((3, 3), dtype=bool)) for p in predictions])
        pictures.append(draw_legend(overlay_masks(large, masks, colors), prompts, colors, NOTE))
    Image.fromarray(contact_sheet(pictures, columns=3)).save(arguments.output / "sheet.png")
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
