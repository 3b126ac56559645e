"""`vdit features` as a user meets it: files, pictures, one sentence for every mistake."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from vdit.build import build_backbone
from vdit.cli import main
from vdit.feature_options import FeatureOptions
from vdit.features import collect_features, extract_features
from vdit.video import open_video
from vdit.video_writer import VideoWriter


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    shade = np.random.default_rng(0).integers(0, 256, (5, 44, 60, 3), dtype=np.uint8)
    with VideoWriter(path, 10) as writer:
        for frame in shade:
            writer.add(frame)
    return path


def features(clip, output, *more, backbone="mini"):
    return main(["features", str(clip), "--backbone", backbone, "-o", str(output), *more])


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_everything_at_once(clip, tmp_path, capsys):
    words = "--block up1 --block vae4 --timestep 5 --ensemble 2 --clip-length 3 --overlap 1"
    words += " --seed 7 --json"
    pictures = ["--pca", str(tmp_path / "pca.png"), "--kmeans", "3", str(tmp_path / "k.mp4")]
    code = features(clip, tmp_path / "f.npz", *words.split(), *pictures, "--text", "the red ball")
    assert code == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["blocks"] == {"vae4": [5, 64, 11, 15], "up1": [5, 96, 3, 4]}
    assert summary["num_frames"] == 5
    assert files(tmp_path) == ["f.npz", "k.mp4", "pca.png"]
    options = FeatureOptions(
        ("up1", "vae4"), 5, "the red ball", clip_length=3, overlap=1, ensemble=2, seed=7
    )
    chunks = extract_features(build_backbone("mini"), clip, options, video_id="clip.mp4")
    truth = collect_features(chunks)
    with np.load(tmp_path / "f.npz") as held:
        assert all(np.array_equal(held[name], truth[name].numpy()) for name in truth)
        assert held["spans"].tolist() == [[i, i + 1] for i in range(5)]
        facts = json.loads(str(held["facts"]))
    assert facts["backbone"] == "mini"
    assert facts["strides"] == {"vae4": 4, "up1": 16}
    assert open_video(tmp_path / "k.mp4").num_frames == 5
    with Image.open(tmp_path / "pca.png") as picture:
        assert picture.size[0] == 5 * (180 + 8) + 8


def test_safetensors_of_a_picture(tmp_path, capsys):
    Image.fromarray(np.full((40, 56, 3), 90, dtype=np.uint8)).save(tmp_path / "a.png")
    words = ["--block", "up2", "--size", "32x48", "--dtype", "bfloat16"]
    assert features(tmp_path / "a.png", tmp_path / "f.safetensors", *words) == 0
    with safe_open(tmp_path / "f.safetensors", "pt") as held:
        assert held.keys() == ["up2"]
        assert held.get_tensor("up2").dtype == torch.bfloat16
        assert held.get_tensor("up2").shape == (1, 96, 4, 6)
    assert "up2: 1 x 96 x 4 x 6 (bfloat16)" in capsys.readouterr().out


MISTAKES = [
    ("--block up9", "expected blocks among vae4, in, .*; got 'up9'"),
    ("--timestep 1000", "expected a timestep in 0"),
    ("--size 240", "expected --size HxW such as 240x432, got '240'"),
    ("--size 0x10", "at least one pixel"),
    ("--size 4x40 --fit crop", "at least 8x8 pixels"),
    ("--device tpu9", "expected a device such as cpu or cuda, got 'tpu9'"),
    ("--clip-length 4 --overlap 4", "an overlap of at most 3 frames for clips of 4, got 4"),
    ("--ensemble 0", "expected ensemble >= 1, got 0"),
    ("--pca {folder}/a.txt", r"ends in one of \.png"),
    ("--kmeans two {folder}/k.png", "expected a number of clusters after --kmeans, got 'two'"),
    ("--kmeans 2 {folder}/k.png --pca {folder}/k.png", "expected two files"),
    ("--dtype bfloat16", r"expected float16 or float32 for \.npz, got bfloat16"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_mistakes_are_told_in_one_sentence(clip, tmp_path, capsys, words, message):
    assert features(clip, tmp_path / "f.npz", *words.format(folder=tmp_path).split()) == 2
    check_sentence(capsys.readouterr(), message)
    assert not files(tmp_path)


def test_wrong_files_and_names(clip, tmp_path, capsys):
    output = tmp_path / "out"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:900])
    cases = [
        (features(tmp_path / "no.mp4", output / "f.npz"), "does not exist"),
        (features(broken, output / "f.npz"), "broken.mp4"),
        (features(clip, output / "f.h5"), r"ends in \.npz or \.safetensors"),
        (features(clip, output / "f.npz", backbone="resnet"), "a backbone among .*; got 'resnet'"),
        (features(clip, broken / "f.npz", "--block", "in"), "cannot be written"),
    ]
    lines = capsys.readouterr().err.strip().splitlines()
    for (code, message), line in zip(
        cases, [x for x in lines if "vdit features" in x], strict=True
    ):
        assert code == 2
        check_text(line, message)
    assert not output.exists()


def check_sentence(captured, message):
    assert not captured.out
    (line,) = [x for x in captured.err.splitlines() if "Loading weights" not in x and x]
    check_text(line, message)


def check_text(line, message):
    assert line.startswith("vdit features: ")
    assert "Traceback" not in line
    assert re.search(message, line), line
