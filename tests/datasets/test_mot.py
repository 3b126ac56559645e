"""MOT15, MOT17 and MOT20: boxes, halves without a shared frame, copies of a video, damage."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from vdit.datasets.checking import check
from vdit.datasets.mot import MOT15, MOT17, read_mot
from vdit.datasets.synthetic.writers.mot import write_mot

COPIES = ("MOT17-02-DPM", "MOT17-02-FRCNN", "MOT17-02-SDP", "MOT17-04-FRCNN")


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    root = tmp_path / "MOT17"
    other = make_clip(seed=1)
    write_mot([(name, other if "04" in name else clip) for name in COPIES], root)
    write_mot([("MOT17-01-SDP", clip)], root, "test")
    return root


def problems_of(root, split="train", benchmark=MOT17):
    return [problem.what for problem in check(benchmark, root, split).splits[split].problems]


def test_boxes_are_those_that_were_written(clip, tree):
    dataset = read_mot(tree)
    assert [video.name for video in dataset] == sorted(COPIES)
    video = dataset.find("MOT17-02-SDP")
    T, H, W = clip.frames.shape[:3]
    assert (video.size, len(video.frame_names), video.frame_names[0]) == ((H, W), T, "000001")
    truth = video.boxes()
    seen = clip.amodal.any(axis=(2, 3))
    kept = seen.any(axis=1)
    np.testing.assert_array_equal(truth.labelled, seen[kept])
    expected = clip.amodal_boxes_xyxy[kept] / [W, H, W, H]
    np.testing.assert_allclose(truth.boxes_xyxy[seen[kept]], expected[seen[kept]], atol=1e-6)
    visible = clip.masks.any(axis=(2, 3))
    assert len(video.sequence.detections().frames) == visible.sum()
    assert check(MOT17, tree).is_complete


def test_hidden_pedestrians_are_left_out_on_request(clip, tree):
    whole, visible = clip.amodal.sum(axis=(2, 3)), clip.masks.sum(axis=(2, 3))
    seen = (whole > 0) & (visible >= 0.9995 * whole)
    video = read_mot(tree, least_visibility=0.9995).find("MOT17-02-DPM")
    assert seen.sum() < (whole > 0).sum()
    assert video.boxes().labelled.sum() == seen.sum()


def test_other_classes_and_flags_are_no_boxes(tree):
    path = tree / "train" / COPIES[0] / "gt" / "gt.txt"
    path.write_text("1,1,3,4,5,6,1,1,1\n1,2,3,4,5,6,0,1,1\n2,3,3,4,5,6,1,7,1\n")
    video = read_mot(tree)[0]
    truth = video.boxes()
    assert truth.names == ("1",)
    assert truth.labelled.tolist() == [[True, False, False, False]]
    H, W = video.size
    np.testing.assert_allclose(truth.boxes_xyxy[0, 0], [2 / W, 3 / H, 7 / W, 9 / H])
    assert len(video.sequence.truth().frames) == 3


def test_halves_share_no_frame(tree):
    whole, early, late = (read_mot(tree, split) for split in ("train", "train-half", "val-half"))
    for video, first, second in zip(whole, early, late, strict=True):
        assert first.frame_names + second.frame_names == video.frame_names
        assert len(first.frame_names) == len(video.frame_names) // 2
        rows = [each.sequence.truth().rows for each in (first, second)]
        assert rows[0][:, 0].max() < rows[1][:, 0].min() == len(first.frame_names) + 1
        assert len(rows[0]) + len(rows[1]) == len(video.sequence.truth().rows)
        counts = [each.boxes().labelled.sum(axis=0) for each in (first, second, video)]
        np.testing.assert_array_equal(np.concatenate(counts[:2]), counts[2])
        np.testing.assert_array_equal(second.frames([0]), video.frames([len(first.frame_names)]))


def test_copies_of_a_video_count_once(tree):
    names = [video.name for video in read_mot(tree, each_video_once=True)]
    assert names == ["MOT17-02-DPM", "MOT17-04-FRCNN"]
    names = [video.name for video in read_mot(tree, detector="FRCNN", each_video_once=True)]
    assert names == ["MOT17-02-FRCNN", "MOT17-04-FRCNN"]
    with pytest.raises(ValueError, match="expected a detector among DPM, FRCNN, SDP, got 'YOLO'"):
        read_mot(tree, detector="YOLO")


def test_test_has_detections_only(tree):
    (video,) = read_mot(tree, "test")
    assert not video.has_truth
    assert len(video.sequence.detections().frames)
    assert problems_of(tree, "test") == []


def test_mot15_has_positions_in_the_world(tree):
    for path in (tree / "train").glob("*/gt/gt.txt"):
        path.write_text("1,1,3,4,5,6,1,-1,-1,-1\n2,1,3,4,5,6,0,-1,-1,-1\n")
    truth = read_mot(tree, benchmark="MOT15", least_visibility=0.5)[0].boxes()
    assert truth.labelled.sum() == 1
    assert problems_of(tree, "train-half", MOT15) == []
    assert problems_of(tree, "train-half") == ["boxes cannot be read"]


def test_damage_is_named(tree):
    folder = tree / "train" / COPIES[0]
    (folder / "img1" / "000003.jpg").unlink()
    (folder / "det" / "det.txt").write_text("1,2,3\n")
    (tree / "train" / COPIES[1] / "gt" / "gt.txt").write_text("9,1,3,4,5,6,1,1,1\n")
    assert sorted(problems_of(tree)) == [
        "boxes cannot be read",
        "detections cannot be read",
        "frames are missing",
    ]
    with pytest.raises(ValueError, match=r"has the frame 9, but seqinfo.ini counts 4"):
        read_mot(tree)[1].boxes()
    (folder / "seqinfo.ini").unlink()
    with pytest.raises(ValueError, match=r"seqinfo\.ini does not exist"):
        read_mot(tree)


def test_zero_object_frames_and_videos(tree):
    (tree / "train" / COPIES[0] / "gt" / "gt.txt").write_text("")
    truth = read_mot(tree)[0].boxes()
    assert truth.boxes_xyxy.shape == (0, 4, 4)
    assert problems_of(tree) == []


def test_other_errors(tree, tmp_path):
    with pytest.raises(ValueError, match="split='val' is unknown"):
        read_mot(tree, "val")
    with pytest.raises(ValueError, match="expected MOT15, MOT17 or MOT20"):
        read_mot(tree, benchmark="MOT16")
    shutil.rmtree(tree / "test")
    with pytest.raises(ValueError, match="holds no sequence"):
        read_mot(tree, "test")
