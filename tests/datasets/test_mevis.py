"""MeViS: any number of objects a sentence, run lengths of every kind, hidden truth, damage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from vdit.datasets.checking import check
from vdit.datasets.mevis import MEVIS, read_mevis
from vdit.datasets.synthetic.clip import Caption
from vdit.datasets.synthetic.writers.mevis import write_mevis
from vdit.masks import decode_rle


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    for split in ("valid_u", "valid"):
        write_mevis([("b", clip), ("a", make_clip(seed=1))], tmp_path, split=split)
    return tmp_path


def change(path, edit):
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def list_of(root):
    return root / "valid_u" / "meta_expressions.json"


def masks_of(root):
    return root / "valid_u" / "mask_dict.json"


def test_one_several_and_no_object(tree, clip):
    dataset = read_mevis(tree, "valid_u")
    assert [len(sample.object_ids) for sample in dataset][:6] == [1, 1, 1, 1, 2, 0]
    several = dataset.find("b", "4")
    np.testing.assert_array_equal(several.masks(), clip.masks[[0, 2]])
    np.testing.assert_array_equal(several.masks([3, 1]), clip.masks[[0, 2]][:, [3, 1]])
    nothing = dataset.find("b", "5")
    assert nothing.has_truth
    assert nothing.masks().shape == (0, 4, 24, 32)
    assert nothing.frames().shape == (4, 24, 32, 3)


def test_objects_are_the_same_in_every_sentence_and_differ_between_videos(tree):
    videos = read_mevis(tree, "valid_u").by_video()
    assert videos["b"][0].object_ids == videos["b"][1].object_ids == (0,)
    assert videos["a"][0].object_ids == (3,)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_hidden_truth(clip, tmp_path, split):
    write_mevis([("a", clip)], tmp_path, split=split)
    sample = read_mevis(tmp_path, split).find("a", "4")
    assert sample.object_ids is None
    with pytest.raises(ValueError, match=f"mevis {split} has no public masks"):
        sample.masks()
    assert check(MEVIS, tmp_path, split).is_complete


def test_run_lengths_as_lists(tree, clip):
    def expand(masks):
        for runs in masks.values():
            for t, run in enumerate(runs):
                if run is not None:
                    flat = decode_rle(run).T.ravel()
                    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
                    counts = np.diff(np.concatenate([[0], edges])).tolist()
                    runs[t] = {"size": run["size"], "counts": counts}

    change(masks_of(tree), expand)
    np.testing.assert_array_equal(read_mevis(tree, "valid_u")[0].masks(), clip.masks[[0]])
    assert check(MEVIS, tree).is_complete


def test_run_lengths_as_bytes(clip):
    run = coco_mask.encode(np.asfortranarray(clip.masks[0, 0], dtype=np.uint8))
    assert isinstance(run["counts"], bytes)
    np.testing.assert_array_equal(decode_rle(run), clip.masks[0, 0])


def test_masks_are_read_only_when_asked_for(tree):
    masks_of(tree).write_text("no JSON")
    sample = read_mevis(tree, "valid_u")[0]
    sample.frames([0])
    with pytest.raises(ValueError, match=r"mask_dict\.json is no JSON"):
        sample.masks()


def test_first_release_names_something_in_every_sentence(make_clip, tmp_path):
    clip = make_clip(captions=(Caption("two cubes", "several", (0, 2)),))
    write_mevis([("a", clip)], tmp_path)
    report = check(MEVIS, tmp_path).splits["train"]
    assert report.notes[0] == "0 expressions name no object, 1 name several"
    assert "MeViS v1: 1662 videos, 23051 expressions" in report.notes[1]


def test_a_whole_tree_is_complete(tree):
    report = check(MEVIS, tree)
    assert report.is_complete
    assert report.absent == ["train", "test"]
    found = report.splits["valid_u"]
    assert (found.videos, found.expressions, found.frames_found) == (2, 12, 8)
    assert found.notes[0] == "2 expressions name no object, 2 name several"


def resize(masks):
    for run in masks["0"]:
        if run is not None:
            run.update(size=[16, 48])


@pytest.mark.parametrize(
    ("damage", "what", "where", "sentence"),
    [
        (
            lambda r: (r / "valid_u/JPEGImages/b/00001.jpg").unlink(),
            "frames are missing",
            "b/00001.jpg",
            r"00001\.jpg does not exist",
        ),
        (
            lambda r: change(masks_of(r), lambda masks: masks.pop("0")),
            "objects of expressions have no masks",
            "b: annotation 0",
            "has no masks of annotation 0 of video b",
        ),
        (
            lambda r: change(masks_of(r), lambda masks: masks["0"].pop()),
            "objects have more or fewer masks",
            "b: annotation 0",
            "has 3 masks, but video b has 4 frames",
        ),
        (
            lambda r: change(masks_of(r), lambda masks: masks["0"][0].pop("size")),
            "masks are no run lengths",
            "b: annotation 0",
            "needs the keys size and counts",
        ),
        (
            lambda r: change(masks_of(r), resize),
            "masks of one video differ in size",
            "b",
            "is 48x16, but its frame is 32x24",
        ),
        (
            lambda r: masks_of(r).unlink(),
            "lists cannot be read",
            "mask_dict.json does not exist",
            r"mask_dict\.json does not exist",
        ),
    ],
)
def test_damage_is_found(tree, damage, what, where, sentence):
    damage(tree)
    problem = check(MEVIS, tree, "valid_u").splits["valid_u"].problems[0]
    assert problem.what.startswith(what)
    assert where in problem.first[0]
    sample = read_mevis(tree, "valid_u").find("b", "0")
    with pytest.raises(ValueError, match=sentence):
        _ = sample.frames(), sample.masks()


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda entry: entry.pop("anno_id"), "has no lists obj_id and anno_id"),
        (lambda entry: entry.update(anno_id=[]), "expected one each"),
        (lambda entry: entry.update(obj_id=[0, 0], anno_id=[1, 1]), "expected one each"),
        (lambda entry: entry.update(exp=None), "has no text"),
    ],
)
def test_broken_lists(tree, edit, sentence):
    change(list_of(tree), lambda data: edit(data["videos"]["b"]["expressions"]["0"]))
    with pytest.raises(ValueError, match=sentence):
        read_mevis(tree, "valid_u")
    assert not check(MEVIS, tree, "valid_u").is_complete


def test_an_empty_split(tree):
    list_of(tree).write_text('{"videos": {}}')
    with pytest.raises(ValueError, match="lists no video"):
        read_mevis(tree, "valid_u")
    change(
        tree / "valid" / "meta_expressions.json",
        lambda d: [v["expressions"].clear() for v in d["videos"].values()],
    )
    assert len(read_mevis(tree, "valid")) == 0
    (problem,) = check(MEVIS, tree, "valid").splits["valid"].problems
    assert problem.what == "lists name no expression"
