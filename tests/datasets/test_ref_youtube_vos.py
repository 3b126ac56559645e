"""Ref-YouTube-VOS: rendered trees read back, the traps of its lists, and damaged trees."""

from __future__ import annotations

import gzip
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from vdit.datasets.checking import check
from vdit.datasets.ref_youtube_vos import REF_YOUTUBE_VOS, read_ref_youtube_vos
from vdit.datasets.synthetic.writers.ref_youtube_vos import write_ref_youtube_vos


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    for split in ("train", "valid"):
        write_ref_youtube_vos([("b", clip), ("a", make_clip(seed=1))], tmp_path, split=split)
    return tmp_path


def list_path(root, split="train"):
    return root / "meta_expressions" / split / "meta_expressions.json"


def change_list(root, change, split="train"):
    data = json.loads(list_path(root, split).read_text())
    change(data["videos"])
    list_path(root, split).parent.mkdir(parents=True, exist_ok=True)
    list_path(root, split).write_text(json.dumps(data))


def problems(root, split="train"):
    report = check(REF_YOUTUBE_VOS, root, split)
    found = report.splits[split].problems
    assert report.is_complete == (not found)
    return {problem.what: problem for problem in found}


def test_samples_are_those_that_were_written(tree, clip):
    dataset = read_ref_youtube_vos(tree, "train")
    assert list(dataset.by_video()) == ["b", "a"]
    sample = dataset.find("b", "2")
    assert (sample.text, sample.caption) == ("The ball", "the ball")
    assert sample.frame_names == ("00000", "00005", "00010", "00015")
    assert sample.object_ids == (2,)
    assert sample.has_truth
    assert sample.size == clip.frames.shape[1:3]
    np.testing.assert_array_equal(sample.masks(), clip.masks[[1]])
    np.testing.assert_array_equal(sample.masks([3, 0]), clip.masks[[1]][:, [3, 0]])
    frames = sample.frames([2, 2, 1])
    assert frames.dtype == np.uint8
    assert np.abs(frames.astype(int) - clip.frames[[2, 2, 1]]).mean() < 4
    assert len(sample.frames()) == 4


def test_samples_travel_to_workers(tree):
    sample = pickle.loads(pickle.dumps(read_ref_youtube_vos(tree)[0]))
    assert sample.masks().any()


def test_nothing_is_opened_before_it_is_asked_for(tree):
    for folder in ("JPEGImages", "Annotations"):
        (tree / "train" / folder).rename(tree / "train" / f"{folder}-elsewhere")
    dataset = read_ref_youtube_vos(tree)
    with pytest.raises(ValueError, match=r"00000.jpg does not exist"):
        dataset[0].frames([0])


def test_expression_ids_are_names(tree):
    def rename(videos):
        videos["b"]["expressions"] = {
            "7": {"exp": "x", "obj_id": "3"},
            "x1": {"exp": "y", "obj_id": "1"},
        }

    change_list(tree, rename)
    found = [sample.expression for sample in read_ref_youtube_vos(tree) if sample.video == "b"]
    assert found == ["7", "x1"]


def test_the_truth_of_valid_is_hidden(tree):
    sample = read_ref_youtube_vos(tree, "valid")[0]
    assert sample.object_ids is None
    assert not sample.has_truth
    assert len(sample.frames()) == 4
    with pytest.raises(ValueError, match="ref-youtube-vos valid has no public masks for b"):
        sample.masks()


def test_videos_of_test_are_left_out_of_valid(tree):
    list_path(tree, "test").parent.mkdir()
    videos = json.loads(list_path(tree, "valid").read_text())["videos"]
    list_path(tree, "test").write_text(json.dumps({"videos": {"b": videos["b"]}}))
    assert list(read_ref_youtube_vos(tree, "valid").by_video()) == ["a"]
    list_path(tree, "test").write_text(json.dumps({"videos": videos}))
    with pytest.raises(ValueError, match="names every video of valid"):
        read_ref_youtube_vos(tree, "valid")


def test_a_whole_tree_is_complete(tree):
    report = check(REF_YOUTUBE_VOS, tree)
    assert report.is_complete
    assert report.absent == ["test"]
    train = report.splits["train"]
    assert (train.videos, train.expressions, train.frames, train.frames_found) == (2, 8, 8, 8)
    assert "3471 videos" in train.notes[-1]


def test_a_missing_meta_json_is_only_a_note(tree):
    (tree / "train" / "meta.json").unlink()
    report = check(REF_YOUTUBE_VOS, tree, "train")
    assert report.is_complete
    assert "meta.json is not there" in report.splits["train"].notes[0]


def remove_frame(root):
    (root / "train/JPEGImages/b/00005.jpg").unlink()


def remove_mask(root):
    (root / "train/Annotations/b/00005.png").unlink()


def damage_frame(root):
    (root / "train/JPEGImages/b/00005.jpg").write_bytes(b"nothing")


def shrink_frame(root):
    Image.new("RGB", (8, 8)).save(root / "train/JPEGImages/b/00005.jpg")


def color_mask(root):
    path = root / "train/Annotations/b/00005.png"
    Image.open(path).convert("RGB").save(path)


def whiten_mask(root):
    path = root / "train/Annotations/b/00005.png"
    Image.fromarray((np.array(Image.open(path)) > 0).astype(np.uint8) * np.uint8(255)).save(path)


def shrink_masks(root):
    for path in (root / "train/Annotations/b").iterdir():
        Image.open(path).resize((16, 12), Image.Resampling.NEAREST).save(path)


def name_unknown_object(root):
    change_list(root, lambda videos: videos["b"]["expressions"]["0"].update(obj_id="9"))


@pytest.mark.parametrize(
    ("damage", "what", "where", "sentence"),
    [
        (remove_frame, "frames are missing", "b/00005.jpg", "does not exist"),
        (remove_mask, "masks are missing", "b/00005.png", "does not exist"),
        (damage_frame, "frames cannot be read as pictures", "b/00005.jpg", "as a picture"),
        (shrink_frame, "frames differ in size from the first one", "b/00005.jpg", "8x8"),
        (color_mask, "masks are in color", "b/00005.png", "picture mode RGB"),
        (whiten_mask, "masks hold 0 and 255", "b/00005.png", "only 0 and 255"),
        (shrink_masks, "masks differ in size from the frames", "16x12, frames 32x24", "16x12, but"),
        (name_unknown_object, "expressions name objects that meta.json", "b/0: object 9", None),
    ],
)
def test_damage_is_found(tree, damage, what, where, sentence):
    damage(tree)
    found = problems(tree)
    (problem,) = found.values()
    assert problem.what.startswith(what)
    assert problem.count == 1
    assert where in problem.first[0]
    sample = read_ref_youtube_vos(tree).find("b", "0")
    if sentence is None:
        assert not sample.masks().any()
        return
    with pytest.raises(ValueError, match=sentence):
        _ = sample.frames(), sample.masks()


def test_gray_pictures_of_ids_are_labels(tree, clip):
    for path in (tree / "train/Annotations/b").iterdir():
        Image.fromarray(np.array(Image.open(path))).save(path)
    assert not problems(tree)
    np.testing.assert_array_equal(read_ref_youtube_vos(tree)[0].masks(), clip.masks[[0]])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda videos: videos.clear(), "lists no video"),
        (lambda videos: videos["b"].update(frames=[]), "empty list of frames"),
        (lambda videos: videos["b"].pop("frames"), 'no "frames" list'),
        (lambda videos: videos["b"]["expressions"]["0"].pop("exp"), 'has no text "exp"'),
        (lambda videos: videos["b"]["expressions"]["0"].pop("obj_id"), "obj_id ''"),
        (lambda videos: videos["b"]["expressions"]["0"].update(obj_id="0"), "obj_id '0'"),
    ],
)
def test_broken_lists(tree, change, sentence):
    change_list(tree, change)
    with pytest.raises(ValueError, match=sentence):
        read_ref_youtube_vos(tree)
    assert sentence in problems(tree)["lists cannot be read"].first[0]


def test_mistakes(tree):
    dataset = read_ref_youtube_vos(tree)
    with pytest.raises(ValueError, match="has no expression '99', only 0, 1, 2"):
        dataset.find("b", "99")
    with pytest.raises(ValueError, match="has no video 'c'"):
        dataset.find("c", "0")
    with pytest.raises(ValueError, match="frame 4 is not in b of 4 frames"):
        dataset[0].masks([4])
    with pytest.raises(ValueError, match="split='val' is unknown"):
        read_ref_youtube_vos(tree, "val")
    with pytest.raises(ValueError, match=r"test/meta_expressions.json does not exist"):
        read_ref_youtube_vos(tree, "test")
    with pytest.raises(ValueError, match=r"not a folder.*youtube-vos\.org"):
        check(REF_YOUTUBE_VOS, tree / "elsewhere")
    list_path(tree).write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        read_ref_youtube_vos(tree)


@pytest.mark.assets
def test_real_list_of_valid(assets, tmp_path):
    packed = assets / "refer" / "ref_youtube_vos_valid_meta_expressions.json.gz"
    data = json.loads(gzip.decompress(packed.read_bytes()))
    list_path(tmp_path, "valid").parent.mkdir(parents=True)
    list_path(tmp_path, "valid").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="507 videos, of which 202 are scored"):
        read_ref_youtube_vos(tmp_path, "valid")
    others = dict(list(data["videos"].items())[:305])
    list_path(tmp_path, "test").parent.mkdir()
    list_path(tmp_path, "test").write_text(json.dumps({"videos": others}))
    dataset = read_ref_youtube_vos(tmp_path, "valid")
    assert len(dataset.by_video()) == 202
    assert max(len(sample.frame_names) for sample in dataset) <= 36
    assert all(int(name) % 5 == 0 for sample in dataset for name in sample.frame_names)
    report = check(REF_YOUTUBE_VOS, tmp_path, "valid").splits["valid"]
    assert report.problems[0].what == "frames are missing"
    assert report.problems[0].count == report.frames
    assert report.notes == ["as many videos and expressions as published"]
