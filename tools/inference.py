"""Predictions of a benchmark: `vdit infer` as a script, for torchrun.

torchrun --nproc_per_node 8 tools/inference.py configs/infer/ref_youtube_vos.yaml \
    --root data/ref-youtube-vos --model vdit-released --device cuda -o predictions
"""

from __future__ import annotations

import sys

from vdit.cli import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))
