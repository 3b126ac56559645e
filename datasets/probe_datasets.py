"""The data sets of learned probes that can be read and checked, by name."""

from __future__ import annotations

from vdit.datasets.checking import Benchmark
from vdit.datasets.rendered_videos import RENDERED_BENCHMARKS

__all__ = ["PROBE_DATASETS"]

PROBE_DATASETS: dict[str, Benchmark] = {
    benchmark.name: benchmark for benchmark in (*RENDERED_BENCHMARKS,)
}
"""Each gives its splits, its reader, a `VideoDataset`, and the pages of its owners."""
