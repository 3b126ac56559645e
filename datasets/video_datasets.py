"""The data sets of propagation that can be read and checked, by name."""

from __future__ import annotations

from vdit.datasets.checking import Benchmark
from vdit.datasets.davis import DAVIS_2016, DAVIS_2017, DAVIS_2017_UNSUPERVISED
from vdit.datasets.jhmdb_keypoints import JHMDB_KEYPOINTS
from vdit.datasets.kubric_similar import KUBRIC_SIMILAR
from vdit.datasets.youtube_similar import YOUTUBE_SIMILAR

__all__ = ["VIDEO_DATASETS"]

VIDEO_DATASETS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        DAVIS_2017,
        DAVIS_2017_UNSUPERVISED,
        DAVIS_2016,
        JHMDB_KEYPOINTS,
        YOUTUBE_SIMILAR,
        KUBRIC_SIMILAR,
    )
}
"""Each gives its splits, its reader, a `VideoDataset`, and the pages of its owners."""
