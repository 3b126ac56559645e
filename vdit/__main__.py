"""Run the command line: `python -m vdit`."""

import sys

from vdit.cli import main

sys.exit(main())
