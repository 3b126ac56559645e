"""The stage that trains on benchmarks, on clips made by hand: losses, scores, pictures, export."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset

from vdit.build import load_model
from vdit.datasets.clip_dataset import ReferringClip
from vdit.stages import benchmark
from vdit.stages.benchmark import BenchmarkConfig, BenchmarkStage, ValidationConfig
from vdit.stages.clip_encodings import EncodedVideoBatch
from vdit.stages.referring_model import ModelConfig, Variant
from vdit.structures import Target
from vdit.training.distributed import Processes

T, H, W = 3, 40, 60


class Clips(Dataset):
    """Sentence i is about i % 3 objects; `labelled` names the one frame that has truth."""

    def __init__(self, length=4, labelled=None):
        self.length, self.labelled = length, labelled

    def __len__(self):
        return self.length

    def __getitem__(self, key):
        _, index = key
        generator = torch.Generator().manual_seed(index)
        count = (index + 1) % 3 if self.labelled is None else 1
        known = torch.ones(T, dtype=torch.bool)
        if self.labelled is not None:
            known = torch.arange(T) == (self.labelled + index) % T
        masks = torch.zeros(count, T, H, W, dtype=torch.bool)
        masks[:, known, 8:30, 10:40] = True
        boxes = torch.tensor([25 / W, 19 / H, 30 / W, 22 / H]).expand(count, T, 4) * known[:, None]
        valid = known.expand(count, T).clone()
        target = Target(boxes, masks, valid, (H, W), None if self.labelled is None else known)
        video = torch.rand(T, 3, H, W, generator=generator)
        return ReferringClip(video, f"thing {index}", target, "hand", str(index), "0", (0, 1, 2))


@pytest.fixture
def build(monkeypatch, tmp_path):
    def make(clips, select="best", **variant):
        monkeypatch.setattr(benchmark, "load_clips", lambda config, seed: clips)
        model = ModelConfig(source="mini", variant=Variant(**variant))
        config = BenchmarkConfig(model=model, validation=ValidationConfig(select=select, clips=3))
        stage = BenchmarkStage(config, tmp_path / "model")
        stage.held_out = clips
        return stage

    return make


def batch_of(stage, *indices):
    return stage.collate([stage.data[0, index] for index in indices])


def test_single_labelled_frames_are_decoded_alone(build):
    stage = build(Clips(labelled=1), dropout=0.0)
    batch = batch_of(stage, 0, 1)
    assert stage.count(batch) == 2
    targets = stage.targets(batch)
    assert [tuple(target.valid.shape) for target in targets] == [(1, 1), (1, 1)]
    assert all(target.valid.all() for target in targets)
    seen = []
    stage.segment(batch, lambda layers: seen.append(layers) or benchmark.all_queries(layers))
    assert seen[0][0].class_logits.shape[:2] == (2, 1)
    losses = stage.losses(batch)
    losses["loss"].backward()
    assert losses["loss"].isfinite()
    assert all(p.grad is not None for p in stage.modules.parameters() if p.requires_grad)
    answer, truth = stage._answer(stage.data[0, 0])
    assert answer.shape == truth.shape == (1, H, W)
    assert truth.sum() == 22 * 30


def test_stored_encodings_take_the_place_of_the_networks(build, monkeypatch):
    stage = build(Clips(), dropout=0.0)
    video, captions, targets = batch_of(stage, 0, 1)
    direct = stage.losses((video, captions, targets))
    encoded = stage.model.encode(video.video)
    monkeypatch.setattr(stage.model, "encode", lambda video: pytest.fail("encoded again"))
    stored = EncodedVideoBatch(video.video, video.padding_mask, video.sizes, encoded)
    for name, value in stage.losses((stored, captions, targets)).items():
        assert torch.equal(value, direct[name]), name


def test_scores_are_means_over_all_processes(build):
    stage = build(Clips(5))
    stage.modules.eval()
    with torch.no_grad():
        scores = stage.validate(Processes())
        assert scores["sentences"] == 3

        shares = [stage_sums(stage, Processes(rank, 2)) for rank in range(2)]
    total, count = (sum(column) for column in zip(*shares, strict=True))
    assert count == 3
    assert scores["J"] == pytest.approx(total / count)
    assert 0 <= scores["J"] <= 1


def stage_sums(stage, processes):
    """What one process adds to the scores: the sum of J and the number of sentences."""
    kept = []
    object.__setattr__(processes, "sum", lambda *values: kept.append(values) or [0.0, 1.0])
    stage.validate(processes)
    return kept[0]


def test_a_union_is_empty_where_no_score_is_above_the_threshold(build):
    stage = build(Clips(), select="union", num_queries=20)
    stage.modules.eval()
    clip = stage.data[0, 2]  # names nothing
    with torch.no_grad():
        answer, truth = stage._answer(clip)
        assert not truth.any()
        assert not answer.any(), "scores start at 1 %"
        stage.config = replace(
            stage.config, validation=replace(stage.config.validation, threshold=0.0)
        )
        everything, _ = stage._answer(clip)
        masks = stage.segment(stage.collate([clip]), benchmark.all_queries).mask_logits[-1] > 0
        assert (everything == masks.any(dim=0)[:, :H, :W].numpy()).all()


def test_without_held_out_data_nothing_is_scored(build):
    stage = build(Clips())
    stage.held_out = None
    assert stage.validate(Processes()) == {}


@pytest.mark.parametrize("labelled", [None, 0])
def test_pictures_and_the_model_folder(build, tmp_path, labelled):
    stage = build(Clips(labelled=labelled), noise="none")
    stage.modules.eval()
    (tmp_path / "samples").mkdir()
    with torch.no_grad():
        stage.draw_samples(tmp_path / "samples")
    assert (tmp_path / "samples" / "masks.png").is_file()
    assert len(json.loads((tmp_path / "samples" / "scores.json").read_text())) == 4
    stage.export()
    model, spec = load_model(tmp_path / "model")
    assert (spec.name, spec.trained, model.config.noise) == ("model", True, "none")
    for name, value in stage.model.named_parameters():
        if "pooler" not in name:
            assert torch.equal(value, model.get_parameter(name)), name


def test_what_is_refused_at_once(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"validation\.select to be best or union"):
        BenchmarkStage(BenchmarkConfig(validation=ValidationConfig(select="all")), tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"also holds thesis\.txt"):
        BenchmarkStage(BenchmarkConfig(), tmp_path)
