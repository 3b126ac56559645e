"""Score a model on the held-out rendered clips, beside its baselines.

python tools/measure_clips.py --model runs/mini --random-unet runs/mini-random -o scores.json
python tools/measure_clips.py --fix configs/mini/heldout.json    # choose the clips, once
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vdit.atomic import replace_when_complete
from vdit.build import quiet_libraries
from vdit.commands.demo import NO_TARGET_THRESHOLD
from vdit.evaluation.referring_clips import score_clips
from vdit.segmenter import ReferringSegmenter
from vdit.stages.heldout import KINDS, fix_split, load_cases

SPLIT = Path("configs/mini/heldout.json")


def main() -> None:
    """Fix the split, or score a model on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vdit-mini", help="name, folder or hub id")
    parser.add_argument("--random-unet", help="the same head, trained on a UNet that is not")
    parser.add_argument("--split", type=Path, default=SPLIT)
    parser.add_argument("--limit", type=int, help="only the first clips")
    parser.add_argument("--fix", type=Path, metavar="FILE", help="write a new split file and stop")
    parser.add_argument("-o", "--output", type=Path, default=Path("scores.json"))
    options = parser.parse_args()
    if options.fix is not None:
        facts = fix_split(options.fix, "crossed", list(KINDS), count=100, num_frames=16, side=96)
        print(json.dumps(facts))
        return
    quiet_libraries()
    cases = load_cases(options.split)[: options.limit]
    segmenter = ReferringSegmenter.from_pretrained(options.model)
    report = score_clips(segmenter, cases, NO_TARGET_THRESHOLD)
    if options.random_unet is not None:
        baseline = score_clips(ReferringSegmenter.from_pretrained(options.random_unet), cases)
        report["random_unet"] = baseline["mean"]["J&F"]
    with replace_when_complete(options.output) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({key: value for key, value in report.items() if key != "clips"}))


if __name__ == "__main__":
    main()
