"""The cost table of label propagation."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vdit.benchmarking import propagation_timing
from vdit.benchmarking.propagation_timing import NUM_OBJECTS, NoiseVideo, TimedMaps
from vdit.cli import main
from vdit.commands import bench_propagate
from vdit.measure import can_reset_peak_memory

CONFIGS = Path(__file__).parents[2] / "configs" / "probe"
CONFIG = """
task: label_propagation
data: {dataset: davis-2017, root: "???", split: val}
sources:
  video: {backbone: mobilenet-v2, block: features6}
  image: {backbone: resnet18, block: layer1, weight: 0.5}
propagation: {num_context: 2, radius: 3, topk: 4, temperature: 0.2}
paper: {table: "TED, Table 2", method: TED}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def here(monkeypatch):
    """Measure in this process; give what was measured."""
    threads, measured = torch.get_num_threads(), []

    def measure(config, video, place):
        measured.append((config, video, place))
        return propagation_timing._measure(config, video, place)

    monkeypatch.setattr(bench_propagate, "measure_propagation", measure)
    yield measured
    torch.set_num_threads(threads)


def test_a_video_is_the_same_in_each_loop():
    video = NoiseVideo(3, 6, 8)
    first, again = list(video), list(video)
    assert len(first) == 3
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])
    assert video.mask().shape == (6, 8)
    assert video.mask().unique().tolist() == list(range(NUM_OBJECTS + 1))


def test_only_maps_are_timed():
    ticks = itertools.count()
    maps = TimedMaps(iter(torch.zeros(3, 1, 2, 2)), "cpu", lambda: next(ticks))
    for _ in maps:
        next(ticks)  # what is done with a map
    assert maps.seconds == 4  # three maps and the end


@pytest.mark.skipif(not can_reset_peak_memory(), reason="needs Linux")
def test_command(config, here, tmp_path, capsys):
    output = tmp_path / "cost.json"
    words = ["bench", "propagate", config, "--random", "--frames", "4", "--size", "64x96"]
    assert main([*words, "-o", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = json.loads(output.read_text())["rows"]
    assert len(lines) == 3
    assert "| 2.24 |" in lines[2]
    assert lines[2].endswith("| 15.2 |")
    assert lines[2].count("|") == lines[0].count("|")
    assert row["sources"] == "mobilenet-v2:features6 + resnet18:layer1 w=0.5"
    assert row["feature_seconds"] > 0
    assert row["propagation_seconds"] > 0
    total = row["feature_seconds"] + row["propagation_seconds"]
    assert row["seconds_per_frame"] == pytest.approx(total / 4, abs=1e-4)
    assert row["weight_bytes"] > 4 * 11e6  # of both networks
    assert row["peak_bytes"] > 0


def test_changes_reach_the_configuration(config, here, capsys):
    words = ["bench", "propagate", config, "--random", "--frames", "2", "--size", "32x32"]
    changes = ["--set", "propagation.topk=3", "sources.image.weight=0"]
    assert main([*words, *changes, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["sources"] == "mobilenet-v2:features6"
    assert here[0][0].propagation.topk == 3


def test_short_keys_are_those_of_probes(config):
    changes = [("block", "=", "features7"), ("sources.image.block", "=", "layer2")]
    sources = bench_propagate._read(Path(config), changes).sources
    assert [sources[name].block for name in ("video", "image")] == ["features7", "layer2"]


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("dift_adm_davis_efficient", {"seconds_per_frame": 0.73, "peak_memory_gb": 5.53}),
        ("dift_adm_davis", {"seconds_per_frame": 1.36, "peak_memory_gb": 9.25}),
        ("propagation_davis_efficient", {"seconds_per_frame": 1.21, "peak_memory_gb": 11.65}),
        ("propagation_davis", {"seconds_per_frame": 2.24, "peak_memory_gb": 15.2}),
    ],
)
def test_rows_of_the_paper_are_found(name, method):
    config = bench_propagate._read(CONFIGS / f"{name}.yaml", [])
    found = bench_propagate._paper(config)
    assert method.items() <= found.items()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.yaml"], "expected a readable YAML file, got nowhere.yaml"),
        (["CONFIG", "--frames", "1"], "expected at least 2 frames and one thread, got 1 and 1"),
        (["CONFIG", "--size", "64"], "expected --size HxW"),
        (["CONFIG", "--set", "sources.video.backbone=sd-9"], "expected a backbone among"),
        (["CONFIG", "--set", "sources.image.options.last_stages=dense"], "expected no options of"),
    ],
)
def test_mistakes_are_one_sentence(config, here, capsys, words, message):
    words = [config if word == "CONFIG" else word for word in words]
    assert main(["bench", "propagate", *words, "--random"]) == 2
    assert message in capsys.readouterr().err
