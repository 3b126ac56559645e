"""The benchmark of the operator: its inputs, its check before timing, its table."""

from __future__ import annotations

import json

import pytest
import torch

from vdit.benchmarking.facts import run_facts
from vdit.benchmarking.op_cases import CASES, Case, make_inputs
from vdit.benchmarking.op_peers import find_peers, reference
from vdit.benchmarking.op_timing import disagreement, peak_bytes, summary, time_on_cpu
from vdit.cli import main
from vdit.measure import can_reset_peak_memory

TINY = Case(((6, 8), (3, 4)), batch=2, heads=2, channels=8)


def test_encoder_has_a_query_at_every_pixel_and_looks_around_it():
    inputs = make_inputs(TINY)
    assert inputs.value.shape == (2, 60, 2, 8)
    assert inputs.locations.shape == (2, 60, 2, 2, 4, 2)
    torch.testing.assert_close(inputs.weights.sum((-2, -1)), torch.ones(2, 60, 2))
    distance = (inputs.locations[..., 0, :, 0].mean((0, 2, 3)) - 0.5 / 8) * 8
    expected = torch.arange(8).repeat(6)  # columns of the finer level, in rows
    assert (distance[:48] - expected).abs().mean() < 1.0


def test_same_seed_same_inputs_and_few_queries():
    case = Case(((6, 8),), queries=3, uniform=True)
    one, two = make_inputs(case), make_inputs(case)
    assert torch.equal(one.value, two.value)
    assert torch.equal(one.locations, two.locations)
    assert one.grad_out.shape == (5, 3, 256)
    assert 0 <= one.locations.min() <= one.locations.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_peers_agree(dtype):
    inputs = make_inputs(TINY, dtype)
    peers = find_peers("cpu")
    assert next(iter(peers)) == "vdit"
    del peers["compiled-reference"]  # takes long to compile
    if dtype == torch.bfloat16:
        peers = {"vdit": peers["vdit"]}
    assert {name: disagreement(peer, inputs) for name, peer in peers.items()} == {
        name: None for name in peers
    }


def test_wrong_peers_are_found_out():
    inputs = make_inputs(TINY)
    assert "result differs" in disagreement(lambda x: reference(x) * 1.01, inputs)

    def wrong_gradient(inputs):
        return reference(inputs) + 0.01 * (inputs.weights - inputs.weights.detach()).sum()

    assert "gradient of weights differs" in disagreement(wrong_gradient, inputs)


def test_clock_skips_the_warm_up_and_takes_turns():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = time_on_cpu(functions, rounds=3)
    assert "".join(calls) == "abababab"
    assert [len(values) for values in times.values()] == [3, 3]
    assert summary([4.0, 1.0, 2.0, 3.0])["best"] == 1.0
    assert summary([4.0, 1.0, 2.0, 3.0])["median"] == 2.5


@pytest.mark.skipif(not can_reset_peak_memory(), reason="needs Linux")
def test_memory_of_the_reference_is_seen_and_of_the_kernels_is_none():
    sizes = {
        name: peak_bytes("probe", name, "forward", torch.float32, 1)
        for name in ("vdit", "reference")
    }
    assert sizes["vdit"] < 1e6
    assert sizes["reference"] > 50e6


def test_facts_name_the_run():
    facts = run_facts()
    assert {"command", "date", "commit", "torch", "processor", "threads"} <= set(facts)


def test_command_writes_what_it_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(CASES, "tiny", TINY)
    output = tmp_path / "ops.json"
    threads = torch.get_num_threads()
    try:
        arguments = ["bench", "ops", "--cases", "tiny", "--peers", "reference", "--rounds", "2"]
        assert main([*arguments, "-o", str(output)]) == 0
    finally:
        torch.set_num_threads(threads)
    rows = json.loads(output.read_text())["rows"]
    assert [(row["pass"], row["peer"]) for row in rows] == [
        ("forward", "vdit"),
        ("forward", "reference"),
        ("forward+backward", "vdit"),
        ("forward+backward", "reference"),
    ]
    assert rows[0]["over_vdit"] == 1.0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[3].startswith("| tiny | forward | reference |")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cases", "huge"], "expected cases among"),
        (["--peers", "nobody"], "expected peers among"),
        (["--rounds", "0"], "expected at least one round"),
    ],
)
def test_mistakes_are_one_sentence(capsys, words, message):
    assert main(["bench", "ops", *words]) == 2
    assert message in capsys.readouterr().err
