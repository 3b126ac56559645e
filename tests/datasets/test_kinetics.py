from __future__ import annotations

import pytest

from tests.datasets.tiny_files import listed, values_of, write_avi, write_text
from vdit.cli import main
from vdit.datasets.checking import check
from vdit.datasets.kinetics import KINETICS_400, KINETICS_700, read_kinetics

HEADER = "label,youtube_id,time_start,time_end,split,is_cc"
TRAIN = ['"shooting goal (soccer)",---QUuC4vJs,84,94,train,0', "abseiling,abcdefghijk,0,10,train,0",
         "abseiling,gone_______,5,15,train,0"]  # fmt: skip
VAL = ["zumba,-x-x-x-x-x-,150,160,val,0"]


@pytest.fixture
def tree(tmp_path):
    write_text(tmp_path / "annotations/train.csv", HEADER, *TRAIN)
    write_text(tmp_path / "annotations/val.csv", HEADER, *VAL)
    write_avi(tmp_path / "train/---QUuC4vJs_000084_000094.mp4", (40, 80))
    write_avi(tmp_path / "train/abcdefghijk_000000_000010.mp4", (90,))
    write_avi(tmp_path / "val/-x-x-x-x-x-_000150_000160.mp4", (60, 20, 40))
    return tmp_path


def test_videos_that_are_there(tree):
    train = read_kinetics(tree, "train")
    assert train.name == "kinetics-400"
    assert train.classes == ("abseiling", "shooting goal (soccer)", "zumba")  # of all splits
    assert listed(train) == [
        ("shooting goal (soccer)/---QUuC4vJs_000084_000094", "shooting goal (soccer)"),
        ("abseiling/abcdefghijk_000000_000010", "abseiling"),
    ]
    assert train.note == "1 of 3 listed videos are absent and left out"
    (video,) = val = read_kinetics(tree, "val")
    assert (video.label, val.note) == (2, "")
    assert values_of(video) == pytest.approx([60, 20, 40], abs=3)


def test_absent_videos_are_told_and_no_problem(tree, capsys):
    assert main(["data", "check", "kinetics-400", str(tree)]) == 0
    out = capsys.readouterr().out
    assert "train: 2 videos, 3 of 3 frames\n  note: 1 of 3 listed videos are absent" in out
    assert "2 videos and 3 frames are not the counts known (the CVDF: 240258 videos)" in out
    (tree / "train/abcdefghijk_000000_000010.mp4").write_bytes(b"")
    assert main(["data", "check", "kinetics-400", str(tree)]) == 2  # a damaged one is


@pytest.mark.parametrize(
    "place", ["train/{label}", "train/{joined}", "videos/train/{label}", "videos/train/{joined}"]
)
def test_clips_sorted_by_class(tree, place):
    for path in list((tree / "train").iterdir()):
        label = "abseiling" if path.name.startswith("a") else "shooting goal (soccer)"
        folder = tree / place.format(label=label, joined=label.replace(" ", "_"))
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    dataset = read_kinetics(tree)
    assert [video.label for video in dataset] == [1, 0]
    assert [len(video.frame_names) for video in dataset] == [2, 1]


def test_replaced_clips(tree):
    name = "---QUuC4vJs_000084_000094.mp4"
    (tree / "train" / name).write_bytes(b"damaged")
    write_avi(tree / "replacement/replacement_for_corrupted_k400" / name, (10, 20, 30))
    assert len(read_kinetics(tree)[0].frame_names) == 3


def test_a_list_of_paths(tmp_path):
    write_avi(tmp_path / "clips/a b, c.mp4", (40, 80))
    write_avi(tmp_path / "elsewhere/d.mp4", (90,))
    lines = ["clips/a b, c.mp4 7", "clips/gone.mp4 3", f"{tmp_path}/elsewhere/d.mp4,399", ""]
    write_text(tmp_path / "train.csv", *lines)
    dataset = read_kinetics(tmp_path)
    assert [(video.label, len(video.frame_names)) for video in dataset] == [(7, 2), (399, 1)]
    assert (len(dataset.classes), dataset.classes[7]) == (400, "7")
    assert dataset.note == "1 of 3 listed videos are absent and left out"
    write_text(tmp_path / "label_map_k400.txt", *(f"class {k}" for k in range(400)))
    assert read_kinetics(tmp_path).classes[7] == "class 7"
    assert check(KINETICS_400, tmp_path).is_complete
    write_text(tmp_path / "train.csv", "clips/a b, c.mp4 400")
    with pytest.raises(ValueError, match="is of class 400, expected one below 400"):
        read_kinetics(tmp_path)
    assert len(KINETICS_700.read(tmp_path, "train").classes) == 700


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ((HEADER, "abseiling,abc,zero,10,train,0"), "line 2 has no times in seconds"),
        ((HEADER, "abseiling,abc"), "line 2 has no times in seconds"),
        ((HEADER, ",abc,0,10,test,0"), "line 2 has no label, expected one"),
        (("a.mp4",), r"line 1 is 'a\.mp4', expected a path and the number of a class"),
        (("a.mp4 3",), "holds none of the 1 clips"),
    ],
)
def test_damaged_lists(tree, lines, sentence):
    write_text(tree / "annotations/train.csv", *lines)
    with pytest.raises(ValueError, match=sentence):
        read_kinetics(tree)


def test_mistakes(tree):
    with pytest.raises(ValueError, match="split='validation' is unknown"):
        read_kinetics(tree, "validation")
    with pytest.raises(ValueError, match=r"test\.csv does not exist"):
        read_kinetics(tree, "test")
    write_text(tree / "annotations/val.csv", HEADER, *VAL, *VAL)
    with pytest.raises(ValueError, match="lists zumba/-x-x-x-x-x-_000150_000160 twice"):
        read_kinetics(tree, "val")
