"""The command line as a user meets it: outputs, exit codes, one sentence for every mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from vdit.cli import main
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render_frames
from vdit.masks import decode_rle, read_mask_png
from vdit.video import open_video
from vdit.video_writer import VideoWriter


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, 10) as writer:
        for frame in render_frames(make_scene("referring", 1, 5, 61, 80)):
            writer.add(frame)
    return path


def segment(clip, output, *more):
    return main(
        [
            "segment",
            str(clip),
            "-p",
            "the red ball",
            "-p",
            "A dog!",
            "-o",
            str(output),
            "--short-side",
            "48",
            *more,
        ]
    )


def test_segment_writes_everything(clip, tmp_path, capsys):
    assert segment(clip, tmp_path / "out") == 0
    folders = sorted((tmp_path / "out" / "masks").iterdir())
    assert [folder.name for folder in folders] == ["00_the-red-ball", "01_a-dog"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "masks",
        "overlay.mp4",
        "result.json",
    ]
    overlay = open_video(tmp_path / "out" / "overlay.mp4")
    assert overlay.num_frames == 5
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["prompts"] == ["the red ball", "A dog!"]
    assert result["trained"] is True
    assert result["num_frames"] == len(result["frames"]) == 5
    assert result["peak_memory_bytes"] > 1e8
    for frame in result["frames"]:
        for folder, each in zip(folders, frame["objects"], strict=True):
            mask = read_mask_png(folder / f"{frame['name']}.png")
            assert mask.shape == open_video(clip).__iter__().__next__().shape[:2]
            assert set(np.unique(mask)) <= {0, 255}
            assert np.array_equal(decode_rle(each["rle"]), mask > 0)
    out = capsys.readouterr()
    assert "untrained" not in out.out
    assert "frame" not in out.err


def test_an_untrained_model_says_so(clip, tmp_path, capsys):
    assert segment(clip, tmp_path / "out", "--model", "vdit-mini-random") == 0
    assert "untrained model: masks mean nothing" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "result.json").read_text())["trained"] is False


def test_segment_prints_json_only(clip, tmp_path, capsys):
    assert segment(clip, tmp_path / "out", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["num_frames"] == 5
    assert summary["trained"] is True


def test_segment_again_replaces_its_own_files_only(clip, tmp_path):
    out = tmp_path / "out"
    assert segment(clip, out) == 0
    (out / "notes.txt").write_text("mine")
    stale = out / "masks" / "07_stale"
    stale.mkdir()
    assert segment(clip, out) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert not stale.exists()


def test_image_and_folder(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for i, frame in enumerate(render_frames(make_scene("referring", 1, 2, 48, 64))):
        Image.fromarray(frame).save(frames / f"{i}.jpg")
    for video in (frames, frames / "0.jpg"):
        assert segment(video, tmp_path / "out") == 0
    masks = tmp_path / "out" / "masks" / "01_a-dog"
    assert [path.name for path in masks.iterdir()] == ["0.png"]


def broken(kind, folder, clip):
    """Arguments of a request that cannot work."""
    words = ["segment", str(clip), "-p", "a dog", "-o", str(folder / "out")]
    if kind == "missing":
        words[1] = str(folder / "nothing.mp4")
    elif kind == "text":
        words[1] = str(folder / "text.mp4")
        (folder / "text.mp4").write_text("no video at all")
    elif kind == "truncated":
        words[1] = str(folder / "cut.mp4")
        (folder / "cut.mp4").write_bytes(clip.read_bytes()[:1500])
    elif kind == "empty folder":
        words[1] = str(folder / "empty")
        (folder / "empty").mkdir()
    elif kind == "blank prompt":
        words[3] = "  "
    elif kind == "unknown model":
        words += ["--model", str(folder / "no-such-model")]
    elif kind == "not a model":
        words += ["--model", str(folder)]
    elif kind == "unwritable":
        (folder / "file").write_text("")
        words[5] = str(folder / "file" / "out")
    elif kind == "window":
        words += ["--window", "4", "--overlap", "4"]
    elif kind == "device":
        words += ["--device", "abacus"]
    return words


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "does not exist"),
        ("text", "is not a video"),
        ("truncated", "cut.mp4"),
        ("empty folder", "empty"),
        ("blank prompt", "blank prompt"),
        ("unknown model", "no-such-model"),
        ("not a model", "found neither"),
        ("unwritable", "cannot be written"),
        ("window", "pass a smaller overlap"),
        ("device", "expected a device"),
    ],
)
def test_mistakes_get_one_sentence(kind, sentence, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(broken(kind, tmp_path, clip)) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("vdit segment: ")
    assert sentence in out.err
    assert out.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_interrupted_run_leaves_nothing(clip, tmp_path, monkeypatch):
    from vdit.segment_output import SegmentationWriter

    add = SegmentationWriter.add

    def interrupt(self, frame):
        if frame.index == 3:
            raise KeyboardInterrupt
        add(self, frame)

    monkeypatch.setattr(SegmentationWriter, "add", interrupt)
    assert segment(clip, tmp_path / "out") == 130
    assert list(tmp_path.iterdir()) == []


def test_damaged_weights(clip, tmp_path, capsys):
    from vdit.build import load_model
    from vdit.checkpoint import save_model

    model, spec = load_model("vdit-mini-random")
    save_model(model, spec, tmp_path / "model", with_frozen=True)
    assert segment(clip, tmp_path / "out", "--model", str(tmp_path / "model")) == 0
    for name in ("model.safetensors", "unet/diffusion_pytorch_model.safetensors", "config.json"):
        file = tmp_path / "model" / name
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        capsys.readouterr()
        assert segment(clip, tmp_path / "broken", "--model", str(tmp_path / "model")) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert name.split("/")[0].split(".")[0] in error
        file.write_bytes(whole)
    assert not (tmp_path / "broken").exists()


def test_demo(tmp_path, capsys, monkeypatch):
    from vdit.commands import demo

    monkeypatch.setattr(demo, "SIZE", (8, 96, 96))
    assert main(["demo", "-o", str(tmp_path / "demo"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert len(summary["scores"]) == 3
    assert all(0 <= score["J&F"] <= 1 for score in summary["scores"].values())
    capsys.readouterr()
    (tmp_path / "demo" / "masks" / "by_hand").mkdir()
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert "which holds by_hand; pass another" in capsys.readouterr().err
    (tmp_path / "demo" / "masks" / "by_hand").rmdir()
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    assert capsys.readouterr().out.count("there is no such object, ") == 1
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {"clip.mp4", "masks", "overlay.mp4", "result.json", "scores.json", "sheet.png"}


def test_info(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["torch"] != "not installed"
    assert facts["kernels"]["cpu"] in ("compiled", "reference")
    assert "vdit-mini" in facts["models"]
    assert main(["info"]) == 0
    assert "kernels:" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["segment"], ["segment", "x.mp4"], ["dance"]])
def test_usage_errors(words):
    done = subprocess.run(
        [sys.executable, "-m", "vdit", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "usage: vdit" in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["segment", "--help"], ["convert", "--help"]])
def test_help(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    assert "usage: vdit" in capsys.readouterr().out


def test_changes_of_a_configuration_may_stand_after_the_flags():
    from vdit.cli import parse

    words = ["train", "c.yaml", "a=1", "-o", "runs/x", "--resume", "run.steps=2"]
    assert parse(words).changes == ["a=1", "run.steps=2"]
    for wrong in (["train", "c.yaml", "--resume", "oops"], ["demo", "-o", "x", "a=1"]):
        with pytest.raises(SystemExit):
            parse(wrong)


def test_sentences_of_the_demo():
    from vdit.commands.demo import choose_captions
    from vdit.datasets.synthetic.render import annotate

    clip = annotate(make_scene("simple", 3, 8, 48, 48), captions_per_kind=20)
    first, second, absent = choose_captions(clip, ["motion", "appearance"])
    assert {first.kind, second.kind} <= {"motion", "appearance"}
    assert first.objects != second.objects
    assert absent.objects == ()
    assert absent.meaning == "name"
    first, second, _ = choose_captions(clip)
    assert {first.kind, second.kind} <= {"spatial", "appearance", "category"}
