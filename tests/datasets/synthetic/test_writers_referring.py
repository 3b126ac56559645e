"""Ref-YouTube-VOS, MeViS, DAVIS and Ref-DAVIS17: read back with Pillow, json and pycocotools."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vdit.datasets.synthetic.clip import Caption
from vdit.datasets.synthetic.writers.davis import (
    write_davis,
    write_ref_davis,
    write_ref_davis_converted,
)
from vdit.datasets.synthetic.writers.mevis import write_mevis
from vdit.datasets.synthetic.writers.ref_youtube_vos import write_ref_youtube_vos
from vdit.masks import decode_rle


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_palette(folder):
    """Labels [T, H, W] of the PNGs of a folder, which must have a palette."""
    labels = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            assert picture.mode == "P"
            assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
            labels.append(np.array(picture))
    return np.stack(labels)


def read_frames(folder):
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.iterdir())])


def tree(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def list_bytes(root):
    return {name: (root / name).read_bytes() for name in tree(root)}


def test_ref_youtube_vos_train(clip, make_clip, tmp_path):
    write_ref_youtube_vos([("a1", clip), ("b2", make_clip(seed=1))], tmp_path)
    names = ["00000", "00005", "00010", "00015"]
    assert tree(tmp_path) == {
        "meta_expressions/train/meta_expressions.json",
        "train/meta.json",
        "rendered.json",
        *(f"train/JPEGImages/{v}/{n}.jpg" for v in ("a1", "b2") for n in names),
        *(f"train/Annotations/{v}/{n}.png" for v in ("a1", "b2") for n in names),
    }
    videos = read_json(tmp_path / "meta_expressions/train/meta_expressions.json")["videos"]
    assert list(videos) == ["a1", "b2"]
    assert videos["a1"]["frames"] == names
    assert videos["a1"]["expressions"] == {
        "0": {"exp": "the red cube", "obj_id": "1", "kind": "appearance"},
        "1": {"exp": "the cube, that bounces", "obj_id": "1", "kind": "motion"},
        "2": {"exp": "The ball", "obj_id": "2", "kind": "category"},
        "3": {"exp": "the green cube on the right", "obj_id": "3", "kind": "spatial"},
    }
    labels = read_palette(tmp_path / "train/Annotations/a1")
    for k, masks in enumerate(clip.masks):
        np.testing.assert_array_equal(labels == k + 1, masks)
    meta = read_json(tmp_path / "train/meta.json")["videos"]["a1"]["objects"]
    assert meta["1"] == {"category": "cube", "frames": ["00000", "00005", "00015"]}
    assert meta["2"] == {"category": "ball", "frames": names}
    assert meta["3"]["frames"] == names[:2]
    frames = read_frames(tmp_path / "train/JPEGImages/b2").astype(int)
    assert np.abs(frames - make_clip(seed=1).frames).mean() < 3
    assert np.abs(frames - clip.frames).mean() > 3


def test_ref_youtube_vos_valid_hides_the_truth(clip, tmp_path):
    write_ref_youtube_vos([("a1", clip)], tmp_path, split="valid")
    assert {name.split("/")[0] for name in tree(tmp_path)} == {
        "meta_expressions",
        "valid",
        "rendered.json",
    }
    assert not (tmp_path / "valid/Annotations").exists()
    assert not (tmp_path / "valid/meta.json").exists()
    videos = read_json(tmp_path / "meta_expressions/valid/meta_expressions.json")["videos"]
    assert videos["a1"]["expressions"]["2"] == {"exp": "The ball"}


def test_rendered_json_keeps_earlier_splits(clip, make_clip, tmp_path):
    other = make_clip(seed=5)
    write_ref_youtube_vos([("a", clip)], tmp_path, split="train")
    write_ref_youtube_vos([("a", other)], tmp_path, split="valid")
    record = read_json(tmp_path / "rendered.json")
    assert record["version"] == clip.scene.as_json()["version"]
    expected = {"train/a": clip.scene.as_json(), "valid/a": other.scene.as_json()}
    assert record["clips"] == json.loads(json.dumps(expected))


def test_clips_are_streamed(make_clip, tmp_path):
    def render():
        for number in range(3):
            done = (tmp_path / "train/JPEGImages").glob("*/00015.jpg")
            assert len(list(done)) == number
            yield f"v{number}", make_clip(seed=number)

    write_ref_youtube_vos(render(), tmp_path)
    assert len(read_json(tmp_path / "rendered.json")["clips"]) == 3


def test_bytes_are_the_same_each_time(clip, tmp_path):
    for write in (write_ref_youtube_vos, write_mevis, write_ref_davis, write_ref_davis_converted):
        folders = [tmp_path / write.__name__ / str(number) for number in range(2)]
        for folder in folders:
            write([("a", clip)], folder)
        first, second = map(list_bytes, folders)
        assert first == second


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no clip came"),
        (["a", "a"], "two clips have the name 'a'"),
        (["a/b"], "has the name 'a/b'"),
        (["../a"], "has the name"),
        (["a b"], "has the name"),
        ([""], "has the name"),
    ],
)
def test_bad_names(clip, tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        write_davis([(name, clip) for name in names], tmp_path)
    assert not (tmp_path / "rendered.json").exists()
    assert not (tmp_path / "ImageSets").exists()


def test_ref_youtube_vos_wants_a_single_object(make_clip, tmp_path):
    clip = make_clip(captions=(Caption("two cubes", "several", (0, 2)),))
    with pytest.raises(ValueError, match="clip x has no caption that names exactly one"):
        write_ref_youtube_vos([("x", clip)], tmp_path)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_mevis(clip, make_clip, tmp_path):
    write_mevis([("a", clip), ("b", make_clip(seed=1))], tmp_path, split="valid_u")
    videos = read_json(tmp_path / "valid_u/meta_expressions.json")["videos"]
    assert videos["a"]["vid_id"] == 0
    assert videos["b"]["vid_id"] == 1
    assert videos["a"]["frames"] == ["00000", "00001", "00002", "00003"]
    assert (tmp_path / "valid_u/JPEGImages/b/00003.jpg").is_file()
    expressions = videos["b"]["expressions"]
    assert list(expressions) == ["0", "1", "2", "3", "4", "5"]
    several = {"exp": "two cubes", "kind": "several", "obj_id": [0, 2], "anno_id": [3, 5]}
    assert expressions["4"] == several
    nothing = {"exp": "a yellow cone", "kind": "no target", "obj_id": [], "anno_id": []}
    assert expressions["5"] == nothing
    mask_dict = read_json(tmp_path / "valid_u/mask_dict.json")
    assert list(mask_dict) == ["0", "1", "2", "3", "4", "5"]
    for k, masks in enumerate(clip.masks):
        for offset in (0, 3):
            for rle, mask in zip(mask_dict[str(k + offset)], masks, strict=True):
                assert (rle is None) == (not mask.any())
                if rle is not None:
                    np.testing.assert_array_equal(decode_rle(rle), mask)
    assert mask_dict["2"][2:] == [None, None]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_mevis_hides_the_truth(clip, tmp_path, split):
    write_mevis([("a", clip)], tmp_path, split=split)
    assert not (tmp_path / split / "mask_dict.json").exists()
    videos = read_json(tmp_path / split / "meta_expressions.json")["videos"]
    assert videos["a"]["expressions"]["4"] == {"exp": "two cubes"}


def test_mevis_wants_captions(make_clip, tmp_path):
    with pytest.raises(ValueError, match="clip a has no captions"):
        write_mevis([("a", make_clip(captions=()))], tmp_path)


def test_davis(clip, make_clip, tmp_path):
    write_davis([("seq-1", clip), ("seq-0", make_clip(seed=1))], tmp_path, split="train")
    assert (tmp_path / "ImageSets/2017/train.txt").read_text() == "seq-1\nseq-0\n"
    labels = read_palette(tmp_path / "Annotations/480p/seq-1")
    np.testing.assert_array_equal(labels, clip.instances)
    names = [path.name for path in sorted((tmp_path / "JPEGImages/480p/seq-0").iterdir())]
    assert names == ["00000.jpg", "00001.jpg", "00002.jpg", "00003.jpg"]
    assert tree(tmp_path) == {
        "rendered.json",
        "ImageSets/2017/train.txt",
        *(f"JPEGImages/480p/{s}/0000{t}.jpg" for s in ("seq-0", "seq-1") for t in range(4)),
        *(f"Annotations/480p/{s}/0000{t}.png" for s in ("seq-0", "seq-1") for t in range(4)),
    }


def test_ref_davis_texts(make_clip, tmp_path):
    captions = (
        Caption("the caf\u00e9 cube", "appearance", (0,)),
        Caption("the cube that bounces", "motion", (0,)),
        Caption("the ros\u00e9 one", "appearance", (0,)),
        Caption("the ball", "category", (1,)),
        Caption("two cubes", "several", (0, 2)),
        Caption("the one that stays", "motion", (2,)),
    )
    clip = make_clip(captions=captions)
    write_ref_davis([("s1", clip)], tmp_path, split="train")
    write_ref_davis([("s2", clip)], tmp_path, split="val")
    write_ref_davis([("s2", clip)], tmp_path, split="val")
    folder = tmp_path / "davis_text_annotations"
    first = (folder / "Davis17_annot1.txt").read_text(encoding="utf-8").splitlines()
    assert first == [
        's1 1 "the caf\u00e9 cube"',
        's1 2 "the ball"',
        's1 3 "the one that stays"',
        's2 1 "the caf\u00e9 cube"',
        's2 2 "the ball"',
        's2 3 "the one that stays"',
    ]
    full = (folder / "Davis17_annot1_full_video.txt").read_text(encoding="utf-8").splitlines()
    assert full[0] == 's1 1 "the cube that bounces"'
    second = (folder / "Davis17_annot2.txt").read_text(encoding="latin-1").splitlines()
    assert second[0] == 's1 1 "the ros\u00e9 one"'
    last = (folder / "Davis17_annot2_full_video.txt").read_text(encoding="latin-1").splitlines()
    assert len(last) == 6
    semantics = read_json(tmp_path / "DAVIS/davis_semantics.json")
    assert semantics == {seq: {"1": "cube", "2": "ball", "3": "cube"} for seq in ("s1", "s2")}
    for masks in ("Annotations", "Annotations_unsupervised"):
        labels = read_palette(tmp_path / f"DAVIS/{masks}/480p/s1")
        np.testing.assert_array_equal(labels, clip.instances)
    assert (tmp_path / "DAVIS/ImageSets/2017/train.txt").read_text() == "s1\n"
    assert (tmp_path / "DAVIS/ImageSets/2017/val.txt").read_text() == "s2\n"


def test_ref_davis_converted_agrees_with_the_texts(clip, tmp_path):
    write_ref_davis([("s", clip)], tmp_path / "raw")
    write_ref_davis_converted([("s", clip)], tmp_path / "new")
    video = read_json(tmp_path / "new/meta_expressions/valid/meta_expressions.json")["videos"]["s"]
    assert video["frames"] == ["00000", "00001", "00002", "00003"]
    assert list(video["expressions"]) == [str(number) for number in range(12)]
    # what the conversion of ReferFormer makes of the files of text
    columns = []
    for name, encoding in (
        ("annot1", "utf-8"),
        ("annot1_full_video", "utf-8"),
        ("annot2", "latin-1"),
        ("annot2_full_video", "latin-1"),
    ):
        path = tmp_path / f"raw/davis_text_annotations/Davis17_{name}.txt"
        lines = path.read_text(encoding=encoding).splitlines()
        columns.append([(line.split()[1], " ".join(line.split()[2:])[1:-1]) for line in lines])
    expected = [entry for entries in zip(*columns, strict=True) for entry in entries]
    found = [(entry["obj_id"], entry["exp"]) for entry in video["expressions"].values()]
    assert found == expected
    assert [obj_id for obj_id, _ in found] == ["1"] * 4 + ["2"] * 4 + ["3"] * 4
    meta = read_json(tmp_path / "new/valid/meta.json")["videos"]["s"]["objects"]
    assert meta == {"1": {"category": "cube"}, "2": {"category": "ball"}, "3": {"category": "cube"}}
    labels = read_palette(tmp_path / "new/valid/Annotations/s")
    np.testing.assert_array_equal(labels, clip.instances)


def test_ref_davis_wants_every_object_named(make_clip, tmp_path):
    clip = make_clip(captions=(Caption("the red cube", "appearance", (0,)),))
    for write in (write_ref_davis, write_ref_davis_converted):
        with pytest.raises(ValueError, match="clip s has no caption for object 1 alone"):
            write([("s", clip)], tmp_path)
