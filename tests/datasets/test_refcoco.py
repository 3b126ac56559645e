"""RefCOCO, RefCOCO+ and RefCOCOg: videos of one frame, polygons and run lengths, damaged trees."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vdit.datasets.checking import check
from vdit.datasets.refcoco import REFCOCO, REFCOCO_PLUS, REFCOCOG, read_refcoco
from vdit.datasets.synthetic.writers.refcoco import write_refcoco
from vdit.masks import encode_rle

FRAME = 1


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    write_refcoco([("b", clip), ("a", make_clip(seed=1))], tmp_path, frame=FRAME)
    return tmp_path


def list_of(root):
    return root / "refcoco" / "instances_refcoco_train.json"


def change(root, edit):
    data = json.loads(list_of(root).read_text())
    edit(data)
    list_of(root).write_text(json.dumps(data))


def test_samples_are_those_that_were_written(tree, clip):
    dataset = read_refcoco(tree)
    samples = dataset.by_video()["COCO_train2014_000000000001"]
    assert [(s.expression, s.text) for s in samples] == [
        ("1", "the red cube"),
        ("2", "The ball"),
        ("3", "the green cube on the right"),
    ]
    for k, sample in enumerate(samples):
        assert sample.frame_names == ("COCO_train2014_000000000001",)
        assert sample.frames().shape == (1, 24, 32, 3)
        np.testing.assert_array_equal(sample.masks(), clip.masks[[k]][:, [FRAME]])
        assert sample.object_ids == (k + 1,)


@pytest.mark.parametrize(
    ("benchmark", "split"), [(REFCOCO, "testA"), (REFCOCO_PLUS, "testB"), (REFCOCOG, "test")]
)
def test_every_data_set(clip, tmp_path, benchmark, split):
    write_refcoco([("a", clip)], tmp_path, split=split, dataset=benchmark.name)
    report = check(benchmark, tmp_path)
    assert report.is_complete
    assert list(report.splits) == [split]
    assert (report.splits[split].videos, report.splits[split].frames_found) == (1, 1)
    assert benchmark.read(tmp_path, split)[0].dataset == benchmark.name


def test_run_lengths_are_masks_too(tree, clip):
    rle = encode_rle(clip.masks[0, FRAME])
    change(tree, lambda data: data["annotations"][0].update(segmentation=rle))
    np.testing.assert_array_equal(read_refcoco(tree)[0].masks()[0, 0], clip.masks[0, FRAME])


def test_gray_pictures(tree):
    path = tree / "train2014" / "COCO_train2014_000000000001.jpg"
    Image.open(path).convert("L").save(path)
    frames = read_refcoco(tree)[0].frames()
    assert frames.shape == (1, 24, 32, 3)


@pytest.mark.parametrize(
    ("damage", "what", "sentence"),
    [
        (
            lambda r: (r / "train2014/COCO_train2014_000000000001.jpg").unlink(),
            "frames are missing",
            "does not exist",
        ),
        (
            lambda r: Image.new("RGB", (8, 9)).save(
                r / "train2014/COCO_train2014_000000000001.jpg"
            ),
            "masks differ in size from the frames",
            "is 32x24, but its frame is 8x9",
        ),
        (
            lambda r: change(r, lambda data: data["annotations"][0].update(segmentation=[])),
            "masks are neither polygons nor run lengths",
            "has no polygon",
        ),
        (
            lambda r: change(r, lambda data: data["annotations"][0].update(segmentation=[[1, 2]])),
            "masks are neither polygons nor run lengths",
            "has no polygon",
        ),
    ],
)
def test_damage_is_found(tree, damage, what, sentence):
    damage(tree)
    problems = check(REFCOCO, tree).splits["train"].problems
    assert [problem.what for problem in problems] == [what]
    sample = read_refcoco(tree)[0]
    with pytest.raises(ValueError, match=sentence):
        _ = sample.frames(), sample.masks()


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda data: data["images"].clear(), "names no picture"),
        (lambda data: data["annotations"].pop(), "has 5 annotations for 6 images"),
        (lambda data: data["images"][0].pop("caption"), "image 1 has no caption"),
        (lambda data: data["images"][0].update(id=99), "image 99 has no annotation"),
    ],
)
def test_broken_lists(tree, edit, sentence):
    change(tree, edit)
    with pytest.raises(ValueError, match=sentence):
        read_refcoco(tree)
    assert not check(REFCOCO, tree).is_complete


def test_mistakes(tree):
    with pytest.raises(ValueError, match="refcocog has train, val, test"):
        read_refcoco(tree, "testA", "refcocog")
    with pytest.raises(ValueError, match="name='coco' is unknown"):
        read_refcoco(tree, name="coco")
