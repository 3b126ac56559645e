"""V-WALT against I-WALT: run the probes that are missing, then write table, charts and pictures.

python tools/image_vs_video.py RUNS -o RUNS/study --minutes 60     # again, until nothing is missing
python tools/image_vs_video.py RUNS -o RUNS/study --minutes 0      # what is known so far
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vdit.build import quiet_libraries
from vdit.commands.segment import check_device
from vdit.commands.study_tools import call, study_parser
from vdit.memory import map_large_blocks
from vdit.probing.sweeps import check_drawing
from vdit.study.cells import AXES
from vdit.study.figures import draw_figures
from vdit.study.pictures import draw_pictures
from vdit.study.running import run_missing
from vdit.study.study import Study
from vdit.study.tables import page_of, write_tables

CONFIGS = Path(__file__).parents[1] / "configs" / "study" / "image_vs_video"


def run(arguments: argparse.Namespace) -> None:
    """Run a portion of the study and report all of it."""
    check_drawing()
    check_device(arguments.device)
    quiet_libraries()
    map_large_blocks()
    study = Study(arguments.config, arguments.models, arguments.output, arguments.changes)
    unknown = set(arguments.probes or ()) - set(study.probes)
    if unknown:
        raise ValueError(
            f"expected --probes among {', '.join(study.probes)}, got {', '.join(sorted(unknown))}"
        )
    probes = arguments.probes or list(study.probes)
    axes = [axis for axis in AXES if axis in arguments.axes]
    left = run_missing(study, axes, probes, arguments.minutes, arguments.device)
    files = write_tables(study, arguments.output)
    drawn, left_out = draw_figures(study, arguments.output)
    pictures: list[Path] = []
    if arguments.pictures:
        pictures, absent = draw_pictures(study, arguments.output / "pictures")
        left_out += absent
    files += drawn + pictures
    if arguments.json:
        print(json.dumps({"left": left, "files": [str(each) for each in files], "not": left_out}))
        return
    print(page_of(study))
    print("\n".join([*(f"not drawn: {each}" for each in left_out), *map(str, files)]))
    if left:
        print(f"{left} portions are left; the same command goes on")


def main() -> int:
    """Read the arguments; 2 for a mistake in them."""
    parser = study_parser(str(__doc__), CONFIGS)
    parser.add_argument("--axes", nargs="+", choices=AXES, default=AXES, help="what is run")
    parser.add_argument("--probes", nargs="+", metavar="NAME", help="that are run; all by default")
    parser.add_argument("--minutes", type=float, help="nothing begins after them; 0 runs nothing")
    parser.add_argument("--pictures", action=argparse.BooleanOptionalAction, default=True)
    return call(run, parser)


if __name__ == "__main__":
    sys.exit(main())
