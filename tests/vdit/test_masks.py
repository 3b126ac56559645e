from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from vdit.masks import (
    davis_palette,
    decode_rle,
    encode_rle,
    masks_to_boxes_xyxy,
    read_mask_png,
    write_mask_png,
    write_palette_png,
)

ROOT = Path(__file__).resolve().parents[2]
ASSETS = Path(os.environ.get("VDIT_ASSETS_DIR", ROOT.parent / "shared" / "assets"))


def random_masks(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        shape = rng.integers(1, 70, 2)
        yield rng.random(shape) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
def test_rle_round_trip_agrees_with_pycocotools():
    for mask in random_masks(100):
        rle = json.loads(json.dumps(encode_rle(mask)))
        counts = rle["counts"].encode()
        theirs = coco_mask.decode({"size": rle["size"], "counts": counts}).astype(bool)
        np.testing.assert_array_equal(theirs, mask)
        for form in (rle["counts"], counts):
            decoded = decode_rle({"size": rle["size"], "counts": form})
            assert decoded.dtype == np.bool_
            np.testing.assert_array_equal(decoded, mask)


def test_rle_of_large_runs():
    mask = np.zeros((1080, 1920), dtype=bool)
    mask[3:1000, 7:1900] = True
    np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)


def test_uncompressed_rle_goes_down_the_columns():
    decoded = decode_rle({"size": [3, 2], "counts": [1, 2, 3]})
    np.testing.assert_array_equal(decoded, [[0, 0], [1, 0], [1, 0]])


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [4, 4], "counts": ""}, "fill 0 pixels, expected 4 x 4 = 16"),
        ({"size": [4, 4], "counts": "14"}, "fill 5 pixels"),
        ({"size": [2, 2], "counts": [1, 4, -1]}, "fill 4 pixels"),
        ({"size": [2, 2], "counts": [5]}, "fill 5 pixels, expected 2 x 2 = 4"),
        ({"size": [4, 4], "counts": "\x00\x01"}, "byte 0"),
        ({"counts": "0"}, "needs the keys size and counts"),
    ],
)
def test_damaged_rle_is_refused(rle, message):
    with pytest.raises(ValueError, match=message):
        decode_rle(rle)


def test_encode_refuses_what_is_not_a_mask():
    with pytest.raises(ValueError, match=r"must be bool, got uint8; threshold it first"):
        encode_rle(np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"\[H, W\], got the shape \[1, 2, 2\]"):
        encode_rle(np.zeros((1, 2, 2), dtype=bool))


def test_boxes_hold_exactly_the_mask():
    masks = np.stack([np.resize(mask, (40, 50)) for mask in random_masks(30)])
    boxes = masks_to_boxes_xyxy(masks)
    assert boxes.shape == (30, 4)
    assert boxes.dtype == np.float32
    for mask, box in zip(masks, boxes, strict=True):
        ys, xs = np.nonzero(mask)
        expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0] * 4
        assert box.tolist() == expected
    assert masks_to_boxes_xyxy(np.zeros((0, 4, 5), dtype=bool)).shape == (0, 4)


def test_davis_palette_known_entries():
    palette = davis_palette()
    assert palette[[0, 1, 2, 3, 4, 7, 8, 9, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [0, 0, 128],
        [128, 128, 128],
        [64, 0, 0],
        [192, 0, 0],
        [224, 224, 192],
    ]
    assert len({tuple(color) for color in palette.tolist()}) == 256


def test_mask_png_round_trip(tmp_path):
    mask = np.arange(35).reshape(5, 7) % 3 == 0
    write_mask_png(tmp_path / "deep" / "mask.png", mask)
    with Image.open(tmp_path / "deep" / "mask.png") as picture:
        assert picture.mode == "L"
    read = read_mask_png(tmp_path / "deep" / "mask.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, np.where(mask, 255, 0))
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["mask.png"]


def test_palette_png_round_trip(tmp_path):
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_palette_png(tmp_path / "labels.png", labels)
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), davis_palette()[labels])
    np.testing.assert_array_equal(read_mask_png(tmp_path / "labels.png"), labels)


def test_labels_of_other_png_kinds(tmp_path):
    labels = np.array([[0, 1, 700], [3, 65535, 5]], dtype=np.uint16)
    Image.fromarray(labels).save(tmp_path / "16bit.png")
    read = read_mask_png(tmp_path / "16bit.png")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, labels)
    bits = np.array([[True, False], [False, True]])
    Image.fromarray(bits).save(tmp_path / "1bit.png")
    read = read_mask_png(tmp_path / "1bit.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, bits.astype(np.uint8))


def test_mask_files_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="does not exist; check the path"):
        read_mask_png(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png is no picture; expected a PNG of labels$"):
        read_mask_png(tmp_path / "text.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "color.png")
    with pytest.raises(ValueError, match="mode RGB, expected labels"):
        read_mask_png(tmp_path / "color.png")
    write_mask_png(tmp_path / "whole.png", np.ones((50, 50), dtype=bool))
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        read_mask_png(tmp_path / "cut.png")
    with pytest.raises(ValueError, match="labels must be uint8, got int64"):
        write_palette_png(tmp_path / "x.png", np.zeros((2, 2), dtype=np.int64))
    with pytest.raises(ValueError, match="cannot be written"):
        write_mask_png(tmp_path / "text.png" / "x.png", np.ones((2, 2), dtype=bool))


@pytest.mark.assets
def test_real_davis_masks(tmp_path):
    folder = ASSETS / "davis_multi"
    if not folder.is_dir():
        pytest.skip("no davis_multi")
    tennis = read_mask_png(folder / "tennis" / "Annotations" / "00000.png")
    assert tennis.dtype == np.uint8
    assert set(np.unique(tennis)) <= {0, 1, 2, 255}
    assert {1, 2} <= set(np.unique(tennis))
    with Image.open(folder / "bmx-trees" / "Annotations" / "00000.png") as theirs:
        colors = np.asarray(theirs.convert("RGB"))
        labels = np.asarray(theirs)
    write_palette_png(tmp_path / "ours.png", labels)
    with Image.open(tmp_path / "ours.png") as ours:
        np.testing.assert_array_equal(np.asarray(ours.convert("RGB")), colors)
    boxes = masks_to_boxes_xyxy(np.stack([labels == 1, labels == 2]))
    assert np.all(boxes[:, 2:] > boxes[:, :2])
