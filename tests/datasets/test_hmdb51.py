from __future__ import annotations

import pytest

from tests.datasets.tiny_files import listed, values_of, write_avi, write_text
from vdit.datasets.checking import check
from vdit.datasets.hmdb51 import HMDB51, read_hmdb51
from vdit.datasets.synthetic.writers.folders import write_hmdb51

ODD = "#20_Rhythm_(clap)_[u]&nm;_np1_!%C3 _fr_goo_0.avi"
CLIPS = {  # class -> clip -> flag in each of the three lists, gray values
    "clap": {ODD: ("112", (30, 60)), "a_clap_u_nm_np1_fr_bad_1.avi": ("201", (90,))},
    "brush_hair": {"b_brush_hair_u_cm.avi": ("121", (70, 20, 50))},
}


def write_tree(root, videos=".", lists="testTrainMulti_7030_splits"):
    for class_name, clips in CLIPS.items():
        for clip, (_, values) in clips.items():
            write_avi(root / videos / class_name / clip, values)
        for fold in (1, 2, 3):
            lines = (f"{clip} {flags[fold - 1]} " for clip, (flags, _) in clips.items())
            write_text(root / lists / f"{class_name}_test_split{fold}.txt", *lines)
    return root


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path)


def test_flags_and_odd_names(tree):
    train, test = read_hmdb51(tree, "train1"), read_hmdb51(tree, "test1")
    assert train.classes == ("brush_hair", "clap")
    assert listed(train) == [
        ("brush_hair/b_brush_hair_u_cm", "brush_hair"),
        (f"clap/{ODD.removesuffix('.avi')}", "clap"),
    ]
    assert values_of(train[1]) == pytest.approx([30, 60], abs=3)
    assert [name for name, _ in listed(test)] == ["clap/a_clap_u_nm_np1_fr_bad_1"]
    # flag 0 is of clips that a division leaves out
    assert len(read_hmdb51(tree, "train2")) == 1
    assert [name for name, _ in listed(read_hmdb51(tree, "test3"))] == [train[1].name]


@pytest.mark.parametrize("videos", [".", "hmdb51_org", "videos"])
@pytest.mark.parametrize("lists", ["test_train_splits/testTrainMulti_7030_splits", "splits"])
def test_where_clips_and_lists_lie(tmp_path, videos, lists):
    report = check(HMDB51, write_tree(tmp_path, videos, lists))
    assert report.is_complete
    assert report.splits["train1"].frames_found == 5


def test_missing_and_damaged_clips(tree):
    (tree / "clap" / ODD).unlink()
    (tree / "brush_hair" / "b_brush_hair_u_cm.avi").write_bytes(b"RIFF")
    assert len(read_hmdb51(tree)) == 2
    problems = {p.what: p.count for p in check(HMDB51, tree, "train1").splits["train1"].problems}
    assert problems == {"videos are missing": 1, "videos cannot be decoded": 1}


def test_mistakes(tree):
    with pytest.raises(ValueError, match="split='val' is unknown"):
        read_hmdb51(tree, "val")
    lists = tree / "testTrainMulti_7030_splits"
    (lists / "._clap_test_split1.txt").write_bytes(b"\x00\x05\x16\x07\xff")  # left by a system
    assert len(read_hmdb51(tree)) == 2
    write_text(lists / "clap_test_split1.txt", "a.avi 3")
    with pytest.raises(ValueError, match=r"line 1 is 'a\.avi 3', expected <clip>\.avi and 0, 1 or"):
        read_hmdb51(tree)
    for path in lists.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"holds no list <class>_test_split1\.txt"):
        read_hmdb51(tree)
    assert check(HMDB51, tree).absent == list(HMDB51.splits)


def test_a_rendered_tree(tmp_path, make_clip):
    train = [("a", make_clip(0, "roll left")), ("b", make_clip(1, "jump"))]
    write_hmdb51(train, [("c", make_clip(2, "jump"))], tmp_path)
    assert listed(read_hmdb51(tmp_path)) == [("jump/b", "jump"), ("roll_left/a", "roll_left")]
    assert listed(read_hmdb51(tmp_path, "test1")) == [("jump/c", "jump")]
    assert check(HMDB51, tmp_path, "train1").is_complete
