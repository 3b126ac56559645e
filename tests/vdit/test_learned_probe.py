"""Learned probes: rows, folds, what is computed once, what is resumed, shares of processes."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from vdit.datasets import probe_datasets
from vdit.datasets.checking import Benchmark
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import VideoDataset
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded
from vdit.probing.clip_features import HeldFeatures, KeptFeatures, list_examples
from vdit.probing.clip_views import ViewOptions
from vdit.probing.feature_sources import Backbones, FeatureSource
from vdit.probing.head_metrics import standard_errors
from vdit.probing.learned_config import Fold, LearnedData, learned_key
from vdit.probing.learned_probe import run_learned_probes
from vdit.probing.results import read_rows
from vdit.probing.tasks.classification import (
    Classification,
    ClassificationConfig,
    ClassificationHead,
)
from vdit.training.run_config import RunConfig

CLASSES = ("red", "green", "blue")
T, SIZE = 4, 16


@dataclass(frozen=True)
class Tinted:
    """Frames of one color under noise."""

    label: int
    seed: int
    names: tuple[str, ...] = tuple("abcde")

    def size(self):
        return SIZE, SIZE

    def read(self, indices):
        rng = np.random.default_rng(self.seed)
        frames = rng.integers(0, 150, (len(self.names), SIZE, SIZE, 3))
        frames[..., self.label] += 60
        return frames[list(indices)].astype(np.uint8)


def read_tinted(root, split, count=12, shift=0):
    split = split.removesuffix("-again")
    classes = CLASSES[:2] if split == "fewer" else CLASSES
    first = 1000 * sum(map(ord, split)) + 100 * len(str(root)) + shift
    videos = tuple(
        ClassifiedVideo("tinted", split, f"v{k}", Tinted(k % 3, first + k), k % len(classes))
        for k in range(count)
    )
    return VideoDataset("tinted", split, videos, classes=classes)


class Colors(Backbone):
    """Cells are mean colors plus noise; clips are counted."""

    temporal = True
    size_multiple = 4

    def __init__(self, fail_after=None):
        super().__init__()
        self.blocks = {"fine": BlockInfo(3, 4), "coarse": BlockInfo(3, 8)}
        self.num_passes, self.fail_after = 0, fail_after
        self.scale = torch.nn.Parameter(torch.ones(()))

    def encode(self, video):
        return Encoded((video.shape[-2], video.shape[-1]), video)

    def extract(self, video, *, blocks, timestep=None, noise=None, generator=None, **_):
        if self.num_passes == self.fail_after:
            raise KeyboardInterrupt
        frames = video.latent_mean if isinstance(video, Encoded) else video
        self.num_passes += len(frames)
        if timestep is not None:
            drawn = torch.randn_like(frames) if noise is None else noise(frames)
            frames = frames + timestep * drawn
        return {
            name: self.scale
            * functional.avg_pool2d(frames.flatten(0, 1), self.blocks[name].stride).unflatten(
                0, frames.shape[:2]
            )
            for name in blocks
        }


@pytest.fixture(autouse=True)
def tinted(monkeypatch):
    benchmark = Benchmark("tinted", ("a", "b"), lambda root, split: root, read_tinted, ("here",))
    monkeypatch.setitem(probe_datasets.PROBE_DATASETS, "tinted", benchmark)


@pytest.fixture
def colors():
    return Colors()


@pytest.fixture
def backbones(colors):
    return Backbones(build=lambda *_, **__: colors)


RUN = RunConfig(
    steps=60, batch=6, rate=0.1, warmup=5, average=None, workers=0, decay=0.0, save_every=7
)
CONFIG = ClassificationConfig(
    data=LearnedData("tinted", ".", [Fold("a", "b")]),
    view=ViewOptions(num_frames=T),
    source=FeatureSource("colors", "fine", timestep=0.05),
    run=RUN,
)


def run(configs, folder, backbones):
    return run_learned_probes(
        "classification", Classification.build, configs, folder, backbones=backbones
    )


# ---- rows --------------------------------------------------------------------------------------


def test_a_row_tells_scores_beside_chance_and_control(backbones, tmp_path):
    config = replace(CONFIG, seeds=[0, 1, 2], control_steps=20)
    (row,) = run([config], tmp_path, backbones)
    assert row["metrics"]["top1"] == 100
    assert row["chance"]["top1"] == pytest.approx(100 / 3)
    assert row["control"]["top1"] < 75  # of 12 videos; chance is 4
    assert row["standard_errors"]["top1"] == 0
    assert (row["num_videos"], row["num_training_clips"], row["num_frames"]) == (12, 12, 24 * T)
    assert row["head_parameters"] == 3 * 3 + 3
    assert "noise of a clip is the same" in row["note"]
    assert read_rows(tmp_path / "results.jsonl") == [row]
    assert not any((tmp_path / "features").iterdir())


def test_the_spread_over_seeds_is_that_of_the_mean(backbones, tmp_path):
    config = replace(CONFIG, seeds=[0, 1, 2], run=replace(RUN, steps=3, rate=0.01, warmup=1))
    (row,) = run([config], tmp_path, backbones)
    found = [each["top1"] for each in row["seeds"]]
    assert len(set(found)) > 1
    assert row["metrics"]["top1"] == pytest.approx(np.mean(found))
    assert row["standard_errors"]["top1"] == pytest.approx(np.std(found, ddof=1) / math.sqrt(3))


def test_a_configuration_makes_its_row_again(backbones, tmp_path):
    (row,) = run([CONFIG], tmp_path / "one", backbones)
    (again,) = run([CONFIG], tmp_path / "two", backbones)
    assert again["metrics"] == row["metrics"]
    heads = [
        tmp_path / name / f"tinted-classification-{row['run']}" / "fold0-seed0/head.safetensors"
        for name in ("one", "two")
    ]
    assert heads[0].read_bytes() == heads[1].read_bytes()


def test_the_spread_leaves_out_what_some_seeds_do_not_have():
    """As the IoU of a class that is neither there nor predicted."""
    found = [{"a": 1.0, "b": math.nan}, {"a": math.nan, "b": math.nan}, {"a": 3.0, "b": math.nan}]
    errors = standard_errors(found)
    assert errors["a"] == pytest.approx(np.std([1, 3], ddof=1) / math.sqrt(2))
    assert math.isnan(errors["b"])


def test_folds_are_averaged(backbones, tmp_path):
    data = replace(CONFIG.data, folds=[Fold("a", "b"), Fold("b", "a")])
    run_of = replace(RUN, steps=3, rate=0.01)
    (both,) = run([replace(CONFIG, data=data, run=run_of)], tmp_path, backbones)
    single = [
        run([replace(CONFIG, data=replace(data, folds=[fold]), run=run_of)], tmp_path, backbones)
        for fold in data.folds
    ]
    expected = np.mean([row["metrics"]["top1"] for (row,) in single])
    assert both["metrics"]["top1"] == pytest.approx(expected)
    assert both["split"] == "b+a"


def test_leave_one_out_never_trains_on_what_it_tests(backbones, tmp_path):
    data = LearnedData("tinted", ".", [Fold(test="a")], leave_one_out=True, options={"count": 6})
    (row,) = run([replace(CONFIG, data=data)], tmp_path, backbones)
    assert row["metrics"]["top1"] > 60
    assert (row["num_videos"], row["num_training_clips"]) == (6, 5)
    folders = list(tmp_path.glob("tinted-classification-*/fold*-seed0"))
    assert len(folders) == 6
    # with one video left out, the most frequent class is another one
    assert row["chance"]["top1"] == 0


def test_features_may_be_computed_in_every_step(backbones, colors, tmp_path):
    features = replace(CONFIG.features, cached=False)
    (row,) = run([replace(CONFIG, features=features)], tmp_path, backbones)
    assert row["metrics"]["top1"] == 100
    assert colors.num_passes > RUN.steps * RUN.batch


# ---- what is computed once ---------------------------------------------------------------------


def sweep():
    return [
        replace(CONFIG, source=replace(CONFIG.source, timestep=t, block=block))
        for t in (None, 0.05, 0.1)
        for block in ("fine", "coarse")
    ]


def test_a_sweep_computes_each_feature_once(backbones, colors, tmp_path):
    rows = run(sweep(), tmp_path, backbones)
    assert len(rows) == 6
    assert colors.num_passes == 3 * 24  # noise levels x clips; both blocks are of one pass


def test_a_killed_sweep_computes_nothing_again(tmp_path):
    colors = Colors(fail_after=40)
    backbones = Backbones(build=lambda *_, **__: colors)
    with pytest.raises(KeyboardInterrupt):
        run(sweep(), tmp_path, backbones)
    colors.fail_after = None
    run(sweep(), tmp_path, backbones)
    assert colors.num_passes == 3 * 24


def test_a_finished_row_is_not_computed_again(backbones, colors, tmp_path):
    (row,) = run([CONFIG], tmp_path, backbones)
    before = colors.num_passes
    assert run([CONFIG], tmp_path, backbones) == [row]
    assert colors.num_passes == before
    assert len(read_rows(tmp_path / "results.jsonl")) == 1


def test_a_run_that_was_stopped_before_its_row_adds_none(backbones, tmp_path):
    (row,) = run([CONFIG], tmp_path, backbones)
    next(tmp_path.glob("tinted-*/row.json")).unlink()
    assert run([CONFIG], tmp_path, backbones) == [row]
    assert read_rows(tmp_path / "results.jsonl") == [row]


def test_a_head_goes_on_from_its_checkpoint(backbones, tmp_path, monkeypatch):
    (whole,) = run([CONFIG], tmp_path / "whole", backbones)
    asked = []

    def fail(self, head, features, targets, losses=Classification.losses):
        asked.append(len(features))
        if len(asked) == 20:
            raise KeyboardInterrupt
        return losses(self, head, features, targets)

    with monkeypatch.context() as patch:
        patch.setattr(Classification, "losses", fail)
        with pytest.raises(KeyboardInterrupt):
            run([CONFIG], tmp_path / "cut", backbones)
    (row,) = run([CONFIG], tmp_path / "cut", backbones)
    assert row["metrics"] == whole["metrics"]
    name = f"tinted-classification-{row['run']}/fold0-seed0"
    heads = [(tmp_path / each / name / "head.safetensors") for each in ("whole", "cut")]
    assert heads[0].read_bytes() == heads[1].read_bytes()
    lines = (tmp_path / "cut" / name / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == RUN.steps


@pytest.mark.parametrize(("clips", "num_reads"), [(12, 12), (4, 4 + 3 * 8)])
def test_features_of_few_clips_are_read_from_disk_once(
    clips, num_reads, backbones, tmp_path, monkeypatch
):
    """Three epochs of 12 clips, of which memory holds some."""
    reads = []

    def count(self, example, stored=KeptFeatures.stored):
        reads.append(example.key)
        return stored(self, example)

    bytes_each = 3 * 2  # pooled float16
    task = Classification(ClassificationHead(), CONFIG.view, 3)
    kept = KeptFeatures(backbones, CONFIG.source, ["fine"], tmp_path, "float16", task.is_pooled)
    examples = [each for (each,) in list_examples(task, read_tinted(".", "a"), is_training=True)]
    kept.compute(examples)
    held = HeldFeatures(kept, clips * bytes_each)
    with monkeypatch.context() as patch:
        patch.setattr(KeptFeatures, "stored", count)
        epochs = [[held.read(each) for each in examples] for _ in range(3)]
    assert len(reads) == num_reads
    for epoch in epochs:
        for found, each in zip(epoch, examples, strict=True):
            assert found.dtype == torch.float32
            assert torch.equal(found, kept.read(each))


# ---- data sets that share an output folder -----------------------------------------------------


@pytest.mark.parametrize("change", [{"root": "other"}, {"options": {"count": 12, "shift": 500}}])
def test_data_that_names_its_videos_alike_has_features_of_its_own(change, backbones, tmp_path):
    config = replace(CONFIG, features=replace(CONFIG.features, keep=True))
    other = replace(config, data=replace(CONFIG.data, **change))
    run([config], tmp_path / "shared", backbones)
    (row,) = run([other], tmp_path / "shared", backbones)
    (alone,) = run([other], tmp_path / "alone", backbones)
    heads = [
        tmp_path / name / f"tinted-classification-{row['run']}" / "fold0-seed0/head.safetensors"
        for name in ("shared", "alone")
    ]
    assert heads[0].read_bytes() == heads[1].read_bytes()
    assert row["metrics"] == alone["metrics"]


def test_a_relative_root_is_that_of_the_working_folder(monkeypatch, tmp_path):
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        keys.append((CONFIG.run_key, CONFIG.data.key))
    assert keys[0][0] != keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_what_a_run_costs_does_not_tell_it_from_others():
    keys = {
        name: replace(CONFIG, run=replace(CONFIG.run, **{name: value})).run_key
        for name, value in {"workers": 3, "log_every": 1, "save_every": 7, "batch": 5}.items()
    }
    assert keys["workers"] == keys["log_every"] == keys["save_every"] == CONFIG.run_key
    assert keys["batch"] != CONFIG.run_key


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": replace(CONFIG.data, dataset="none")}, "expected data.dataset among"),
        ({"data": replace(CONFIG.data, folds=[])}, "at least one fold"),
        ({"data": replace(CONFIG.data, options={"size": 3})}, "data.options do not fit tinted"),
        ({"source": replace(CONFIG.source, block="none")}, "expected blocks among fine, coarse"),
    ],
)
def test_mistakes_are_sentences(change, sentence, backbones, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        run([replace(CONFIG, **change)], tmp_path, backbones)


@pytest.mark.parametrize(
    ("fold", "shared"),
    [(Fold("a", "a"), "found 12 in both, such as v0"), (Fold("a", "a-again"), "found 12 in both")],
)
def test_what_is_tested_is_not_trained_on(fold, shared, backbones, tmp_path):
    with pytest.raises(ValueError, match=shared):
        run([replace(CONFIG, data=replace(CONFIG.data, folds=[fold]))], tmp_path, backbones)


def test_splits_number_their_classes_alike(backbones, tmp_path):
    data = replace(CONFIG.data, folds=[Fold("a", "fewer")])
    with pytest.raises(ValueError, match="found 3 and 2, which differ in blue"):
        run([replace(CONFIG, data=data)], tmp_path, backbones)


@pytest.mark.parametrize(
    "change",
    [
        lambda: ViewOptions(size=(0, 10)),
        lambda: ViewOptions(short_side=0),
        lambda: ViewOptions(short_side=32, crop=(-1, 8)),
        lambda: ClassificationHead(label_smoothing=2.0),
        lambda: replace(CONFIG, seeds=[-1]),
        lambda: replace(CONFIG, pictures=-1),
        lambda: replace(CONFIG, control_steps=-1),
        lambda: replace(CONFIG.data, max_videos=0),
    ],
)
def test_numbers_out_of_range_are_refused_where_they_are_written(change):
    with pytest.raises(ValueError, match=r"^expected .* got"):
        change()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"run": replace(RUN, batch=0)}, "expected run.batch"),
        ({"run": replace(RUN, steps=0)}, "at least one step"),
        ({"pictures": 2}, "this task draws nothing"),
        ({"place_bases": 2}, "this head sees no cells"),
    ],
)
def test_mistakes_are_told_before_features_are_computed(
    change, sentence, backbones, colors, tmp_path
):
    with pytest.raises(ValueError, match=sentence):
        run([replace(CONFIG, **change)], tmp_path, backbones)
    assert colors.num_passes == 0


@pytest.mark.parametrize("name", ["row.json", "chance.json", "fold0-seed0/scores.json"])
def test_a_damaged_file_is_named(name, backbones, tmp_path):
    (row,) = run([CONFIG], tmp_path, backbones)
    folder = tmp_path / f"tinted-classification-{row['run']}"
    if name != "row.json":
        (folder / "row.json").unlink()
    (folder / name).write_text("{")
    with pytest.raises(ValueError, match=re.escape(name)):
        run([CONFIG], tmp_path, backbones)


def test_short_keys():
    assert learned_key("block") == "source.block"
    assert learned_key("view.num_frames") == "view.num_frames"


def test_features_may_be_told_their_places(backbones, tmp_path):
    readout = ClassificationHead("readout", num_heads=1, width=4)
    config = replace(CONFIG, head=readout, place_bases=2, run=replace(RUN, steps=2))
    (row,) = run([config], tmp_path, backbones)
    (plain,) = run([replace(config, place_bases=0)], tmp_path, backbones)
    wider = 4 * 2
    assert row["head_parameters"] - plain["head_parameters"] == wider * (
        2 + T + 2 * 4
    )  # norm, time, kv
    with pytest.raises(ValueError, match="this head sees no cells"):
        run([replace(CONFIG, place_bases=2)], tmp_path, backbones)
