"""The data sets of learned probes that can be read and checked, by name."""

from __future__ import annotations

from vdit.datasets.checking import Benchmark
from vdit.datasets.cityscapes import CITYSCAPES
from vdit.datasets.cityscapes_depth import CITYSCAPES_DEPTH
from vdit.datasets.class_folders import CLASS_FOLDERS
from vdit.datasets.hmdb51 import HMDB51
from vdit.datasets.imagenet import IMAGENET_1K
from vdit.datasets.inaturalist import INATURALIST_2018
from vdit.datasets.kinetics import KINETICS_400, KINETICS_700
from vdit.datasets.mot import MOT15, MOT17, MOT20
from vdit.datasets.movi import MOVI
from vdit.datasets.perception_test import PERCEPTION_TEST_BOXES, PERCEPTION_TEST_POINTS
from vdit.datasets.places365 import PLACES365
from vdit.datasets.realestate10k import REALESTATE10K
from vdit.datasets.rendered_videos import RENDERED_BENCHMARKS
from vdit.datasets.scannet_depth import SCANNET_DEPTH
from vdit.datasets.something_something import SOMETHING_SOMETHING_V2
from vdit.datasets.tap_vid import TAP_VID_DAVIS, TAP_VID_KINETICS, TAP_VID_RGB_STACKING
from vdit.datasets.ucf101 import UCF101
from vdit.datasets.waymo_boxes import WAYMO_BOXES

__all__ = ["PROBE_DATASETS"]

PROBE_DATASETS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        UCF101,
        HMDB51,
        CLASS_FOLDERS,
        SOMETHING_SOMETHING_V2,
        KINETICS_400,
        KINETICS_700,
        IMAGENET_1K,
        PLACES365,
        INATURALIST_2018,
        *RENDERED_BENCHMARKS,
        CITYSCAPES,
        CITYSCAPES_DEPTH,
        SCANNET_DEPTH,
        TAP_VID_DAVIS,
        TAP_VID_RGB_STACKING,
        TAP_VID_KINETICS,
        PERCEPTION_TEST_POINTS,
        PERCEPTION_TEST_BOXES,
        WAYMO_BOXES,
        REALESTATE10K,
        *MOVI,
        MOT15,
        MOT17,
        MOT20,
    )
}
"""Each gives its splits, its reader, a `VideoDataset`, and the pages of its owners."""
