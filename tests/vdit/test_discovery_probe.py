"""Object discovery from a MOVi tree to a row: whole videos, baselines, control, pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

from vdit.commands.probe import TASKS
from vdit.config import load_config
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded
from vdit.models.probes.slot_attention import SlotAttentionConfig
from vdit.models.probes.slot_decoder import SlotDecoderConfig
from vdit.models.probes.slot_mixer import SlotMixerConfig
from vdit.models.probes.vector_quantizer import VectorQuantizerConfig
from vdit.probing.clip_views import ViewOptions
from vdit.probing.discovery_head import DiscoveryHead
from vdit.probing.feature_sources import Backbones, FeatureSource
from vdit.probing.learned_config import FeatureStorage, Fold, LearnedData
from vdit.probing.learned_probe import run_learned_probes
from vdit.probing.live_features import LiveFeatures
from vdit.probing.paper_tables import find_paper_row
from vdit.probing.tasks.discovery import Discovery, DiscoveryConfig
from vdit.training.run_config import RunConfig

T, SIZE = 9, 32
COLORS = np.array([[90, 90, 90], [220, 40, 40], [40, 40, 220]], np.uint8)


class Colors(Backbone):
    """Cells are mean colors; half of each is the mean over the frames that are seen together."""

    temporal = True
    size_multiple = 4

    def __init__(self):
        super().__init__()
        self.blocks = {"fine": BlockInfo(3, 4)}
        self.scale = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def encode(self, video):
        return Encoded((video.shape[-2], video.shape[-1]), video)

    def extract(self, video, *, blocks, **_):
        frames = video.latent_mean if isinstance(video, Encoded) else video
        cells = functional.avg_pool2d(frames.flatten(0, 1), 4).unflatten(0, frames.shape[:2])
        return {name: (cells + cells.mean(1, keepdim=True)) / 2 for name in blocks}


@pytest.fixture
def root(tmp_path):
    """Two squares that slide, in the arrays of MoTok."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for k in range(count):
            instances = np.zeros((T, SIZE, SIZE), np.uint8)
            places = rng.integers(0, SIZE - 12, 2)
            for t in range(T):
                for n, start in enumerate(places):
                    x = (start + 2 * t * (1 - 2 * n)) % (SIZE - 12)
                    instances[t, 16 * n + 2 : 16 * n + 14, x : x + 12] = n + 1
            folder = tmp_path / "movi" / split / f"v{k}"
            folder.mkdir(parents=True)
            np.save(folder / "rgb.npy", COLORS[instances])
            np.save(folder / "segment.npy", instances[..., None])
    return tmp_path / "movi"


@pytest.fixture
def config(root):
    return DiscoveryConfig(
        data=LearnedData("movi-c", str(root), [Fold("train", "val")]),
        view=ViewOptions(num_frames=3, sampling="strided", clips=2),
        source=FeatureSource("colors", "fine", clip_length=3),
        run=RunConfig(steps=6, batch=4, warmup=1, average=None, workers=0),
        head=DiscoveryHead(
            grid=(8, 8),
            num_recurrent_layers=1,
            attention=SlotAttentionConfig(3, 8, 16, 2),
            decoder=SlotDecoderConfig(num_heads=2, head_dim=4),
            quantizer=VectorQuantizerConfig(8, 8, 4),
            mixer=SlotMixerConfig(depth=1, num_heads=2, render_dims=(8,)),
            chunk=3,
        ),
    )


def run(config, folder):
    backbones = Backbones(build=lambda *_, **__: Colors())
    (row,) = run_learned_probes("discovery", Discovery.build, [config], folder, backbones=backbones)
    return row


@pytest.mark.parametrize("kind", ["codes", "similarity"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_row_stands_beside_its_baselines(kind, cached, config, tmp_path):
    config = replace(
        config,
        head=replace(config.head, kind=kind),
        features=FeatureStorage(cached=cached),
        control_steps=2,
        pictures=1,
    )
    row = run(config, tmp_path / "out")
    assert (row["num_videos"], row["num_training_clips"]) == (2, 8)
    assert row["num_frames"] == 8 * 3 + 2 * T
    assert row["metrics"]["k-means FG-ARI"] > 70  # colors tell the objects apart
    assert row["control"]["k-means FG-ARI"] < 30  # random numbers do not
    assert row["chance"]["FG-ARI"] > 30  # one square is above, the other below
    assert row["chance"]["k-means FG-ARI"] is None
    assert row["metrics"]["degenerate videos"] == 0
    pictures = list((tmp_path / "out").glob("movi-c-discovery-*/fold0-seed0/pictures/*"))
    assert {path.name for path in pictures} == {"v0.mp4", "v0.png"}


def test_pictures_do_not_change_what_is_computed(config):
    assert replace(config, pictures=3).run_key == config.run_key


def test_kept_and_live_features_of_whole_videos_are_the_same(config, tmp_path):
    """Both see the frames of a test video in passes of `clip_length`."""
    rows = [
        run(replace(config, features=FeatureStorage(cached, "float32")), tmp_path / str(cached))
        for cached in (True, False)
    ]
    assert rows[0]["metrics"]["k-means mBO"] == pytest.approx(rows[1]["metrics"]["k-means mBO"])
    video = torch.rand(1, 6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    live = LiveFeatures(Colors(), config.source)
    parts = torch.cat([live(video[:, :3]), live(video[:, 3:])], dim=1)
    torch.testing.assert_close(live(video), parts)
    assert not torch.allclose(
        live(video), LiveFeatures(Colors(), replace(config.source, clip_length=None))(video)
    )
    assert live.spans(5) == [(t, t + 1) for t in range(5)]


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs/probe").glob("discovery_movi_*.yaml"))
)
def test_shipped_configurations_are_whole(path):
    content = yaml.safe_load(path.read_text())
    task = TASKS[content.pop("task")]
    config = load_config(task.schema, content, ["data.root=."])
    assert config.data.dataset in ("movi-c", "movi-e")
    assert config.head.build(640).encoder.size == (32, 32)
    if config.paper.table:
        row = find_paper_row(config.paper.table, config.data.dataset, config.paper.method)
        assert set(row.values) == {"FG-ARI", "mBO"}


def test_rows_are_json(config, tmp_path):
    row = run(replace(config, pictures=0), tmp_path)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
