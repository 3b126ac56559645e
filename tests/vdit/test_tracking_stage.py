"""Training, tracking and scoring of a tiny tracker, from files to files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vdit.cli import main
from vdit.commands.train import read_training
from vdit.config import load_config
from vdit.datasets.mot import read_mot
from vdit.datasets.mot_files import BoxTracks, read_results, write_results
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.mot import write_mot
from vdit.probing.feature_sources import Backbones
from vdit.stages.tracking import TrackingConfig, TrackingStage
from vdit.tracking.frame_features import (
    FeatureConfig,
    FrameFeatures,
    Levels,
    name_weights,
    stream_maps,
)
from vdit.tracking.query_tracker import TrackerOptions
from vdit.tracking.tracker_files import load_tracker
from vdit.training.distributed import Processes
from vdit.training.track_criterion import TermWeights

ROOT = Path(__file__).parents[2]
T, H, W = 6, 48, 64
CONTENT = {
    "features": {
        "source": {"backbone": "mini", "block": "up1", "clip_length": 1},
        "more_blocks": ["up3", "up2"],
    },
    "model": {
        "num_queries": 8,
        "transformer": {
            "dim": 32,
            "num_heads": 4,
            "num_encoder_layers": 1,
            "num_decoder_layers": 2,
            "feed_forward_dim": 32,
            "dropout": 0.0,
        },
    },
    "previous_range": 3,
    "supervise_previous": True,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("mot")
    clips = RenderedClips("mot", 2, first_seed=3, num_frames=T, height=H, width=W)
    write_mot([(f"MOT17-0{index}-SDP", clips[index]) for index in range(2)], root)
    return root


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def stage(tree, features, tmp_path):
    content = CONTENT | {
        "data": {"root": str(tree)},
        "validation": {"root": str(tree), "split": "val-half"},
        "features": CONTENT["features"] | {"folder": str(features)},
    }
    return TrackingStage(load_config(TrackingConfig, content), tmp_path / "model")


def batch_of(stage, *indices):
    return stage.collate([stage.data[0, index] for index in indices])


def test_kept_maps_are_those_of_the_backbone(stage, tree, features):
    video = read_mot(tree)[1]
    backbone = Backbones("cpu").get(stage.config.features.source)
    maps = list(stream_maps(backbone, stage.config.features, video, (H, W), video.name))
    assert len(maps) == T
    fine, coarse = stage.features.read(video, 4)
    expected = torch.cat([maps[4]["up3"], maps[4]["up2"]])
    torch.testing.assert_close(fine, expected, rtol=1e-3, atol=1e-3)
    assert (fine.shape[-2:], coarse.shape[-2:]) == ((6, 8), (3, 4))
    other = FeatureConfig(stage.config.features.source, ["up2"])
    levels = Levels.of(backbone, other.blocks)
    assert levels.strides == (8, 16)
    with pytest.raises(ValueError, match="features of other settings"):
        FrameFeatures(features / "data", other, levels, stage.features.weights).has(video)
    again = stage.config.features, stage.features.levels, stage.features.weights
    assert FrameFeatures(features / "data", *again).has(video)
    with pytest.raises(ValueError, match="features of other settings or weights"):
        FrameFeatures(features / "data", *again[:2], "others").has(video)


def test_channels_start_on_one_scale(stage):
    read = [stage.features.read(stage.videos[0], t) for t in range(0, T, 2)]
    read += [stage.features.read(stage.videos[1], t) for t in range(0, T, 2)]
    for level, scale in enumerate(stage.model.standardizers):
        maps = torch.stack([scale(each[level]) for each in read])
        deviation, mean = torch.std_mean(maps, dim=(0, 2, 3))
        assert mean.abs().max() < 0.5
        assert 0.5 < deviation.min() < deviation.max() < 2


def test_pairs_are_of_one_video_in_order(stage, tree):
    assert len(stage.data) == 2 * (T - 1)
    assert stage.held_out[0].frame_names[0] == f"{T // 2 + 1:06d}"
    gaps = set()
    for epoch in range(12):
        before, now = stage.data[epoch, 3]  # frame 4 of the first video
        assert torch.equal(now.boxes, stage.data.frame(0, 4).boxes)
        gaps |= {t for t in range(4) if torch.equal(before.maps[0], stage.data.frame(0, t).maps[0])}
    assert gaps == {1, 2, 3}
    again = stage.data[5, 3]
    torch.testing.assert_close(again[0].maps, stage.data[5, 3][0].maps)
    truth = read_mot(tree)[0].boxes()
    assert sorted(now.identities.tolist()) == np.flatnonzero(truth.labelled[:, 4]).tolist()
    assert (now.boxes >= 0).all()
    assert (now.boxes <= 1).all()


def test_losses_reach_all_weights_and_add_up_over_a_step(stage):
    torch.manual_seed(0)
    batch = batch_of(stage, 0, 7)
    losses = stage.losses(batch)
    losses["loss"].backward()
    learning = [p for p in stage.modules.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)
    assert stage.count(batch) == sum(len(b) for frames in batch for b in frames.boxes)
    half = stage.shared_losses(batch, 2 * stage.count(batch))
    assert half["loss"] < 0.8 * losses["loss"]


def test_only_the_second_frame_is_trained_by_default(stage):
    stage.config = replace(stage.config, supervise_previous=TrackingConfig().supervise_previous)
    batch = batch_of(stage, 0, 7)
    assert stage.count(batch) == sum(len(boxes) for boxes in batch[1].boxes)
    assert stage.losses(batch)["loss"].isfinite()
    config = TrackingConfig()
    assert (config.previous_range, config.loss.classes, config.loss.box_l1) == (5, 2.0, 5.0)
    assert (config.augmentation.false_positive, config.augmentation.false_negative) == (0.1, 0.4)


def test_frames_of_several_sizes_are_padded(stage):
    one, other = stage.data[0, 0], stage.data[0, 7]
    for frame in other:
        frame.maps = [x[..., :-1] for x in frame.maps]
    before, _ = stage.collate([one, other])
    assert [int(mask.sum()) for mask in before.padding_masks] == [6, 3]
    assert stage.losses(stage.collate([one, other]))["loss"].isfinite()


def test_frames_without_objects_are_learned(stage):
    one = stage.data[0, 0]
    for frame in one:
        frame.boxes, frame.identities = frame.boxes[:0], frame.identities[:0]
    losses = stage.losses(stage.collate([one]))
    assert losses["loss"].isfinite()
    assert losses["l1"] == 0


def test_validation_and_samples(stage, tmp_path):
    found = stage.validate(Processes())
    assert set(found) == {"MOTA", "IDF1", "HOTA", "IDSw"}
    stage.draw_samples(tmp_path)
    assert (tmp_path / "tracks.png").exists()


@pytest.fixture
def tracker(stage):
    for head in stage.model.class_heads:  # an untrained one finds nothing
        torch.nn.init.constant_(head.bias, 3.0)
    stage.export()
    return stage.folder


def test_a_tracker_comes_back(stage, tracker):
    model, spec = load_tracker(tracker)
    assert spec == stage.spec
    for name, value in stage.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    spec.expect(name_weights(Backbones("cpu").get(spec.features.source)))
    other = replace(spec.features.source, random_weights=3)
    with pytest.raises(ValueError, match="train it again"):
        spec.expect(name_weights(Backbones("cpu").get(other)))
    (tracker / "tracker.safetensors").write_bytes(b"0")
    with pytest.raises(ValueError, match="expected the weights of the tracker"):
        load_tracker(tracker)
    with pytest.raises(ValueError, match=r"expected tracker\.json in"):
        load_tracker(tracker.parent)


def test_track_and_eval(tree, tracker, tmp_path, capsys):
    words = ["track", "--tracker", str(tracker), "--dataset", "mot17", "--root", str(tree)]
    assert main([*words, "--pictures", "-o", str(tmp_path / "all"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["video"] for row in result["videos"]] == ["MOT17-00-SDP", "MOT17-01-SDP"]
    assert result["videos"][0]["frames"] == T
    assert result["videos"][0]["boxes"] >= T
    rows = read_results(tmp_path / "all" / "MOT17-00-SDP.txt")
    assert len(rows.frames) == result["videos"][0]["boxes"]
    assert (tmp_path / "all" / "overlay" / "MOT17-01-SDP.mp4").exists()
    again = [*words, "--public", "min_iou_0_5", "--by-overlap", "--split", "val-half"]
    assert main([*again, "-o", str(tmp_path / "half")]) == 0
    for path in (tmp_path / "half").glob("*.txt"):
        assert all(line.split(",")[0] in "456" for line in path.read_text().splitlines())
    video = tree / "train" / "MOT17-00-SDP" / "img1"
    words = ["track", str(video), "--tracker", str(tracker), "-o", str(tmp_path / "one")]
    assert main(words) == 0
    one = read_results(tmp_path / "one" / "img1.txt")
    np.testing.assert_allclose(one.rows, rows.rows, atol=1e-3)


def test_track_says_what_is_wrong(tree, tracker, tmp_path, capsys):
    words = ["track", "--tracker", str(tracker), "-o", str(tmp_path / "out")]
    for more, message in (
        ([], "expected a video or --dataset"),
        (["--dataset", "mot16", "--root", "x"], "expected a data set among mot15, mot17, mot20"),
        (["--dataset", "mot17"], "expected --root"),
        ([str(tree), "--public", "min_iou_0_5"], "expected --public none for a video"),
    ):
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert main([*words, "--dataset", "mot17", "--root", str(tree)]) == 2
    assert "which holds notes.txt; pass another" in capsys.readouterr().err
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


# ---- scores ------------------------------------------------------------------------------------


def write_truth(tree, folder, change=lambda rows: rows):
    """Results that are the truth, changed."""
    for video in read_mot(tree):
        truth = video.sequence.truth()
        rows = change(truth.rows)
        tracks = BoxTracks(
            rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 2:], np.ones(len(rows))
        )
        write_results(folder / f"{video.name}.txt", tracks)


def evaluate(tree, folder, capsys, *words):
    capsys.readouterr()
    paths = ["--root", str(tree), "--predictions", str(folder)]
    code = main(["eval", "mot17", *paths, *words, "--json"])
    out, error = capsys.readouterr()
    return code, json.loads(out) if out else None, error


def test_the_truth_scores_one(tree, tmp_path, capsys):
    write_truth(tree, tmp_path)
    for split in ("train", "train-half", "val-half"):
        code, report, _ = evaluate(tree, tmp_path, capsys, "--split", split)
        assert code == 0
        assert set(report["metrics"].values()) == {1.0}
        assert report["num_videos"] == 2
    assert "IDSw 0" in report["notes"][0]


def test_new_names_in_every_frame_keep_mota_high_and_idf1_low(tree, tmp_path, capsys):
    def rename(rows):
        rows = rows.copy()
        rows[:, 1] += 100 * rows[:, 0]
        return rows

    write_truth(tree, tmp_path, rename)
    _, report, _ = evaluate(tree, tmp_path, capsys)
    assert report["metrics"]["DetA"] == 1.0
    assert report["metrics"]["IDF1"] < 0.35
    _, late, _ = evaluate(tree, tmp_path, capsys, "--split", "val-half")
    assert late["metrics"]["IDF1"] > report["metrics"]["IDF1"]  # fewer frames, fewer names


def test_missing_and_damaged_results(tree, tmp_path, capsys):
    write_truth(tree, tmp_path)
    path = tmp_path / "MOT17-01-SDP.txt"
    path.write_text("1,1,2,3\n")
    code, _, error = evaluate(tree, tmp_path, capsys)
    assert code == 2
    assert "line 1 has 4 columns, expected 7 for results" in error
    path.unlink()
    code, _, error = evaluate(tree, tmp_path, capsys)
    assert code == 2
    assert "1 of 2 predictions of mot17 train are missing" in error
    code, report, _ = evaluate(tree, tmp_path, capsys, "--missing-as-empty")
    assert code == 0
    assert report["num_missing"] == 1
    assert 0 < report["metrics"]["MOTA"] < 1
    code, _, error = evaluate(tree, tmp_path, capsys, "--split", "test")
    assert code == 2


def test_options_of_the_tracker_are_kept(stage):
    assert stage.spec.options == TrackerOptions()


# ---- configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "false_positive", "track_threshold"),
    [("mot17", 0.1, 0.4), ("mot17_half", 0.1, 0.4), ("rendered", 0.3, 0.3)],
)
def test_shipped_configurations(name, false_positive, track_threshold):
    content = read_training(ROOT / "configs" / "tracking" / f"{name}.yaml")
    assert content.pop("stage") == "tracking"
    config = load_config(TrackingConfig, content, ["data.root=x"])
    assert config.loss == TermWeights(2.0, 5.0, 2.0)
    assert config.augmentation.false_positive == false_positive
    assert config.augmentation.false_negative == 0.4
    assert (config.run.clip, config.run.decay) == (0.1, 1e-4)
    assert config.tracker.detection_threshold == 0.4
    assert config.tracker.track_threshold == track_threshold
    if name == "mot17_half":
        assert (config.data.split, config.validation.split) == ("train-half", "val-half")
        assert (config.previous_range, config.run.rate, config.run.epochs) == (5, 2e-4, 50)
