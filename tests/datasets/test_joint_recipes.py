"""The recipes of several data sets: their ratios, on trees in their layouts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vdit.commands.train import read_training
from vdit.config import load_config
from vdit.datasets.clip_mix import load_clips
from vdit.datasets.synthetic.writers.davis import write_ref_davis
from vdit.datasets.synthetic.writers.ref_youtube_vos import write_ref_youtube_vos
from vdit.datasets.synthetic.writers.refcoco import write_refcoco
from vdit.stages.benchmark import BenchmarkConfig

CONFIGS = Path(__file__).parents[2] / "configs" / "vdit"


@pytest.fixture
def mix_of(make_clip, tmp_path):
    """Function of the name of a recipe -> its mix, over trees with one video each."""
    clips = [("a", make_clip())]
    write_ref_youtube_vos(clips, tmp_path / "data" / "ref-youtube-vos")
    write_ref_davis(clips, tmp_path / "data" / "ref-davis", "train")
    for name in ("refcoco", "refcoco+", "refcocog"):
        write_refcoco(clips, tmp_path / "data" / "coco", dataset=name)

    def load(name):
        content = read_training(CONFIGS / f"{name}.yaml")
        del content["stage"]
        data = load_config(BenchmarkConfig, content).data
        entries = [
            dataclasses.replace(entry, root=str(tmp_path / entry.root)) for entry in data.datasets
        ]
        return load_clips(dataclasses.replace(data, datasets=entries))

    return load


def names_of(mix):
    return [part.samples[0].dataset for part in mix.parts]


def test_refcoco_with_ref_youtube_vos(mix_of):
    mix = mix_of("vdit_joint")
    assert names_of(mix) == ["refcoco", "refcoco+", "refcocog", "ref-youtube-vos"]
    assert mix.counts == tuple(len(part) for part in mix.parts)
    assert mix.parts[0].recipe.rules("refcoco").source == "video"
    assert mix.parts[0].recipe.rules("refcoco").num_frames == 5


def test_ref_davis_with_ref_youtube_vos(mix_of):
    mix = mix_of("vdit_joint_davis")
    assert names_of(mix) == ["ref-davis", "ref-youtube-vos"]
    assert mix.counts == (5 * len(mix.parts[0]), len(mix.parts[1]))
    rules = [part.recipe.rules(name) for part, name in zip(mix.parts, names_of(mix), strict=True)]
    assert [rule.reverse for rule in rules] == [0, 0.3]


def test_pictures_alone(mix_of):
    mix = mix_of("vdit_pretrain_refcoco")
    rules = [part.recipe.rules(name) for part, name in zip(mix.parts, names_of(mix), strict=True)]
    assert [rule.source for rule in rules] == ["still"] * 3
    assert all(rule.augmentation.color is None for rule in rules)
    assert all(rule.augmentation.max_side == 800 for rule in rules)
