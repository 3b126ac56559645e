"""Cityscapes: classes and depth of the labelled frame, snippets, single frames, damaged trees."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from vdit.datasets.checking import check
from vdit.datasets.cityscapes import CITYSCAPES, CLASSES, TRAIN_IDS, read_cityscapes
from vdit.datasets.cityscapes_depth import (
    CITYSCAPES_DEPTH,
    depth_from_disparity,
    read_cityscapes_depth,
)
from vdit.datasets.synthetic.writers.cityscapes import write_cityscapes

SHORT = {"before": 1, "after": 2}
NAME = "munster_000001_000001"
LABEL_IDS = {"cube": 26, "ball": 24}


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    """Two snippets of four frames; the second of each has truth."""
    clips = [("a", make_clip(seed=1)), ("b", clip)]
    write_cityscapes(clips, tmp_path, "val", "munster", LABEL_IDS, baseline_m=3.0, labelled=1)
    return tmp_path


def file_of(tree, folder, suffix, name=NAME):
    return tree / folder / "val/munster" / f"{name}_{suffix}"


def problems(benchmark, tree):
    short = dataclasses.replace(benchmark, read=lambda root, split: read(benchmark, root, split))
    return {p.what: p for p in check(short, tree, "val").splits["val"].problems}


def read(benchmark, tree, split="val"):
    return benchmark.read(tree, split, **SHORT)


def test_train_ids_are_those_of_the_owners():
    """By the names of the labels, which their scripts list in this order."""
    names = """unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground,
    road, sidewalk, parking, rail track, building, wall, fence, guard rail, bridge, tunnel, pole,
    polegroup, traffic light, traffic sign, vegetation, terrain, sky, person, rider, car, truck,
    bus, caravan, trailer, train, motorcycle, bicycle"""
    labels = [" ".join(name.split()) for name in names.split(",")]
    expected = [CLASSES.index(name) if name in CLASSES else 255 for name in labels]
    assert (TRAIN_IDS.tolist(), len(CLASSES)) == (expected, 19)


def test_labels_of_a_snippet(clip, tree):
    dataset = read(CITYSCAPES, tree)
    assert (dataset.classes, dataset.note) == (CLASSES, "")
    video = dataset.find(NAME)
    assert [each.name for each in dataset] == ["munster_000000_000001", NAME]
    assert (video.size, video.labelled) == ((24, 32), (1,))
    assert video.frame_names == tuple(f"munster_000001_{t:06d}" for t in range(4))
    np.testing.assert_array_equal(video.frames(), clip.frames)
    labels = video.labels(1)
    cube, ball = clip.masks[0, 1] | clip.masks[2, 1], clip.masks[1, 1]
    np.testing.assert_array_equal(labels == CLASSES.index("car"), cube)
    np.testing.assert_array_equal(labels == CLASSES.index("person"), ball)
    names = {CLASSES[label] for label in np.unique(labels)}
    assert names == {"road", "building", "sky", "person", "car"}
    with pytest.raises(ValueError, match="no labels of frame 2"):
        video.labels(2)


def test_void_and_train_ids(tree):
    path = file_of(tree, "gtFine", "gtFine_labelIds.png")
    stored = np.array(Image.open(path))
    stored[0, :3] = (0, 9, 1)  # unlabeled, parking, ego vehicle
    Image.fromarray(stored).save(path)
    from_all = read(CITYSCAPES, tree).find(NAME).labels(1)
    assert (from_all[0, :3] == 255).all()
    train = np.full_like(stored, 255)
    train[3:] = 18
    Image.fromarray(train).save(file_of(tree, "gtFine", "gtFine_labelTrainIds.png"))
    np.testing.assert_array_equal(read(CITYSCAPES, tree).find(NAME).labels(1), train)
    assert not problems(CITYSCAPES, tree)


def test_the_published_snippet_is_frames_19_before_and_10_after(tree):
    old, new = "munster_000001_000001", "munster_000001_000042"
    for folder in ("gtFine", "leftImg8bit"):
        for path in (tree / folder).rglob(f"{old}_*"):
            path.rename(path.with_name(path.name.replace(old, new)))
    (file_of(tree, "gtFine", "gtFine_labelIds.png", "munster_000000_000001")).unlink()
    (file_of(tree, "leftImg8bit", "leftImg8bit.png", "munster_000000_000001")).unlink()
    (video,) = read_cityscapes(tree)
    assert (len(video.frame_names), video.labelled) == (30, (19,))
    assert video.frame_names[0] == "munster_000001_000023"
    assert video.frame_names[19] == "munster_000001_000042"
    assert video.frame_names[-1] == "munster_000001_000052"


def test_single_frames_where_there_are_no_sequences(clip, tree):
    (tree / "leftImg8bit_sequence").rename(tree / "elsewhere")
    for benchmark in (CITYSCAPES, CITYSCAPES_DEPTH):
        dataset = benchmark.read(tree, "val")
        video = dataset.find(NAME)
        assert (video.frame_names, video.labelled) == ((NAME,), (0,))
        np.testing.assert_array_equal(video.frames([0])[0], clip.frames[1])
        assert "no leftImg8bit_sequence/val" in dataset.note
        report = check(benchmark, tree).splits["val"]
        assert (report.problems, report.notes[0]) == ([], dataset.note)
        assert (report.frames, report.labelled) == (2, 2)


def test_depth_of_a_snippet(clip, tree):
    video = read(CITYSCAPES_DEPTH, tree).find(NAME)
    depth, true = video.depth(1), clip.depth[1]
    assert (depth.dtype, depth.shape) == (np.float32, (24, 32))
    np.testing.assert_array_equal(depth == 0, (true > 80) | np.isinf(true))
    disparity = 3.0 * 40 / true[depth > 0]
    np.testing.assert_allclose(3.0 * 40 / depth[depth > 0], disparity, atol=0.501 / 256)
    assert not problems(CITYSCAPES_DEPTH, tree)


def test_depth_from_disparity_by_hand():
    """Half a metre apart, 512 pixels focal length: depth 256 m / pixels."""
    stored = np.array([[0, 1, 2, 257, 256 * 64 + 1, 256 * 4 + 1]], np.uint16)
    depth = depth_from_disparity(stored, 0.5, 512.0, max_depth=300.0)
    np.testing.assert_array_equal(depth, np.float32([[0, 0, 0, 256.0, 4.0, 64.0]]))
    np.testing.assert_array_equal(
        depth_from_disparity(stored, 0.5, 512.0), np.float32([[0, 0, 0, 0, 4.0, 64.0]])
    )


def test_reading_is_lazy(tree):
    for path in (*tree.rglob("*.png"), *tree.rglob("*_camera.json")):
        path.write_bytes(b"")
    assert len(read(CITYSCAPES, tree)) == len(read(CITYSCAPES_DEPTH, tree)) == 2


def break_labels(tree):
    path = file_of(tree, "gtFine", "gtFine_labelIds.png")
    stored = np.array(Image.open(path))
    stored[0, 0] = 77
    Image.fromarray(stored).save(path)


LABEL_DAMAGE = {
    "missing": (
        lambda tree: file_of(tree, "gtFine", "gtFine_labelIds.png").unlink(),
        "masks are missing",
        "does not exist",
    ),
    "cut": (
        lambda tree: file_of(tree, "gtFine", "gtFine_labelIds.png").write_bytes(b"\x89PNG"),
        "masks cannot be read as pictures",
        "no picture",
    ),
    "unknown label": (
        break_labels,
        "masks cannot be read as pictures",
        "holds 77, expected",
    ),
    "size": (
        lambda tree: Image.new("L", (8, 6), 7).save(file_of(tree, "gtFine", "gtFine_labelIds.png")),
        "masks differ in size from the frames",
        "is 8x6, but its frame is 32x24",
    ),
}


@pytest.mark.parametrize("case", LABEL_DAMAGE)
def test_damaged_labels(tree, case):
    damage, what, sentence = LABEL_DAMAGE[case]
    damage(tree)
    assert list(problems(CITYSCAPES, tree)) == [what]
    with pytest.raises(ValueError, match=sentence) as error:
        read(CITYSCAPES, tree).find(NAME).labels(1)
    assert "\n" not in str(error.value)


def change_camera(tree, part, key, value):
    path = file_of(tree, "camera", "camera.json")
    camera = json.loads(path.read_text())
    camera[part][key] = value
    path.write_text(json.dumps(camera))


DEPTH_DAMAGE = {
    "no disparity": (
        lambda tree: file_of(tree, "disparity", "disparity.png").unlink(),
        "does not exist",
    ),
    "8 bits": (
        lambda tree: Image.new("L", (32, 24), 7).save(file_of(tree, "disparity", "disparity.png")),
        "8 bits a pixel, expected 16",
    ),
    "no camera": (lambda tree: file_of(tree, "camera", "camera.json").unlink(), "does not exist"),
    "no JSON": (
        lambda tree: file_of(tree, "camera", "camera.json").write_text("{"),
        "is no JSON",
    ),
    "baseline": (
        lambda tree: change_camera(tree, "extrinsic", "baseline", 0),
        "has 0 as extrinsic.baseline, expected a number above 0",
    ),
    "focal length": (
        lambda tree: change_camera(tree, "intrinsic", "fx", "2262"),
        "has 2262 as intrinsic.fx",
    ),
}


@pytest.mark.parametrize("case", DEPTH_DAMAGE)
def test_damaged_depth(tree, case):
    damage, sentence = DEPTH_DAMAGE[case]
    damage(tree)
    assert list(problems(CITYSCAPES_DEPTH, tree)) == ["depth cannot be read"]
    with pytest.raises(ValueError, match=sentence) as error:
        read(CITYSCAPES_DEPTH, tree).find(NAME).depth(1)
    assert "\n" not in str(error.value)


def test_depth_that_is_nowhere_known_is_noted(tree):
    stored = np.zeros((24, 32), np.uint16)
    Image.fromarray(stored).save(file_of(tree, "disparity", "disparity.png"))
    assert list(problems(CITYSCAPES_DEPTH, tree)) == ["depth is unknown in the whole frame"]


def test_a_frame_of_the_snippet_is_missed(tree):
    (tree / "leftImg8bit_sequence/val/munster/munster_000001_000003_leftImg8bit.png").unlink()
    (problem,) = problems(CITYSCAPES, tree).values()
    assert (problem.what, problem.count) == ("frames are missing", 1)


def test_a_frame_may_be_all_road(tree):
    Image.new("L", (32, 24), 7).save(file_of(tree, "gtFine", "gtFine_labelIds.png"))
    assert not problems(CITYSCAPES, tree)


def test_what_cannot_be_listed_is_one_sentence(tree):
    with pytest.raises(ValueError, match="has truth, but only 1 frames before it, expected 19"):
        read_cityscapes(tree)
    with pytest.raises(ValueError, match="'test' is unknown, expected one of train, val"):
        read_cityscapes(tree, "test")
    with pytest.raises(ValueError, match="unpack disparity there"):
        read_cityscapes_depth(tree, "train")
    with pytest.raises(ValueError, match="expected before and after of 0 or more"):
        read_cityscapes(tree, before=-1)
    (file_of(tree, "gtFine", "gtFine_labelIds.png", "frame")).write_bytes(b"")
    with pytest.raises(ValueError, match="frame is no name of a frame"):
        read(CITYSCAPES, tree)
