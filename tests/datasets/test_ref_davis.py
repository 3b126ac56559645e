"""Ref-DAVIS17 in both layouts: the same samples, the traps of its text files, damaged trees."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from vdit.datasets.checking import check
from vdit.datasets.ref_davis import REF_DAVIS, read_ref_davis
from vdit.datasets.synthetic.clip import Caption
from vdit.datasets.synthetic.writers.davis import write_ref_davis, write_ref_davis_converted

TEXTS = ("annot1", "annot1_full_video", "annot2", "annot2_full_video")


def facts(dataset):
    """What does not depend on the layout."""
    return [
        (s.video, s.expression, s.text, s.object_ids, s.annotator, s.frame_names) for s in dataset
    ]


def text_path(root, name="annot1"):
    return root / "davis_text_annotations" / f"Davis17_{name}.txt"


def problem_of(root, split="valid"):
    (problem,) = check(REF_DAVIS, root, split).splits[split].problems
    return problem


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    write_ref_davis([("s1", clip), ("s2", make_clip(seed=1))], tmp_path)
    return tmp_path


def test_both_layouts_give_the_same_samples(clip, make_clip, tree, tmp_path):
    write_ref_davis_converted([("s1", clip), ("s2", make_clip(seed=1))], tmp_path / "converted")
    original, converted = read_ref_davis(tree), read_ref_davis(tmp_path / "converted")
    assert facts(original) == facts(converted)
    assert len(original) == 2 * 3 * 4
    for dataset in (original, converted):
        sample = dataset.find("s1", "6")
        assert (sample.object_ids, sample.annotator, sample.text) == ((2,), 2, "The ball")
        np.testing.assert_array_equal(sample.masks(), clip.masks[[1]])
        assert np.abs(sample.frames([1])[0].astype(int) - clip.frames[1]).mean() < 4
    assert check(REF_DAVIS, tree).is_complete
    assert check(REF_DAVIS, tmp_path / "converted").is_complete


def test_second_annotator_is_encoded_in_latin_1(make_clip, tmp_path):
    captions = [Caption(f"the ros\u00e9 {k}", "appearance", (k,)) for k in range(3)]
    write_ref_davis([("s", make_clip(captions=tuple(captions)))], tmp_path)
    assert {s.text for s in read_ref_davis(tmp_path)} == {c.text for c in captions}


def test_misspelled_sequences(clip, tmp_path):
    right = ("classic-car", "dogs-scale", "motorbike")
    write_ref_davis([(name, clip) for name in right], tmp_path)
    expected = facts(read_ref_davis(tmp_path))
    for name in TEXTS:
        text = text_path(tmp_path, name).read_text(encoding="latin-1")
        for good, bad in zip(right, ("clasic-car", "dog-scale", "motor-bike"), strict=True):
            text = text.replace(good, bad)
        text_path(tmp_path, name).write_text(text, encoding="latin-1")
    assert facts(read_ref_davis(tmp_path)) == expected


def test_ids_are_sorted_as_strings(tree):
    for name in TEXTS:
        lines = [f's{s} {k} "thing {k}"' for s in (1, 2) for k in range(1, 12)]
        text_path(tree, name).write_text("\n".join(lines))
    found = [s.object_ids[0] for s in read_ref_davis(tree) if s.video == "s1" and s.annotator == 0]
    assert found == [1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("line", ['s1 1  "a  dog" ', 's1 1 "a dog', "s1 1 a dog\r"])
def test_loose_lines(tree, line):
    text_path(tree).write_text(text_path(tree).read_text().replace('s1 1 "the red cube"', line))
    assert read_ref_davis(tree).find("s1", "0").text == "a dog"


def test_unsupervised_masks_come_first_and_void_is_no_object(clip, tree):
    for path in (tree / "DAVIS/Annotations_unsupervised/480p/s1").iterdir():
        with Image.open(path) as picture:
            labels = np.array(picture)
            labels[-1] = 255
            void = Image.fromarray(labels)
            void.putpalette(picture.getpalette())
        void.save(path)
    sample = read_ref_davis(tree).find("s1", "0")
    expected = clip.masks[[0]].copy()
    expected[:, :, -1] = False
    np.testing.assert_array_equal(sample.masks(), expected)
    (tree / "DAVIS/Annotations_unsupervised").rename(tree / "elsewhere")
    np.testing.assert_array_equal(read_ref_davis(tree).find("s1", "0").masks(), clip.masks[[0]])


def test_only_void_with_a_palette_is_read(tree):
    path = tree / "DAVIS/Annotations_unsupervised/480p/s1/00000.png"
    with Image.open(path) as picture:
        void = Image.fromarray(np.full((24, 32), 255, np.uint8))
        void.putpalette(picture.getpalette())
    void.save(path)
    assert not read_ref_davis(tree).find("s1", "0").masks([0]).any()
    assert check(REF_DAVIS, tree).is_complete


def test_missing_pictures_are_noticed_without_a_list_of_frames(tree):
    (tree / "DAVIS/JPEGImages/480p/s1/00002.jpg").unlink()
    assert problem_of(tree).what == "frames are missing"
    sample = read_ref_davis(tree).find("s1", "0")
    assert len(sample.frame_names) == 4
    with pytest.raises(ValueError, match=r"00002.jpg does not exist"):
        sample.frames()


def test_missing_masks(tree):
    (tree / "DAVIS/Annotations_unsupervised/480p/s2/00003.png").unlink()
    problem = problem_of(tree)
    assert (problem.what, problem.count) == ("masks are missing", 1)
    assert problem.first[0].endswith("s2/00003.png")


def test_a_sequence_that_was_moved_away(tree):
    for folder in ("JPEGImages", "Annotations", "Annotations_unsupervised"):
        (tree / "DAVIS" / folder / "480p/s1").rename(tree / folder)
    problem = problem_of(tree)
    assert (problem.what, problem.count) == ("videos have no frames", 1)
    with pytest.raises(ValueError, match="no frame of s1"):
        read_ref_davis(tree)[0].frames()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda r: text_path(r).unlink(), "annot1.txt does not exist"),
        (lambda r: text_path(r).write_text("s1 one cube"), "line 1 is 's1 one cube'"),
        (lambda r: text_path(r).write_text('s1 1 "x"'), "annotators of s1 name the objects"),
        (lambda r: text_path(r).write_bytes(b's1 1 "\xe9"'), "cannot be read"),
        (lambda r: (r / "DAVIS/ImageSets/2017/val.txt").write_text(""), "names no sequence"),
        (lambda r: (r / "DAVIS/ImageSets/2017/val.txt").write_text("s3"), "annotators of s3"),
    ],
)
def test_broken_lists(tree, damage, sentence):
    damage(tree)
    with pytest.raises(ValueError, match=sentence):
        read_ref_davis(tree)
    assert sentence in problem_of(tree).first[0]


def test_objects_that_no_other_file_knows(clip, tree, tmp_path):
    write_ref_davis_converted([("s1", clip)], tmp_path / "converted")
    path = tmp_path / "converted" / "valid" / "meta.json"
    path.write_text(path.read_text().replace('"2": {', '"9": {'))
    semantics = tree / "DAVIS" / "davis_semantics.json"
    semantics.write_text(semantics.read_text().replace('"2": ', '"9": '))
    for root, count in ((tree, 8), (tmp_path / "converted", 4)):
        problem = problem_of(root)
        assert problem.what.startswith("expressions name objects that")
        assert (problem.count, problem.first[0]) == (count, "s1/4: object 2")
    semantics.unlink()
    report = check(REF_DAVIS, tree)
    assert report.is_complete
    assert "davis_semantics.json is not there" in report.splits["valid"].notes[0]
    path.write_text('{"videos": 3}')
    assert "has not the form" in problem_of(tmp_path / "converted").first[0]


def test_converted_expressions_must_come_in_fours(clip, tmp_path):
    write_ref_davis_converted([("s", clip)], tmp_path, "train")
    path = tmp_path / "meta_expressions/train/meta_expressions.json"
    data = json.loads(path.read_text())
    del data["videos"]["s"]["expressions"]["3"]
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="11 expressions of s are not four for each object"):
        read_ref_davis(tmp_path, "train")


def test_mistakes(tree):
    with pytest.raises(ValueError, match="split='val' is unknown"):
        read_ref_davis(tree, "val")
    with pytest.raises(ValueError, match=r"train\.txt does not exist"):
        read_ref_davis(tree, "train")
    assert check(REF_DAVIS, tree).absent == ["train"]


@pytest.mark.assets
def test_real_sentences_and_frames(assets, tmp_path):
    table = assets / "refer" / "refvos_a2d" / "DAVIS17_RE_categorization.csv"
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    lines = [f'{r["video_id"]} {r["instance_id"]} "{r["ref_exp"]}"' for r in rows]
    text_path(tmp_path).parent.mkdir()
    for name in TEXTS:
        encoding = "latin-1" if "annot2" in name else "utf-8"
        text_path(tmp_path, name).write_text("\n".join(lines), encoding=encoding)
    images = tmp_path / "DAVIS" / "ImageSets" / "2017" / "val.txt"
    images.parent.mkdir(parents=True)
    images.write_text("\n".join(sorted({r["video_id"] for r in rows})))
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / "DAVIS" / folder).symlink_to(assets / "davis" / folder)
    dataset = read_ref_davis(tmp_path)
    assert len(dataset) == 244
    swan = dataset.find("blackswan", "0")
    assert swan.text == rows[0]["ref_exp"]
    assert swan.frames([0, 49]).shape == (2, 480, 854, 3)
    with pytest.raises(ValueError, match="only 0 and 255 in gray"):
        swan.masks([0])
    found = {p.what for p in check(REF_DAVIS, tmp_path).splits["valid"].problems}
    assert "videos have no frames" in found
    assert "masks hold 0 and 255, expected a palette of object ids" in found


@pytest.mark.assets
def test_real_palettes_of_several_objects(assets, tree):
    tennis = assets / "davis_multi" / "tennis"
    sample = read_ref_davis(tree)[0]
    names = tuple(path.stem for path in sorted((tennis / "Annotations").glob("*.png")))
    frames = dataclasses.replace(sample.frame_source, folder=tennis / "JPEGImages", names=names)
    masks = dataclasses.replace(sample.mask_source, folder=tennis / "Annotations", names=names)
    real = dataclasses.replace(
        sample, frame_source=frames, mask_source=masks, object_ids=(1, 2)
    ).masks()
    assert real.shape[:2] == (2, 2)
    assert real.any(axis=(2, 3)).all()
    assert not (real[0] & real[1]).any()
