"""`vdit bench ops`: the operator, side by side with what others offer."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vdit.atomic import replace_when_complete
from vdit.benchmarking.facts import run_facts
from vdit.benchmarking.op_cases import CASES, Inputs, make_inputs
from vdit.benchmarking.op_peers import Peer, find_peers, peer_versions
from vdit.benchmarking.op_timing import (
    PASSES,
    disagreement,
    peak_bytes,
    run_pass,
    summary,
    time_on_cpu,
    time_on_cuda,
)
from vdit.ops import extension_status

FEW_QUERIES = 30
"""Rounds of cases with few queries over those of others: they are short."""


def run(arguments: Namespace) -> None:
    """Time `vdit.ops` beside its peers; write and print a table."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("expected a CUDA device, found none; use --device cpu")
    unknown = [name for name in arguments.cases if name not in CASES]
    if unknown:
        raise ValueError(f"expected cases among {', '.join(CASES)}; got {unknown[0]!r}")
    if arguments.rounds < 1 or arguments.threads < 1:
        raise ValueError(
            "expected at least one round and one thread, got "
            f"{arguments.rounds} and {arguments.threads}"
        )
    peers = find_peers(arguments.device)
    missing = [name for name in arguments.peers if name not in peers]
    if missing:
        raise ValueError(f"expected peers among {', '.join(peers)}; got {missing[0]!r}")
    if arguments.peers:
        peers = {name: peers[name] for name in ("vdit", *arguments.peers) if name in peers}
    torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype)
    rows = []
    for name in arguments.cases:
        print(f"{name} ...", file=sys.stderr)
        rows += _measure(name, peers, dtype, arguments)
    result = run_facts() | {
        "clock": "CUDA events" if arguments.device == "cuda" else _clock(),
        "kernels": {key: extension_status()[key] for key in ("cpu", "cpu_capability", "cuda")},
        "packages": peer_versions(),
        "dtype": arguments.dtype,
        "rows": rows,
    }
    if arguments.output:
        with replace_when_complete(Path(arguments.output)) as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if arguments.json else table(rows))


def _clock() -> str:
    return "processor time" if torch.get_num_threads() == 1 else "wall time"


def _measure(
    name: str, peers: dict[str, Peer], dtype: torch.dtype, arguments: Namespace
) -> list[dict[str, Any]]:
    """Time all peers on one case; a peer that computes something else is not timed."""
    inputs = make_inputs(CASES[name], dtype, arguments.device)
    errors = {peer: _error(function, inputs) for peer, function in peers.items()}
    good = {peer: function for peer, function in peers.items() if errors[peer] is None}
    rounds = arguments.rounds * (FEW_QUERIES if CASES[name].queries else 1)
    rows = []
    for pass_name in PASSES:
        calls: dict[str, Callable[[], object]] = {
            peer: partial(run_pass, function, inputs, pass_name) for peer, function in good.items()
        }
        if arguments.device == "cuda":
            times = time_on_cuda(calls, rounds, arguments.flush)
        else:
            times = time_on_cpu(calls, rounds)
        for peer in peers:
            row: dict[str, Any] = {"case": name, "pass": pass_name, "peer": peer}
            if errors[peer] is not None:
                rows.append(row | {"error": errors[peer]})
                continue
            row["milliseconds"] = summary(times[peer])
            row["over_vdit"] = round(min(times[peer]) / min(times["vdit"]), 3)
            if arguments.memory and arguments.device == "cpu":
                row["peak_bytes"] = peak_bytes(name, peer, pass_name, dtype, arguments.threads)
            rows.append(row)
    return rows


def _error(peer: Peer, inputs: Inputs) -> str | None:
    """Tell why a peer cannot be timed on these inputs."""
    try:
        return disagreement(peer, inputs)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def table(rows: list[dict[str, Any]]) -> str:
    """Make a Markdown table of the rows: best time, how many times that of vdit, memory."""
    lines = [
        "| case | pass | implementation | best ms | median ms | over vdit | memory MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        head = f"| {row['case']} | {row['pass']} | {row['peer']} |"
        if "error" in row:
            lines.append(f"{head} {row['error']} | | | |")
            continue
        times = row["milliseconds"]
        memory = row.get("peak_bytes")
        size = "" if memory is None else f"{memory / 1e6:.1f}"
        best, median = times["best"], times["median"]
        lines.append(f"{head} {best:.3f} | {median:.3f} | {row['over_vdit']:.2f} | {size} |")
    return "\n".join(lines)
