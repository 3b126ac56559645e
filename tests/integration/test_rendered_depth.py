"""Depth of rendered clips: features of the small backbone against random ones and chance."""

import math

import pytest

from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.native import write_native
from vdit.probing.clip_views import ViewOptions
from vdit.probing.feature_sources import FeatureSource
from vdit.probing.learned_config import Fold, LearnedData
from vdit.probing.learned_probe import run_learned_probes
from vdit.probing.tasks.depth import Depth, DepthConfig
from vdit.probing.tasks.depth_heads import DepthHead
from vdit.training.run_config import RunConfig


@pytest.mark.slow
def test_trained_features_know_more_of_depth_than_chance_and_random_ones(tmp_path):
    """The short form of benchmarks/rendered_depth.json: a third of its clips and steps."""
    for split, count, seed in (("train", 32, 0), ("val", 16, 1000)):
        clips = RenderedClips("geometry", count, seed, num_frames=2, height=64, width=64)
        named = ((f"clip-{k:03d}", clips[k]) for k in range(count))
        write_native(named, tmp_path / "tree", split)
    configs = [
        DepthConfig(
            data=LearnedData("rendered-depth", str(tmp_path / "tree"), [Fold("train", "val")]),
            view=ViewOptions(num_frames=2, sampling="strided"),
            source=FeatureSource("mini", "up2", timestep=0, random_weights=random_weights),
            head=DepthHead(width=64, min_depth=1.0),
            run=RunConfig(
                steps=40, batch=8, rate=3e-3, warmup=4, average=None, workers=0, decay=0.01
            ),
            seeds=[0, 1, 2],
        )
        for random_weights in (None, 0)
    ]
    trained, untrained = run_learned_probes("depth", Depth.build, configs, tmp_path / "out")
    metric = "mErr"
    seen = {
        "trained": (trained["metrics"][metric], trained["standard_errors"][metric]),
        "random": (untrained["metrics"][metric], untrained["standard_errors"][metric]),
        "chance": (trained["chance"][metric], 0.0),
    }
    for other in ("random", "chance"):
        difference = seen[other][0] - seen["trained"][0]
        assert difference > 3 * math.hypot(seen[other][1], seen["trained"][1]), seen
