"""`vdit train` as a script, for torchrun:

torchrun --nproc-per-node=2 tools/train.py configs/vdit/vdit_ytvos.yaml -o runs/vdit_ytvos
"""

import sys

from vdit.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
