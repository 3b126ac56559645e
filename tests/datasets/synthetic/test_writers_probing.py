"""MOT17, Cityscapes and data sets for action recognition."""

from __future__ import annotations

import configparser
import dataclasses
import json

import av
import numpy as np
import pytest
from PIL import Image

from vdit.datasets.synthetic.writers.cityscapes import write_cityscapes
from vdit.datasets.synthetic.writers.folders import (
    write_class_folders,
    write_hmdb51,
    write_ucf101,
)
from vdit.datasets.synthetic.writers.mot import write_mot


def read_table(path):
    return np.loadtxt(path, delimiter=",", ndmin=2)


def test_mot(clip, tmp_path):
    write_mot([("SYN-01", clip)], tmp_path)
    folder = tmp_path / "train/SYN-01"
    table = read_table(folder / "gt/gt.txt")
    found = {(int(row[0]), int(row[1])) for row in table}
    amodal, masks = clip.amodal, clip.masks
    assert found == {(t + 1, k + 1) for k in range(3) for t in range(4) if amodal[k, t].any()}
    assert len(table) == len(found)
    for frame, identity, x, y, w, h, flag, class_id, visibility in table:
        whole = amodal[int(identity) - 1, int(frame) - 1]
        box = np.zeros_like(whole)
        box[int(y) - 1 : int(y + h) - 1, int(x) - 1 : int(x + w) - 1] = True
        np.testing.assert_array_equal(box, whole)  # the whole objects are boxes
        assert (flag, class_id) == (1, 1)
        share = masks[int(identity) - 1, int(frame) - 1].sum() / whole.sum()
        assert visibility == pytest.approx(share, abs=1e-4)
    assert {0.0, 1.0} < set(table[:, -1])  # hidden, in sight, and partly hidden
    detections = read_table(folder / "det/det.txt")
    assert detections.shape == (len(found) - 1, 10)
    assert set(detections[:, 1]) == {-1}
    assert np.all(np.diff(detections[:, 0]) >= 0)
    row = next(row for row in detections if row[0] == 4 and row[2] < 14)
    x1, y1, x2, y2 = clip.boxes_xyxy[0, 3]
    assert row[2:6].tolist() == [x1 + 1, y1 + 1, x2 - x1, y2 - y1]


def test_mot_sequence_information(clip, tmp_path):
    write_mot([("SYN-01", clip)], tmp_path, split="test")
    folder = tmp_path / "test/SYN-01"
    assert not (folder / "gt").exists()
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read(folder / "seqinfo.ini")
    assert dict(parser["Sequence"]) == {
        "name": "SYN-01",
        "imDir": "img1",
        "frameRate": "12",
        "seqLength": "4",
        "imWidth": "32",
        "imHeight": "24",
        "imExt": ".jpg",
    }
    names = [path.name for path in sorted((folder / "img1").iterdir())]
    assert names == ["000001.jpg", "000002.jpg", "000003.jpg", "000004.jpg"]


def read_city(root, folder, stem, suffix):
    return np.array(Image.open(root / folder / f"{stem}_{suffix}.png"))


def test_cityscapes(clip, make_clip, tmp_path):
    clips = [("a", make_clip(seed=1)), ("b", clip)]
    label_ids = {"cube": 26, "ball": 24}
    write_cityscapes(clips, tmp_path, "val", "munster", label_ids, baseline_m=0.5)
    for t in range(4):
        stem = f"val/munster/munster_000001_00000{t}"
        frame = read_city(tmp_path, "leftImg8bit_sequence", stem, "leftImg8bit")
        np.testing.assert_array_equal(frame, clip.frames[t])
    assert len(list((tmp_path / "gtFine/val/munster").iterdir())) == 4
    labels = read_city(tmp_path, "gtFine", stem, "gtFine_labelIds")
    masks = clip.masks[:, 3]
    np.testing.assert_array_equal(labels == 26, masks[0] | masks[2])
    np.testing.assert_array_equal(labels == 24, masks[1])
    background = ~masks.any(axis=0)
    rows = np.arange(24)[:, None]
    ground = (rows + 0.5 - 12) / 40 > 2 / 14  # as the clip was made
    np.testing.assert_array_equal(labels == 7, ground & background)
    np.testing.assert_array_equal(labels == 23, (rows < 2) & background)
    np.testing.assert_array_equal(labels == 11, (rows >= 2) & ~ground & background)
    instances = read_city(tmp_path, "gtFine", stem, "gtFine_instanceIds")
    assert set(np.unique(instances)) == {7, 11, 23, 24000, 26000}
    np.testing.assert_array_equal(instances == 26000, masks[0])

    disparity = read_city(tmp_path, "disparity", stem, "disparity").astype(float)
    np.testing.assert_array_equal(disparity == 0, np.isinf(clip.depth[3]))
    camera = json.loads((tmp_path / "camera" / f"{stem}_camera.json").read_text())
    scale = camera["extrinsic"]["baseline"] * camera["intrinsic"]["fx"]
    assert scale == 0.5 * 40
    assert (camera["intrinsic"]["u0"], camera["intrinsic"]["v0"]) == (16, 12)
    is_known = disparity > 0
    decoded = (disparity[is_known] - 1) / 256
    np.testing.assert_allclose(decoded, scale / clip.depth[3][is_known], atol=0.501 / 256, rtol=0)


def test_cityscapes_labels_the_twentieth_of_thirty_frames(clip, tmp_path):
    times = np.arange(33) % 4
    names = ("frames", "instances", "depth")
    long = dataclasses.replace(
        clip,
        **{name: getattr(clip, name)[times] for name in names},
        amodal=clip.amodal[:, times],
        camera=type(clip.camera)(clip.camera.intrinsics[times], clip.camera.world_to_camera[times]),
    )
    write_cityscapes([("a", long)], tmp_path)
    sequence = tmp_path / "leftImg8bit_sequence/train/renderburg"
    assert len(list(sequence.iterdir())) == 30
    labels = [path.name for path in sorted((tmp_path / "gtFine/train/renderburg").iterdir())]
    assert labels == [
        "renderburg_000000_000019_gtFine_instanceIds.png",
        "renderburg_000000_000019_gtFine_labelIds.png",
    ]
    values = np.unique(np.array(Image.open(tmp_path / "gtFine/train/renderburg" / labels[1])))
    assert set(values) <= {7, 11, 23, 24, 25, 26, 27, 28, 31, 32, 33}
    assert len(values) == 5


def test_cityscapes_city_has_no_underscore(clip, tmp_path):
    with pytest.raises(ValueError, match="letters and digits"):
        write_cityscapes([("a", clip)], tmp_path, city="new_york")


def count_frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_class_folders(clip, tmp_path):
    write_class_folders([("x", clip)], tmp_path, split="val")
    assert count_frames(tmp_path / "val/roll_left/x.mp4") == 4
    write_class_folders([("x", clip)], tmp_path, label="category")
    assert (tmp_path / "train/cube/x.mp4").is_file()
    with pytest.raises(ValueError, match="label='color' is unknown"):
        write_class_folders([("x", clip)], tmp_path, label="color")


def test_class_folders_want_a_label(make_clip, tmp_path):
    with pytest.raises(ValueError, match="clip x has no action"):
        write_class_folders([("x", make_clip(action=""))], tmp_path)


def test_ucf101(make_clip, tmp_path):
    train = [(f"t{number}", make_clip(action="roll left")) for number in range(8)]
    train.append(("u", make_clip(action="bounce")))
    test = [("v", make_clip(action="roll left")), ("w", make_clip(action="zoomOut"))]
    write_ucf101(train, test, tmp_path)
    lists = tmp_path / "ucfTrainTestlist"
    assert (lists / "classInd.txt").read_text() == "1 Bounce\n2 RollLeft\n3 ZoomOut\n"
    lines = (lists / "trainlist01.txt").read_text().splitlines()
    assert lines[:2] == ["Bounce/v_Bounce_g01_c01.mp4 1", "RollLeft/v_RollLeft_g01_c01.mp4 2"]
    assert lines[-1] == "RollLeft/v_RollLeft_g02_c01.mp4 2"
    assert len(lines) == 9
    tests = (lists / "testlist01.txt").read_text().splitlines()
    assert tests == ["RollLeft/v_RollLeft_g03_c01.mp4", "ZoomOut/v_ZoomOut_g01_c01.mp4"]
    listed = {line.split()[0] for line in lines + tests}
    videos = (tmp_path / "UCF-101").rglob("*.mp4")
    assert {str(path.relative_to(tmp_path / "UCF-101")) for path in videos} == listed


def test_hmdb51(clip, make_clip, tmp_path):
    train = [("b", clip), ("c", make_clip(action="bounce"))]
    write_hmdb51(train, [("a", clip)], tmp_path)
    splits = tmp_path / "testTrainMulti_7030_splits"
    assert (splits / "roll_left_test_split1.txt").read_text() == "a.mp4 2 \nb.mp4 1 \n"
    assert (splits / "bounce_test_split1.txt").read_text() == "c.mp4 1 \n"
    assert count_frames(tmp_path / "roll_left/a.mp4") == 4
    with pytest.raises(ValueError, match="clip b is for training and for testing"):
        write_hmdb51([("b", clip)], [("b", clip)], tmp_path)
