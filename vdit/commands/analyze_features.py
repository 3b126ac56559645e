"""`vdit analyze roi`: features of objects along their videos."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import torch

from vdit.build import build_backbone, quiet_libraries
from vdit.commands.eval import progress_bar
from vdit.commands.segment import check_device
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.evaluation.region_features import mean_similarities, region_similarities
from vdit.evaluation.scoring import DEFAULT_SPLITS
from vdit.feature_options import FeatureOptions


def measure(arguments: Namespace) -> np.ndarray:
    """Mean similarity [T - 1] of each frame of a video with its first, over all objects."""
    if arguments.dataset not in REFERRING_DATASETS:
        raise ValueError(
            f"expected a data set among {', '.join(REFERRING_DATASETS)}; got {arguments.dataset!r}"
        )
    check_device(arguments.device)
    dataset = REFERRING_DATASETS[arguments.dataset].read(
        arguments.root, arguments.split or DEFAULT_SPLITS[arguments.dataset]
    )
    quiet_libraries()
    backbone = build_backbone(
        arguments.backbone, path=arguments.weights, dtype=getattr(torch, arguments.dtype)
    )
    backbone.to(arguments.device)
    options = FeatureOptions(
        timestep=arguments.timestep, short_side=arguments.short_side, seed=arguments.seed
    )
    with progress_bar("video") as show:
        similarities = region_similarities(
            backbone,
            dataset,
            arguments.block,
            options,
            num_frames=arguments.frames,
            max_videos=arguments.videos,
            progress=show,
        )
    return mean_similarities(similarities)
