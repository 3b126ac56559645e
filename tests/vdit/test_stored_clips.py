"""Stored clips are those that would be drawn, and say the same of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vdit.datasets.synthetic.render import annotate, render_frames
from vdit.datasets.synthetic.scene import VERSION
from vdit.stages import stored_clips
from vdit.stages.clips import ClipConfig, draw_absent
from vdit.stages.stored_clips import (
    ClipStore,
    StoreConfig,
    StoredClips,
    open_clips,
    store_folder,
    write_clips,
)

DATA = ClipConfig(recipe="crossed", rendered=5, frames=3, height=32, width=48, per_kind=4)
CONFIG = StoreConfig(data=DATA, count=5, shard=2, workers=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "model"
    write_clips(CONFIG, folder)
    return folder


def test_everything_of_a_clip_comes_back(folder, monkeypatch):
    store = ClipStore(store_folder(folder, "clips"))
    scenes = []
    make_scene = stored_clips.make_scene
    monkeypatch.setattr(
        stored_clips, "make_scene", lambda *words: scenes.append(make_scene(*words)) or scenes[-1]
    )
    for index in range(len(store)):
        drawn = stored_clips._Renderings(CONFIG)[index]
        clip = store[index]
        np.testing.assert_array_equal(clip.frames, drawn.frames)
        np.testing.assert_array_equal(clip.instances, drawn.instances)
        assert (clip.description, clip.names, clip.captions) == (
            drawn.description,
            drawn.names,
            drawn.captions,
        )
        whole = annotate(scenes[-1], DATA.per_kind)
        every = render_frames(scenes[-1])
        places = [int(np.flatnonzero((every == f).all(axis=(1, 2, 3)))[0]) for f in clip.frames]
        np.testing.assert_array_equal(clip.masks, whole.masks[:, places])
        np.testing.assert_array_equal(clip.boxes_xyxy, whole.boxes_xyxy[:, places])


def test_two_processes_draw_the_same(folder, tmp_path):
    write_clips(StoreConfig(data=DATA, count=5, shard=2, workers=2), tmp_path / "model")
    one, two = (ClipStore(store_folder(each, "clips")) for each in (folder, tmp_path / "model"))
    for index in range(5):
        np.testing.assert_array_equal(one[index].frames, two[index].frames)


def test_a_killed_run_goes_on(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    write_clips(CONFIG, folder)
    last = store_folder(folder, "clips") / "00002.safetensors"
    last.unlink()
    with pytest.raises(ValueError, match=r"00002.safetensors is missing; run the stage `clips`"):
        ClipStore(store_folder(folder, "clips"))
    written = []
    write = stored_clips._write_shard
    monkeypatch.setattr(
        stored_clips, "_write_shard", lambda *words: written.append(words[0]) or write(*words)
    )
    write_clips(CONFIG, folder)
    assert written == [last]
    assert len(ClipStore(store_folder(folder, "clips"))) == 5


def test_other_clips_are_refused(folder):
    with pytest.raises(ValueError, match="found others; remove the folder"):
        write_clips(StoreConfig(data=DATA, count=6, shard=2, workers=0), folder)


def test_no_clips(tmp_path):
    with pytest.raises(ValueError, match="run the stage `clips` first"):
        open_clips(ClipConfig(stored="clips"), tmp_path / "model", 1)


def test_examples(folder):
    config = ClipConfig(stored="clips", frames=2, captions=2, absent=1, kinds=["appearance"])
    clips = open_clips(config, folder, seed=1)
    assert isinstance(clips, StoredClips)
    for index in range(6):
        first, again = clips[index], clips[index]
        assert torch.equal(first.video, again.video)
        assert first.captions == again.captions
        assert first.video.shape == (2, 3, 32, 48)
        assert len(first.captions) == len(first.targets)
        assert [len(target.masks) for target in first.targets[:-1]] == [1] * (
            len(first.targets) - 1
        )
        assert not len(first.targets[-1].masks)
    assert not torch.equal(clips[0].video, open_clips(config, folder, seed=2)[0].video)


def test_only_the_first_clips(folder):
    whole = ClipStore(store_folder(folder, "clips"))
    clips = open_clips(ClipConfig(stored="clips", first=2, frames=3), folder, seed=1)
    shown = {clips[index].video.permute(0, 2, 3, 1).numpy().tobytes() for index in range(20)}
    every = open_clips(ClipConfig(stored="clips", frames=3), folder, seed=1)
    assert len(clips.store) == 2 < len(whole)
    assert shown == {whole[k].frames.tobytes() for k in range(2)}
    assert len({every[index].video.numpy().tobytes() for index in range(20)}) == len(whole)


@pytest.mark.parametrize("first", [-1, 6])
def test_more_clips_than_there_are(folder, first):
    with pytest.raises(ValueError, match="take fewer clips, or draw more"):
        open_clips(ClipConfig(stored="clips", first=first), folder, seed=1)


def test_first_of_clips_that_are_not_stored():
    with pytest.raises(ValueError, match=r"expected data\.stored beside data\.first"):
        open_clips(ClipConfig(first=3), Path("nowhere"), seed=1)


def test_clips_without_any_sentence_end(folder):
    clips = open_clips(ClipConfig(stored="clips", frames=2, kinds=[]), folder, seed=1)
    with pytest.raises(ValueError, match="expected a sentence about one object"):
        clips[0]


def test_what_is_absent_is_not_there_and_looks_like_it():
    rng = np.random.default_rng(0)
    names = [("ball", "red"), ("cube", "red"), ("ball", "blue")]
    texts = [caption.text for caption in draw_absent(rng, names, 300)]
    shares = 0
    for text in texts:
        words = set(text.split())
        assert not any({category, color} <= words for category, color in names)
        assert words & {"ball", "cube", "cone", "car", "duck", "dog", "tree", "mushroom"}
        shares += bool(words & {"ball", "cube", "red", "blue"})
        if not words & {"red", "yellow", "green", "blue", "white", "black", "pink", "orange"}:
            assert not words & {"ball", "cube"}, text
    assert shares > 200


def test_the_files_name_the_renderer(folder: Path):
    facts = json.loads((store_folder(folder, "clips") / "config.json").read_text())
    assert facts["renderer"] == VERSION
    assert facts["data"]["recipe"] == "crossed"
