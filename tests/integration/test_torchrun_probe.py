"""`vdit probe` of a learned task in two processes: the rows and heads of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vdit.cli import main
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.native import write_native

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONFIG = """
task: classification
data: {dataset: rendered-motion, root: "???", folds: [{train: train, test: val}]}
view: {num_frames: 4}
source: {backbone: mini, block: up1, timestep: 2}
features: {keep: true}
head: {kind: pooled, norm: layer}
run: {steps: 12, batch: 6, rate: 1.0e-2, warmup: 2, average: null, workers: 0, save_every: 5}
seeds: [0, 1]
control_steps: 3
"""
UNLIKE = ("command", "seconds_per_frame", "seconds_per_step", "peak_memory_bytes", "config")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Arguments of the command, without its output folder."""
    folder = tmp_path_factory.mktemp("probe")
    for split, count, seed in (("train", 13, 0), ("val", 7, 100)):
        clips = RenderedClips("motion-type", count, seed, 4, 32, 32, num_tracks=0)
        write_native(((f"clip{k:03d}", clips[k]) for k in range(count)), folder / "tree", split)
    (folder / "probe.yaml").write_text(CONFIG)
    sweep = ["--sweep", "block=up0,up1", "--json"]
    return ["probe", str(folder / "probe.yaml"), f"data.root={folder / 'tree'}", *sweep]


def by_two(words, output):
    """Run a command in two processes: what they print, without lines that are null."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "vdit", *words, "-o", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (printed,) = [line for line in done.stdout.splitlines() if line not in ("", "null")]
    return json.loads(printed)["rows"]


def heads(output, row):
    """Weights of all heads of a row."""
    folder = output / f"rendered-motion-classification-{row['run']}"
    return {
        f"{path.parent.name} {name}": tensor
        for path in sorted(folder.glob("fold*/head.safetensors"))
        for name, tensor in load_file(path).items()
    }


def lasting(row):
    return {name: value for name, value in row.items() if name not in UNLIKE}


@pytest.mark.parametrize("share", ["probes", "batches"])
def test_two_processes_make_the_rows_of_one(share, words, tmp_path, capsys):
    alone = tmp_path / "alone"
    assert main([*words, "-o", str(alone)]) == 0
    expected = json.loads(capsys.readouterr().out)["rows"]
    found = by_two([*words, f"share={share}"], tmp_path / "two")
    assert len(found) == len(expected) == 2
    assert [lasting(row) for row in found] == [lasting(row) for row in expected]
    tolerance = 0.0 if share == "probes" else 1e-5  # sums of gradients in another order
    for row in expected:
        weights, truth = heads(tmp_path / "two", row), heads(alone, row)
        assert weights.keys() == truth.keys()
        assert len({name.split()[0] for name in truth}) == 2  # seeds
        for name, tensor in truth.items():
            torch.testing.assert_close(weights[name], tensor, rtol=0, atol=tolerance)
    kept = [
        sorted(path.name for path in (each / "features").rglob("*.safetensors"))
        for each in (alone, tmp_path / "two")
    ]
    assert len(kept[0]) == 20
    assert kept[1] == kept[0]

    # what one process left undone, two go on with; what is done, they only tell
    for row in expected:
        folder = alone / f"rendered-motion-classification-{row['run']}"
        (folder / "row.json").unlink()
        (folder / "fold0-seed1" / "scores.json").unlink()
    (alone / "results.jsonl").unlink()
    again = by_two([*words, f"share={share}"], alone)
    assert [lasting(row) for row in again] == [lasting(row) for row in expected]
    assert by_two([*words, f"share={share}"], alone) == again
    assert len((alone / "results.jsonl").read_text().splitlines()) == 2
