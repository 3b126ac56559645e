"""Measure how steady a model's masks are where windows of a long clip hand over.

python tools/measure_borders.py --model runs/mini -o borders.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from vdit.atomic import replace_when_complete
from vdit.build import quiet_libraries
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.evaluation.window_borders import mean_jumps
from vdit.metrics.davis import region_similarity
from vdit.segment_options import SegmentOptions
from vdit.segmenter import ReferringSegmenter
from vdit.stages.heldout import KINDS, case_of

FIRST_SEED = 500_000


def main() -> None:
    """Segment long rendered clips and compare the IoU's jumps at borders and elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vdit-mini", help="name, folder or hub id")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("-o", "--output", type=Path, default=Path("borders.json"))
    arguments = parser.parse_args()
    quiet_libraries()
    segmenter = ReferringSegmenter.from_pretrained(arguments.model)
    options = SegmentOptions()
    ious: list[np.ndarray] = []
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.clips):
        scene = make_scene("crossed", seed, arguments.frames, arguments.side, arguments.side)
        case = case_of(render(scene, num_tracks=0), KINDS)
        answers = segmenter.segment(case.frames, [text for text, _ in case.sentences], options)
        for (_, index), answer in zip(case.sentences, answers, strict=True):
            ious.append(region_similarity(case.masks[index], answer.masks[:]))
    border, elsewhere = mean_jumps(ious, options.window, options.overlap)
    report = {
        "sentences": len(ious),
        "frames": arguments.frames,
        "mean_iou": float(np.mean(ious)),
        "border": border,
        "elsewhere": elsewhere,
        "ratio": border / elsewhere,
    }
    with replace_when_complete(arguments.output) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
