from __future__ import annotations

import shutil

import pytest

from tests.datasets.tiny_files import listed, values_of, write_avi, write_text
from vdit.datasets.checking import check
from vdit.datasets.synthetic.writers.folders import write_ucf101
from vdit.datasets.ucf101 import UCF101, read_ucf101
from vdit.probing.clip_features import Example
from vdit.probing.clip_views import ClipView

FILES = {  # path below the folder of the videos -> gray values of its frames
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi": (40, 120, 200),
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi": (50, 60),
    "HandstandPushups/v_HandStandPushups_g08_c01.avi": (90, 30, 60, 80),  # as the real ones
    "HandstandPushups/v_HandStandPushups_g01_c02.avi": (10,),
}
TRAIN = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1",
         "HandstandPushups/v_HandStandPushups_g08_c01.avi 2"]  # fmt: skip
TEST = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
        "HandstandPushups/v_HandStandPushups_g01_c02.avi"]  # fmt: skip


def write_tree(root, videos="UCF-101", lists="ucfTrainTestlist"):
    for name, values in FILES.items():
        write_avi(root / videos / name, values)
    write_text(root / lists / "classInd.txt", "1 ApplyEyeMakeup", "2 HandstandPushups")
    for fold in (1, 2, 3):
        swapped = fold == 2
        write_text(root / lists / f"trainlist0{fold}.txt", *(TRAIN[::-1] if swapped else TRAIN))
        write_text(root / lists / f"testlist0{fold}.txt", *TEST)
    return root


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path)


def problem_of(root, split="train1"):
    (problem,) = check(UCF101, root, split).splits[split].problems
    return problem


def test_videos_and_their_classes(tree):
    train, test = read_ucf101(tree, "train1"), read_ucf101(tree, "test1")
    assert train.classes == test.classes == ("ApplyEyeMakeup", "HandstandPushups")
    assert listed(train) == [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01", "ApplyEyeMakeup"),
        ("HandstandPushups/v_HandStandPushups_g08_c01", "HandstandPushups"),
    ]
    assert [video.label for video in test] == [0, 1]
    assert [len(video.frame_names) for video in test] == [2, 1]
    assert values_of(train[1]) == pytest.approx([90, 30, 60, 80], abs=3)
    assert train[0].size == (24, 32)
    assert [video.label for video in read_ucf101(tree, "train2")] == [1, 0]


def test_a_video_is_the_same_in_all_splits(tree):
    lists = tree / "ucfTrainTestlist"
    write_text(lists / "testlist02.txt", TRAIN[0].split()[0])
    (again,) = read_ucf101(tree, "test2")
    first = read_ucf101(tree, "train1")[0]
    assert again == first
    view = ClipView((0,), (24, 32), 0, 0, (24, 32))
    assert Example(again, view).key == Example(first, view).key  # features are computed once


@pytest.mark.parametrize("videos", ["UCF-101", "UCF101", "videos", "."])
@pytest.mark.parametrize(
    "lists",
    ["ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "annotations"],
)
def test_where_videos_and_lists_lie(tmp_path, videos, lists):
    root = write_tree(tmp_path, videos, lists)
    report = check(UCF101, root)
    assert report.is_complete
    assert set(report.splits) == {f"{part}{k}" for part in ("train", "test") for k in (1, 2, 3)}
    assert report.splits["train1"].frames_found == 7
    assert "2 of 2 classes have videos" in report.splits["train1"].notes


def test_reading_opens_no_video(tree):
    shutil.rmtree(tree / "UCF-101" / "ApplyEyeMakeup")
    (tree / "UCF-101/HandstandPushups/v_HandStandPushups_g08_c01.avi").write_bytes(b"no video")
    assert len(read_ucf101(tree)) == 2
    problems = {p.what: p.count for p in check(UCF101, tree, "train1").splits["train1"].problems}
    assert problems == {"videos are missing": 1, "videos cannot be decoded": 1}


def test_line_ends_and_empty_lines(tree):
    path = tree / "ucfTrainTestlist" / "trainlist01.txt"
    path.write_bytes("".join(f"{line}\r\n\r\n" for line in TRAIN).encode())
    assert [video.label for video in read_ucf101(tree)] == [0, 1]


@pytest.mark.parametrize(
    ("name", "line", "sentence"),
    [
        ("trainlist01", "ApplyEyeMakeup/a.avi 2", "numbers ApplyEyeMakeup 2, but classInd.txt 1"),
        ("trainlist01", "Juggling/a.avi 3", "class 'Juggling', which is none of the 2 classes"),
        ("trainlist01", "a.avi 1", "line 1 is 'a.avi 1', expected <Class>/<file>"),
        ("trainlist01", "ApplyEyeMakeup/a b.avi 1", "expected <Class>/<file>"),
        ("classInd", "ApplyEyeMakeup 1", "line 1 is 'ApplyEyeMakeup 1', expected <id> <Class>"),
        ("classInd", "2 ApplyEyeMakeup", "does not number different classes from 1"),
    ],
)
def test_damaged_lists(tree, name, line, sentence):
    write_text(tree / "ucfTrainTestlist" / f"{name}.txt", line)
    with pytest.raises(ValueError, match=sentence):
        read_ucf101(tree)
    assert problem_of(tree).what == "lists cannot be read"


def test_a_video_that_is_listed_twice(tree):
    write_text(tree / "ucfTrainTestlist/trainlist01.txt", TRAIN[0], TRAIN[0])
    with pytest.raises(ValueError, match="lists ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01 twice"):
        read_ucf101(tree)


def test_mistakes(tree, tmp_path):
    with pytest.raises(ValueError, match="split='train' is unknown, expected one of train1, test1"):
        read_ucf101(tree, "train")
    (tree / "ucfTrainTestlist/testlist03.txt").unlink()
    assert check(UCF101, tree).absent == ["test3"]
    with pytest.raises(ValueError, match=r"not a folder.*published at https"):
        check(UCF101, tmp_path / "nowhere")


def test_a_rendered_tree(tmp_path, make_clip):
    train = [(f"a{k}", make_clip(k, action)) for k, action in enumerate(["roll left", "jump"])]
    write_ucf101(train, [("b", make_clip(5, "jump"))], tmp_path)
    assert listed(read_ucf101(tmp_path, "train1")) == [
        ("Jump/v_Jump_g01_c01", "Jump"),
        ("RollLeft/v_RollLeft_g01_c01", "RollLeft"),
    ]
    (video,) = read_ucf101(tmp_path, "test1")
    assert (video.label, len(video.frame_names)) == (0, 4)
    report = check(UCF101, tmp_path)
    assert report.is_complete
    assert report.absent == ["train2", "test2", "train3", "test3"]
