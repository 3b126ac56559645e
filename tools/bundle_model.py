"""Put a trained small model into the package, in float16.

python tools/bundle_model.py runs/mini -o vdit/bundled/vdit-mini
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vdit.build import quiet_libraries
from vdit.model_spec import BUNDLED
from vdit.stages.bundle import bundle


def main() -> None:
    """Write the bundle and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder that the stages of training filled")
    parser.add_argument("-o", "--output", type=Path, default=BUNDLED["vdit-mini"])
    options = parser.parse_args()
    quiet_libraries()
    size = bundle(options.model, options.output)
    print(f"{options.output}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
