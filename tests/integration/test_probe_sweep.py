"""A sweep of a learned probe through the command line: killed without warning, then resumed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.layouts import LAYOUTS

CONFIG = """
task: classification
data: {dataset: rendered-motion, root: "???", folds: [{train: train, test: val}]}
view: {num_frames: 4, sampling: uniform}
source: {backbone: mini, block: up1, timestep: 5, random_weights: 0}
head: {kind: pooled}
features: {keep: true}
run: {steps: 30, batch: 4, rate: 0.01, warmup: 3, average: null, workers: 0}
"""
NUM_CLIPS, NUM_PASSES = 8, 3


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    for split, first in (("train", 0), ("val", 100)):
        clips = (
            (f"{k}", render(make_scene("motion-type", first + k, 4, 32, 32)))
            for k in range(NUM_CLIPS // 2)
        )
        LAYOUTS["native"](clips, folder / "tree", split)
    (folder / "probe.yaml").write_text(CONFIG)
    return [
        *(sys.executable, "-m", "vdit", "probe", str(folder / "probe.yaml")),
        f"data.root={folder / 'tree'}",
        *("--sweep", "timestep=0,5,15", "--sweep", "block=up0,up1", "--json"),
        *("-o", str(folder / "out")),
    ], folder / "out"


def kept(output):
    found = (output / "features").rglob("*.safetensors") if output.is_dir() else ()
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.mark.slow
def test_a_sweep_that_was_killed_computes_nothing_twice(command):
    arguments, output = command
    killed = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 300
    while len(kept(output)) < NUM_CLIPS + 2 and killed.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = kept(output)
    assert NUM_CLIPS < len(before) < NUM_PASSES * NUM_CLIPS  # killed in the midst of it

    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    after = kept(output)
    assert {path: after[path] for path in before} == before
    assert len(after) == NUM_PASSES * NUM_CLIPS  # both blocks of a noise level are one pass
    answer = json.loads(done.stdout)
    assert len(answer["rows"]) == 6
    table = next(path for path in answer["files"] if path.endswith(".csv"))
    with open(table) as file:
        lines = list(csv.DictReader(file))
    assert [(line["timestep"], line["block"]) for line in lines] == [
        (t, block) for t in ("0", "5", "15") for block in ("up0", "up1")
    ]
    assert all(float(line["seconds_per_frame"]) > 0 for line in lines)
