"""JHMDB-Sentences: paths of its authors, frames from 1, masks in MATLAB files, damaged trees."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import scipy.io
from PIL import Image

from vdit.datasets.checking import check
from vdit.datasets.jhmdb import JHMDB, read_jhmdb
from vdit.datasets.synthetic.writers.jhmdb import write_jhmdb

LIST = "jhmdb_sentences_samples_metadata.json"


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    root = tmp_path / "jhmdb_sentences"
    write_jhmdb([("b", clip), ("a", make_clip(seed=1, action="jump"))], root)
    return root


def mask_path(root):
    return root / "puppet_mask/roll_left/b/puppet_mask.mat"


def change_rows(root, edit):
    rows = json.loads((root / LIST).read_text())
    (root / LIST).write_text(json.dumps([edit(row) for row in rows]))


def test_samples_are_those_that_were_written(tree, clip):
    dataset = read_jhmdb(tree)
    assert len(dataset) == 6
    for sample in dataset.by_video()["b"]:
        (t,) = sample.labelled
        assert sample.expression == f"f_{t + 1}"
        np.testing.assert_array_equal(sample.masks(), clip.masks[[0]][:, [t]])
        np.testing.assert_array_equal(sample.frames(), clip.frames)
        assert sample.frame_names == ("00001", "00002", "00003", "00004")
        with pytest.raises(ValueError, match=f"b has no mask for frame {(t + 1) % 4}"):
            sample.masks([(t + 1) % 4])


def test_samples_are_called_as_in_the_truth(tree):
    truth = json.loads((tree / "jhmdb_sentences_gt_annotations_in_coco_format.json").read_text())
    found = {f"v_{sample.video}_{sample.expression}" for sample in read_jhmdb(tree)}
    assert found == {image["id"] for image in truth["images"]}


@pytest.mark.parametrize("prefix", ["/home/someone/jhmdb_sentences", "jhmdb/jhmdb_sentences"])
def test_paths_of_the_authors(tree, prefix, clip):
    def move(row):
        paths = [path.replace("./jhmdb_sentences", prefix) for path in row[1:3]]
        return [row[0], *paths, *row[3:]]

    change_rows(tree, move)
    np.testing.assert_array_equal(read_jhmdb(tree)[0].frames(), clip.frames)
    assert check(JHMDB, tree).is_complete


def test_the_root_may_be_the_folder_above(tree):
    report = check(JHMDB, tree.parent)
    assert report.is_complete
    assert report.splits["test"].frames_found == 8
    assert len(read_jhmdb(tree.parent)) == 6


def test_fewer_masks_than_frames(tree, clip):
    masks = scipy.io.loadmat(mask_path(tree))["part_mask"]
    scipy.io.savemat(mask_path(tree), {"part_mask": masks[:, :, :2]})
    first, _, last = read_jhmdb(tree).by_video()["b"]
    np.testing.assert_array_equal(first.masks()[0, 0], clip.masks[0, first.labelled[0]])
    with pytest.raises(ValueError, match="has 2 masks, none of frame 4"):
        last.masks()
    (problem,) = check(JHMDB, tree).splits["test"].problems
    assert problem.what == "labelled frames have no mask"


def resize_masks(root):
    scipy.io.savemat(mask_path(root), {"part_mask": np.ones((12, 16, 4), np.uint8)})


@pytest.mark.parametrize(
    ("damage", "what", "sentence"),
    [
        (lambda r: mask_path(r).unlink(), "masks are missing", "does not exist"),
        (lambda r: mask_path(r).write_bytes(b"x" * 200), "masks cannot be read", "be read"),
        (
            lambda r: scipy.io.savemat(mask_path(r), {"other": 1}),
            "masks cannot be read",
            "no part_mask",
        ),
        (resize_masks, "masks differ in size from the frames", "is 16x12, but its frame is 32x24"),
        (
            lambda r: (r / "Rename_Images/roll_left/b/00003.png").unlink(),
            "frames are missing",
            r"00003\.png does not exist",
        ),
        (
            lambda r: Image.new("RGB", (8, 8)).save(r / "Rename_Images/roll_left/b/00003.png"),
            "frames differ in size from the first one of their video",
            "8x8",
        ),
    ],
)
def test_damage_is_found(tree, damage, what, sentence):
    damage(tree)
    (problem,) = check(JHMDB, tree).splits["test"].problems
    assert (problem.what, problem.count) == (what, 1)
    sample = read_jhmdb(tree)[0]
    with pytest.raises(ValueError, match=sentence):
        _ = sample.frames(), sample.masks()


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda row: row[:4], r"expected \[video, frame, masks"),
        (lambda row: [*row[:3], "40", row[4]], r"expected \[video, frame, masks"),
        (lambda row: [*row[:3], 1, row[4]], "is not one of the frames 1 to 1"),
        (lambda row: [row[0], row[1].replace("0000", "x"), *row[2:]], "is not one of the frames"),
    ],
)
def test_broken_lists(tree, edit, sentence):
    change_rows(tree, edit)
    with pytest.raises(ValueError, match=sentence):
        read_jhmdb(tree)


def test_mistakes(tree):
    with pytest.raises(ValueError, match="jhmdb has only 'test'"):
        read_jhmdb(tree, "train")
    (tree / LIST).write_text("[]")
    with pytest.raises(ValueError, match="names no sample"):
        read_jhmdb(tree)
    (tree / LIST).write_text("{}")
    with pytest.raises(ValueError, match="holds a dict, expected a list"):
        read_jhmdb(tree)


@pytest.mark.assets
def test_real_list(assets, tmp_path):
    packed = assets / "refer" / "jhmdb_sentences_samples_metadata.json.gz"
    (tmp_path / LIST).write_bytes(gzip.decompress(packed.read_bytes()))
    dataset = read_jhmdb(tmp_path)
    assert (len(dataset), len(dataset.by_video())) == (2784, 928)
    assert all(len(samples) == 3 for samples in dataset.by_video().values())
    first = dataset[0]
    assert first.text == "man in black pulling up"
    assert len(first.frame_names) == 40
    assert first.frame_source.path(0) == (
        tmp_path / "Rename_Images/pullup/100_pullups_pullup_f_nm_np1_fr_med_1/00001.png"
    )
