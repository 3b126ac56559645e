"""The referring data sets that can be read and checked, by name."""

from __future__ import annotations

from vdit.datasets.a2d import A2D
from vdit.datasets.checking import Benchmark
from vdit.datasets.jhmdb import JHMDB
from vdit.datasets.mevis import MEVIS
from vdit.datasets.ref_davis import REF_DAVIS
from vdit.datasets.ref_youtube_vos import REF_YOUTUBE_VOS
from vdit.datasets.refcoco import REFCOCO, REFCOCO_PLUS, REFCOCOG
from vdit.datasets.referring import ReferringDataset

__all__ = ["REFERRING_DATASETS"]

REFERRING_DATASETS: dict[str, Benchmark[ReferringDataset]] = {
    benchmark.name: benchmark
    for benchmark in (
        REF_YOUTUBE_VOS,
        REF_DAVIS,
        MEVIS,
        A2D,
        JHMDB,
        REFCOCO,
        REFCOCO_PLUS,
        REFCOCOG,
    )
}
"""Each gives its splits, its reader and the pages of its owners."""
