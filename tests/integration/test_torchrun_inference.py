"""`tools/inference.py` and `vdit cache` in two processes: the files of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vdit.cli import main
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.layouts import LAYOUTS

ROOT = Path(__file__).parents[2]


def torchrun(*words):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc_per_node", "2", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pictures(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.mark.slow
def test_two_processes(tmp_path, capsys):
    clips = [(f"v{k}", render(make_scene("referring", k, 4, 40, 56))) for k in range(3)]
    LAYOUTS["mevis"](clips, tmp_path / "data", "valid_u")
    words = ["mevis", "short_side=32", "no_target_threshold=0", "--root", str(tmp_path / "data")]
    words += ["--model", "vdit-mini-random"]
    cache = str(tmp_path / "cache")
    torchrun("-m", "vdit", "cache", *words, "-o", cache)
    assert main(["cache", "mevis", "-o", cache, "--verify"]) == 0
    both = str(tmp_path / "both")
    printed = torchrun("tools/inference.py", *words, "--cache", cache, "-o", both)
    assert "process 0 of 2" in printed
    assert "process 1 of 2" in printed
    assert printed.count(", complete") >= 1
    assert main(["infer", *words, "-o", str(tmp_path / "alone")]) == 0
    capsys.readouterr()
    assert pictures(tmp_path / "both") == pictures(tmp_path / "alone")
    assert pictures(tmp_path / "alone")
