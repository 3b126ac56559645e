"""The data sets of learned probes that can be read and checked, by name."""

from __future__ import annotations

from vdit.datasets.checking import Benchmark

__all__ = ["PROBE_DATASETS"]

PROBE_DATASETS: dict[str, Benchmark] = {}
"""Each gives its splits, its reader, a `VideoDataset`, and the pages of its owners."""
