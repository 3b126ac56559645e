"""`vdit bench`: time and memory; a file for each thing that is measured."""

from __future__ import annotations

import importlib
from argparse import Namespace


def run(arguments: Namespace) -> None:
    """Run one benchmark."""
    importlib.import_module(f"vdit.commands.bench_{arguments.action}").run(arguments)
