"""`vdit propagate` on a rendered clip: what it writes, how well it follows, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vdit.cli import main
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import annotate, render_frames
from vdit.masks import read_mask_png, write_mask_png, write_palette_png
from vdit.metrics.davis import region_similarity
from vdit.video_writer import VideoWriter

FRAMES, HEIGHT, WIDTH = 8, 96, 128


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    scene = make_scene("simple", 0, FRAMES, HEIGHT, WIDTH)
    masks = annotate(scene).masks
    labels = sum((i + 1) * mask.astype(np.uint8) for i, mask in enumerate(masks))
    with VideoWriter(folder / "clip.mp4", 10) as writer:
        for frame in render_frames(scene):
            writer.add(frame)
    write_palette_png(folder / "first.png", labels[0])
    return folder, labels


def propagate(folder, output, *more, labels="first.png"):
    words = ["propagate", str(folder / "clip.mp4"), "--labels", str(folder / labels)]
    words += ["--backbone", "mini", "--block", "vae4", "-o", str(output), *more]
    return main(words)


def test_masks_follow_the_objects(clip, tmp_path, capsys):
    folder, labels = clip
    assert propagate(folder, tmp_path / "out", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["objects"] == 3
    assert len(result["frames"]) == FRAMES
    paths = sorted((tmp_path / "out" / "masks").iterdir())
    masks = np.stack([read_mask_png(path) for path in paths])
    assert masks.shape == (FRAMES, HEIGHT, WIDTH)
    assert (masks[0] == labels[0]).all()
    copies = np.repeat(labels[:1], FRAMES - 1, axis=0)
    followed, copied = (
        [region_similarity(labels[1:] == k, found == k).mean() for k in (1, 2, 3)]
        for found in (masks[1:], copies)
    )
    assert min(followed) > 0.5
    assert np.mean(followed) > np.mean(copied) + 0.1
    assert (tmp_path / "out" / "overlay.mp4").is_file()


def test_mask_of_0_and_255_is_one_object(clip, tmp_path, capsys):
    folder, labels = clip
    write_mask_png(folder / "mask.png", labels[0] == 1)
    assert propagate(folder, tmp_path / "out", labels="mask.png") == 0
    assert "1 objects" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--block", "nowhere"], "expected blocks among"),
        (["--topk", "0"], "expected topk >= 1"),
        (["--backbone", "nobody"], "expected a backbone among"),
    ],
)
def test_mistakes_are_one_sentence(clip, tmp_path, capsys, more, message):
    assert propagate(clip[0], tmp_path / "out", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_of_others_are_kept(clip, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    assert propagate(clip[0], tmp_path / "out") == 2
    assert "which holds thesis.tex; pass another" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.tex").read_text() == "mine"


def test_labels_of_another_size_or_without_objects_are_refused(clip, tmp_path, capsys):
    folder, labels = clip
    write_palette_png(folder / "small.png", labels[0][:-1])
    assert propagate(folder, tmp_path / "out", labels="small.png") == 2
    assert "expected labels of the video's size 96x128" in capsys.readouterr().err
    write_palette_png(folder / "empty.png", np.zeros_like(labels[0]))
    assert propagate(folder, tmp_path / "out", labels="empty.png") == 2
    assert "expected labels 1..255" in capsys.readouterr().err
