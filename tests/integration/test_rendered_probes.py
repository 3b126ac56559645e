"""Rendered clips of known motion: trained features, random ones, single frames, chance."""

from __future__ import annotations

import math

import pytest

from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.native import write_native
from vdit.probing.clip_views import ViewOptions
from vdit.probing.feature_sources import FeatureSource
from vdit.probing.learned_config import FeatureStorage, Fold, LearnedData
from vdit.probing.learned_probe import run_learned_probes
from vdit.probing.tasks.classification import (
    Classification,
    ClassificationConfig,
    ClassificationHead,
)
from vdit.training.run_config import RunConfig

pytestmark = pytest.mark.slow


def render_tree(root, recipe, counts, size):
    for split, count, seed in zip(("train", "val"), counts, (0, 1000), strict=True):
        clips = RenderedClips(recipe, count, seed, *size, num_tracks=0)
        write_native(((f"clip{k:03d}", clips[k]) for k in range(count)), root, split)
    return LearnedData("rendered-motion", str(root), [Fold("train", "val")])


def margin(one, other):
    """Distance of two rows' top-1 in standard errors of their difference."""
    errors = [row["standard_errors"]["top1"] for row in (one, other)]
    difference = one["metrics"]["top1"] - other["metrics"]["top1"]
    return difference / max(math.hypot(*errors), 1e-9)


def test_features_of_single_frames_cannot_tell_order(tmp_path):
    """Exactly chance: both clips of a pair have the same frames, and get the same answer."""
    data = render_tree(tmp_path / "tree", "frame-order", (24, 12), (4, 48, 48))
    config = ClassificationConfig(
        data=data,
        view=ViewOptions(num_frames=4),
        source=FeatureSource("mini", "up3", clip_length=1),
        features=FeatureStorage(dtype="float32"),
        head=ClassificationHead(norm="batch"),
        run=RunConfig(steps=40, batch=12, rate=1e-2, warmup=5, average=None, workers=0),
        seeds=[0, 1, 2],
    )
    (row,) = run_learned_probes("classification", Classification.build, [config], tmp_path / "out")
    assert row["chance"]["top1"] == 50
    assert [each["top1"] for each in row["seeds"]] == pytest.approx([50, 50, 50])
