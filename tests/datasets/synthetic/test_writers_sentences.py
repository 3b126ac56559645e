"""A2D, JHMDB and RefCOCO: read back with h5py, SciPy, csv, json and pycocotools."""

from __future__ import annotations

import csv
import json
import sys

import av
import numpy as np
import pytest
import scipy.io
from PIL import Image
from pycocotools import mask as coco_mask

from vdit.datasets.synthetic.clip import Caption
from vdit.datasets.synthetic.writers.a2d import write_a2d
from vdit.datasets.synthetic.writers.jhmdb import write_jhmdb
from vdit.datasets.synthetic.writers.refcoco import trace_rectangles, write_refcoco
from vdit.masks import decode_rle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def rasterize(polygons, height, width):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))


def test_a2d_needs_h5py(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"pip install vdit\[a2d\]"):
        write_a2d([("a", clip)], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.optional
def test_a2d(clip, make_clip, empty_clip, tmp_path):
    h5py = pytest.importorskip("h5py")
    clips = [("tr", make_clip(seed=1)), ("te", clip), ("gone", empty_clip)]
    write_a2d(clips, tmp_path, test_names=["te"], num_labelled=4)
    texts = tmp_path / "text_annotations"
    assert read_csv(texts / "a2d_annotation.txt")[:4] == [
        ["video_id", "instance_id", "query"],
        ["tr", "0", "the red cube"],
        ["tr", "1", "The ball"],
        ["tr", "2", "the green cube on the right"],
    ]
    assert (texts / "a2d_missed_videos.txt").read_text() == "gone\n"
    videos = read_csv(tmp_path / "Release/videoset.csv")
    assert [(row[0], row[-1]) for row in videos] == [("tr", "0"), ("te", "1"), ("gone", "0")]
    assert videos[1][4:8] == ["24", "32", "4", "4"]
    assert len(videos[0]) == 9

    masks = clip.masks
    folder = texts / "a2d_annotation_with_instances"
    assert [path.name for path in sorted((folder / "te").iterdir())] == [
        f"{t:05d}.h5" for t in range(1, 5)
    ]
    assert not (folder / "gone").exists()
    shapes = []
    for t in range(4):
        with h5py.File(folder / "te" / f"{t + 1:05d}.h5") as file:
            instances = list(file["instance"])
            stored = np.array(file["reMask"])
            stored = stored[None] if len(instances) == 1 else stored
            boxes = np.array(file["reBBox"])
        shapes.append(len(instances))
        assert instances == [k for k in range(3) if masks[k, t].any()]
        np.testing.assert_array_equal(stored.transpose(0, 2, 1).astype(bool), masks[instances, t])
        np.testing.assert_array_equal(boxes, clip.boxes_xyxy[instances, t].T)
    assert shapes == [3, 3, 1, 2]  # both forms of reMask came up

    rows = read_json(tmp_path / "a2d_sentences_single_frame_test_annotations.json")
    assert rows[0] == ["the red cube", "te", 1, 0]
    assert ["the ball", "te", 3, 1] in rows
    assert len(rows) == sum(shapes)
    train = read_json(tmp_path / "a2d_sentences_single_frame_train_annotations.json")
    assert {row[1] for row in train} == {"tr"}
    truth = read_json(tmp_path / "a2d_sentences_test_annotations_in_coco_format.json")
    ids = [f"v_{vid}_f_{t}_i_{k}" for _, vid, t, k in rows]
    assert [image["id"] for image in truth["images"]] == ids
    for (_, _, t, k), annotation in zip(rows, truth["annotations"], strict=True):
        np.testing.assert_array_equal(decode_rle(annotation["segmentation"]), masks[k, t - 1])

    with av.open(str(tmp_path / "Release/CLIPS320/te.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.abs(np.stack(frames).astype(int) - clip.frames).mean() < 8


@pytest.mark.optional
def test_a2d_labels_few_frames(clip, tmp_path):
    pytest.importorskip("h5py")
    write_a2d([("a", clip)], tmp_path, num_labelled=2)
    folder = tmp_path / "text_annotations/a2d_annotation_with_instances/a"
    assert len(list(folder.iterdir())) == 2
    with pytest.raises(ValueError, match="'b', but no clip has this name"):
        write_a2d([("a", clip)], tmp_path / "other", test_names=["b"])


def test_jhmdb(clip, make_clip, tmp_path):
    other = make_clip(seed=1, action="")
    write_jhmdb([("v_1", clip), ("v_2", other)], tmp_path, test_names={"v_2"})
    assert read_csv(tmp_path / "jhmdb_annotation.txt") == [
        ["video_id", "query"],
        ["v_1", "the red cube"],
        ["v_2", "the red cube"],
    ]
    assert (tmp_path / "splits/roll_left_test_split1.txt").read_text() == "v_1.avi 1\n"
    assert (tmp_path / "splits/bounce_test_split1.txt").read_text() == "v_2.avi 2\n"
    frames = sorted((tmp_path / "Rename_Images/roll_left/v_1").iterdir())
    assert [path.name for path in frames] == ["00001.png", "00002.png", "00003.png", "00004.png"]
    for path, frame in zip(frames, clip.frames, strict=True):
        np.testing.assert_array_equal(np.array(Image.open(path)), frame)
    mat = scipy.io.loadmat(tmp_path / "puppet_mask/roll_left/v_1/puppet_mask.mat")
    assert mat["part_mask"].dtype == np.uint8
    np.testing.assert_array_equal(mat["part_mask"].transpose(2, 0, 1) > 0, clip.masks[0])


def test_jhmdb_joints(clip, tmp_path):
    write_jhmdb([("v", clip)], tmp_path)
    mat = scipy.io.loadmat(tmp_path / "joint_positions/roll_left/v/joint_positions.mat")
    assert mat["pos_img"].shape == (2, 15, 4)
    # center of the first pixel: (0.5, 0.5) in a clip, (1, 1) in MATLAB
    for joint in range(15):
        expected = clip.keypoints.positions[joint % 2].T + 0.5
        np.testing.assert_allclose(mat["pos_img"][:, joint], expected, rtol=1e-6)
    assert mat["pos_world"].shape == (2, 15, 4)


def test_jhmdb_samples_agree_with_the_truth(clip, tmp_path):
    write_jhmdb([("v", clip)], tmp_path)
    samples = read_json(tmp_path / "jhmdb_sentences_samples_metadata.json")
    truth = read_json(tmp_path / "jhmdb_sentences_gt_annotations_in_coco_format.json")
    assert len(samples) == 3
    folder = "./jhmdb_sentences/Rename_Images/roll_left/v"
    for sample, image, annotation in zip(
        samples, truth["images"], truth["annotations"], strict=True
    ):
        number = int(sample[1][-9:-4])
        assert sample == [
            "v",
            f"{folder}/{number:05d}.png",
            "./jhmdb_sentences/puppet_mask/roll_left/v/puppet_mask.mat",
            4,
            "the red cube",
        ]
        assert image == {"id": f"v_v_f_{number}", "height": 24, "width": 32}
        assert annotation["image_id"] == image["id"]
        mask = clip.masks[0, number - 1]
        np.testing.assert_array_equal(decode_rle(annotation["segmentation"]), mask)
        assert annotation["area"] == mask.sum()
    numbers = [int(sample[1][-9:-4]) for sample in samples]
    assert numbers == sorted(set(numbers))


def test_jhmdb_wants_captions_and_joints(clip, make_clip, tmp_path):
    nameless = make_clip(captions=(Caption("the ball", "category", (1,)),))
    with pytest.raises(ValueError, match="no caption for object 0 alone"):
        write_jhmdb([("v", nameless)], tmp_path)
    clip.keypoints.objects[:] = 1
    with pytest.raises(ValueError, match="no key points"):
        write_jhmdb([("v", clip)], tmp_path)
    with pytest.raises(ValueError, match="test_names holds 'w'"):
        write_jhmdb([("v", make_clip())], tmp_path, test_names=["w"])


def test_refcoco(clip, make_clip, tmp_path):
    write_refcoco([("a", clip), ("b", make_clip(seed=1))], tmp_path, frame=0)
    data = read_json(tmp_path / "refcoco/instances_refcoco_train.json")
    captions = ["the red cube", "The ball", "the green cube on the right"]
    assert [image["caption"] for image in data["images"]] == captions * 2
    assert [image["id"] for image in data["images"]] == [1, 2, 3, 4, 5, 6]
    assert data["images"][3] == {
        "file_name": "COCO_train2014_000000000002.jpg",
        "height": 24,
        "width": 32,
        "original_id": 2,
        "id": 4,
        "caption": "the red cube",
        "dataset_name": "refcoco",
    }
    assert [category["name"] for category in data["categories"]] == ["ball", "cube"]
    assert [category["id"] for category in data["categories"]] == [1, 2]
    assert len({annotation["original_id"] for annotation in data["annotations"]}) == 6
    for number, annotation in enumerate(data["annotations"], start=1):
        assert (annotation["id"], annotation["image_id"]) == (number, number)
        k = (number - 1) % 3
        mask = clip.masks[k, 0]
        np.testing.assert_array_equal(rasterize(annotation["segmentation"], 24, 32), mask)
        x1, y1, x2, y2 = clip.boxes_xyxy[k, 0]
        assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
        assert annotation["category_id"] == [2, 1, 2][k]
    picture = Image.open(tmp_path / "train2014/COCO_train2014_000000000001.jpg")
    assert np.abs(np.array(picture).astype(int) - clip.frames[0]).mean() < 3


def test_refcoco_splits_do_not_share_pictures(clip, tmp_path):
    write_refcoco([("a", clip)], tmp_path, dataset="refcoco+")
    write_refcoco([("a", clip)], tmp_path, dataset="refcoco+", split="testB")
    assert len(list((tmp_path / "train2014").iterdir())) == 2
    data = read_json(tmp_path / "refcoco+/instances_refcoco+_testB.json")
    # the middle frame shows the ball alone
    assert [image["caption"] for image in data["images"]] == ["The ball"]
    assert (tmp_path / "train2014" / data["images"][0]["file_name"]).is_file()


def test_refcoco_bad_arguments(clip, tmp_path):
    with pytest.raises(ValueError, match="split='valid' is unknown"):
        write_refcoco([("a", clip)], tmp_path, split="valid")
    with pytest.raises(ValueError, match="frame=4 is not in clip a of 4 frames"):
        write_refcoco([("a", clip)], tmp_path, frame=4)


def test_rectangles_are_exact_in_pycocotools():
    rng = np.random.default_rng(0)
    for density in (0.0, 0.1, 0.5, 0.9, 1.0):
        for _ in range(10):
            height, width = rng.integers(1, 40, 2)
            mask = rng.random((height, width)) < density
            polygons = trace_rectangles(mask)
            if not mask.any():
                assert polygons == []
                continue
            np.testing.assert_array_equal(rasterize(polygons, height, width), mask)
    assert len(trace_rectangles(np.ones((9, 9), dtype=bool))) == 1
