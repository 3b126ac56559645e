"""The cost table of backbones: what is counted, what is measured, what is printed."""

import json

import pytest
import torch
from torch import nn

from vdit.backbone_loading.families import BACKBONES, FAMILIES
from vdit.backbone_loading.random_weights import random_backbone
from vdit.benchmarking import feature_timing
from vdit.benchmarking.feature_cases import (
    DENSE_BLOCKS,
    OTHER_BLOCKS,
    PAPER_ROWS,
    YARDSTICK,
    FeatureCase,
    fitting_length,
    make_case,
    one_of_every_family,
)
from vdit.benchmarking.feature_counts import UsedParameters, count
from vdit.benchmarking.feature_timing import FeatureCost, Place, measure
from vdit.cli import main
from vdit.commands.bench_features import compare, table
from vdit.measure import can_reset_peak_memory


@pytest.mark.parametrize("family", FAMILIES)
def test_papers_blocks_exist(family):
    for name in {FAMILIES[family][0], *(n for n in OTHER_BLOCKS if BACKBONES[n] == family)}:
        backbone = random_backbone(name, device="meta")
        assert OTHER_BLOCKS.get(name, DENSE_BLOCKS[family]) in backbone.blocks


def test_names_are_known():
    assert set(PAPER_ROWS) <= set(BACKBONES)
    assert next(iter(PAPER_ROWS)) == YARDSTICK
    assert DENSE_BLOCKS.keys() == FAMILIES.keys()
    assert [BACKBONES[name] for name in one_of_every_family()] == list(FAMILIES)


def test_larger_adm_has_a_block_like_the_smaller():
    small, large = (random_backbone(f"adm-{size}", device="meta") for size in (256, 512))
    assert small.blocks[DENSE_BLOCKS["adm"]] == large.blocks[OTHER_BLOCKS["adm-512"]]


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [("wan-2.1-1.3b", 6, 5), ("wan-2.1-1.3b", 9, 9), ("video-swin-t", 1, 2), ("dinov2-s", 7, 7)],
)
def test_clips_fit_the_network(name, wanted, expected):
    backbone = random_backbone(name, device="meta")
    assert fitting_length(backbone, wanted) == expected
    assert make_case(name, wanted, 64, 64).num_frames == expected


def test_products_of_a_convolutional_network():
    """Those of every convolution, by hooks on a network that runs."""
    backbone = random_backbone("resnet18")
    found = []

    def note(layer, args, output):
        found.append(output.numel() * layer.weight[0].numel())

    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    backbone.extract(torch.zeros(1, 2, 3, 64, 96), blocks=["layer3"])
    assert count(FeatureCase("resnet18", "layer3", 2, 64, 96)).macs == sum(found)


def test_products_of_a_transformer():
    counts = count(FeatureCase("dino-s16", "last", 3, 64, 96))
    width, tokens, patches = 384, 1 + 4 * 6, 4 * 6
    layer = 12 * width**2 * tokens + 2 * tokens**2 * width
    assert counts.macs == 3 * (12 * layer + patches * 16**2 * 3 * width)
    assert counts.macs_encode == 0
    assert counts.shape == (3, width, 4, 6)


def test_only_what_runs_counts_as_used():
    backbone = random_backbone("resnet18")
    with UsedParameters(backbone) as used, torch.no_grad():
        backbone.extract(torch.zeros(1, 1, 3, 32, 32), blocks=["layer2"])
    names = {id(parameter): name for name, parameter in backbone.named_parameters()}
    expected = {name for name in names.values() if not name.startswith("network.layer3")}
    expected -= {name for name in names.values() if name.startswith("network.layer4")}
    assert {names[id(parameter)] for parameter in used.parameters} == expected


def test_an_early_stop_leaves_parameters_and_products_out():
    early, late = (count(FeatureCase("mini", block, 2, 64, 64)) for block in ("up0", "up3"))
    assert early.parameters == late.parameters
    assert early.parameters_used < late.parameters_used < late.parameters
    assert early.macs < late.macs
    assert 0 < early.macs_encode == late.macs_encode


@pytest.fixture
def threads():
    """Measurements choose the number of threads of their process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not can_reset_peak_memory(), reason="needs Linux")
@pytest.mark.parametrize(
    "run", [feature_timing._measure, pytest.param(measure, marks=pytest.mark.slow)]
)
def test_passes_are_measured(run, threads):
    """Here, and as it is done, in another process."""
    case = FeatureCase("mobilenet-v2", "features13", 4, 256, 256)
    cost = run(case, Place(), 2)
    assert len(cost.seconds) == 2
    assert min(cost.seconds) > 0
    tensors = random_backbone("mobilenet-v2").state_dict().values()
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert cost.weight_bytes == weights
    widest = 4 * 96 * 128 * 128 * 4  # bytes of the first expansion
    assert widest < cost.peak_bytes < 10 * widest


def row(name, seconds, peak, **others):
    cost = FeatureCost([2 * seconds, seconds], 100, peak, peak // 2)
    base = {"name": name, "macs": 10 * seconds, "weight_bytes": 100, "seconds": cost.seconds}
    return base | {"peak_bytes": cost.peak_bytes} | others


def test_costs_are_over_those_of_the_first_row():
    rows = [row("dinov2-l", 2, 100), row("modelscope", 5, 500), row("resnet18", 1, 50)]
    compare(rows)
    assert rows[0]["over_dinov2-l"] == dict.fromkeys(rows[0]["over_dinov2-l"], 1.0)
    assert rows[1]["over_dinov2-l"] == {
        "macs": 2.5,
        "time": 2.5,
        "memory": 3.0,
        "memory_beyond_weights": 5.0,
    }
    assert rows[1]["paper"] == {"memory": 8.3, "time": 2.0}
    assert "paper" not in rows[2]
    shapes = {
        "shape": (6, 1, 2, 2),
        "parameters": 2e6,
        "parameters_used": 1e6,
        "block": "last",
        "live_bytes": 5,
    }
    clip = {"num_frames": 6, "height": 8, "width": 8}
    lines = table([each | shapes | clip for each in rows]).splitlines()
    assert len(lines) == 5
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert "| 3.00 | 8.3 | 5.00 | 2.50 | 2.0 |" in lines[3]


def test_command_writes_what_it_prints(tmp_path, capsys):
    output = tmp_path / "cost.json"
    words = ["bench", "features", "--backbones", "mobilenet-v2", "--rounds", "0", "--size"]
    assert main([*words, "64x96", "--frames", "2", "-o", str(output), "--json"]) == 0
    printed, written = json.loads(capsys.readouterr().out), json.loads(output.read_text())
    assert printed == written
    assert [each["name"] for each in written["rows"]] == ["dinov2-l", "mobilenet-v2"]
    assert written["rows"][1]["shape"] == [2, 96, 4, 6]
    assert written["clip"] == [2, 3, 64, 96]
    assert "Table 5" in written["paper"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backbones", "sd-9"], "expected backbones among families, mini"),
        (["--rounds", "-1"], "expected at least one frame and one thread and no negative rounds"),
        (["--size", "256"], "expected --size HxW"),
        (["--size", "60x60", "--rounds", "0", "--backbones", "sd-2.1"], "multiples of 8"),
    ],
)
def test_mistakes_are_one_sentence(capsys, words, message):
    assert main(["bench", "features", *words]) == 2
    assert message in capsys.readouterr().err
