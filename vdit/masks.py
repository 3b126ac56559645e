"""Masks on disk and as run lengths, and the boxes around them.

Axes: N objects, H x W pixels.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco_mask

from vdit.atomic import replace_when_complete

__all__ = [
    "davis_palette",
    "decode_mask_png",
    "decode_rle",
    "encode_rle",
    "masks_to_boxes_xyxy",
    "read_mask_png",
    "write_mask_png",
    "write_palette_png",
]

_BROKEN_PICTURE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """Compress one mask to the run-length form of COCO.

    Args:
        mask: [H, W] bool.

    Returns:
        {"size": [H, W], "counts": str}, ready for JSON.

    Raises:
        ValueError: `mask` is not a bool array of two axes.

    >>> encode_rle(np.ones((2, 3), dtype=bool))
    {'size': [2, 3], 'counts': '06'}
    """
    _expect_axes("mask", mask, "[H, W]", 2)
    if mask.dtype != np.bool_:
        raise ValueError(f"mask must be bool, got {mask.dtype}; threshold it first")
    height, width = mask.shape
    if mask.size == 0:
        return {"size": [height, width], "counts": "0"}
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Expand the run-length form of COCO to a mask.

    Args:
        rle: {"size": [H, W], "counts": str, bytes or list}; a list holds plain run lengths down the
            columns, beginning with zeros.

    Returns:
        [H, W] bool.

    Raises:
        ValueError: a key is missing, or the runs do not fill the size exactly.

    >>> decode_rle({"size": [2, 2], "counts": [1, 2, 1]}).astype(int)
    array([[0, 1],
           [1, 0]])
    """
    if "size" not in rle or "counts" not in rle:
        raise ValueError(f"a run-length mask needs the keys size and counts, got {sorted(rle)}")
    height, width = (int(side) for side in rle["size"])
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        runs = _parse_counts(counts)
    else:
        runs = [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(
            f"run lengths fill {sum(runs)} pixels, expected {height} x {width} = "
            f"{height * width}; the mask is damaged or its size is of another frame"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T.copy()


def _parse_counts(counts: str | bytes) -> list[int]:
    """Run lengths of a COCO string: 5 bits a character, low bits first, from the fourth run on as
    differences to the run two before. The compiled decoder reads past short strings.
    """
    data = counts.encode("latin-1", "replace") if isinstance(counts, str) else counts
    runs: list[int] = []
    value = shift = 0
    for character in data:
        bits = character - 48
        if not 0 <= bits < 64:
            raise ValueError(f"run lengths hold the byte {character}, which COCO never writes")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs


def masks_to_boxes_xyxy(masks: np.ndarray) -> np.ndarray:
    """Find the tight box around each mask.

    Args:
        masks: [N, H, W] bool.

    Returns:
        [N, 4] float32 (x1, y1, x2, y2) in pixels: the first column and row inside, and one past
        the last, so that x2 - x1 is the width; zeros where a mask is empty.

    Raises:
        ValueError: `masks` has not three axes.

    >>> masks = np.zeros((2, 5, 5), dtype=bool)
    >>> masks[0, 1:3, 2:5] = True
    >>> masks_to_boxes_xyxy(masks).tolist()
    [[2.0, 1.0, 5.0, 3.0], [0.0, 0.0, 0.0, 0.0]]
    """
    _expect_axes("masks", masks, "[N, H, W]", 3)
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size:
            columns = np.flatnonzero(mask.any(axis=0))
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def davis_palette() -> np.ndarray:
    """Compute the colors that DAVIS and Pascal VOC give to the labels 0..255.

    The bits of a label, from the lowest, go in turn to red, green and blue, where they fill the
    channel from its highest bit down.

    Returns:
        [256, 3] uint8 RGB.

    >>> davis_palette()[:4].tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    labels = np.arange(256)[:, None]
    palette = np.zeros((256, 3), dtype=np.uint8)
    for level in range(8):
        bit = (labels >> (3 * level + np.arange(3))) & 1
        palette |= (bit << (7 - level)).astype(np.uint8)
    return palette


def write_mask_png(path: str | os.PathLike[str], mask: np.ndarray) -> None:
    """Write one mask as a gray PNG of 0 and 255.

    Args:
        path: ends in .png; appears only when it is complete.
        mask: [H, W] bool.

    Raises:
        ValueError: `mask` is not a bool array of two axes, or `path` cannot be written.
    """
    _expect_axes("mask", mask, "[H, W]", 2)
    if mask.dtype != np.bool_:
        raise ValueError(f"mask must be bool, got {mask.dtype}; threshold it first")
    _save_png(path, Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))


def write_palette_png(path: str | os.PathLike[str], labels: np.ndarray) -> None:
    """Write labels as a PNG with the palette of DAVIS, the form of its submissions.

    Args:
        path: ends in .png; appears only when it is complete.
        labels: [H, W] uint8, 0 = background.

    Raises:
        ValueError: `labels` is not a uint8 array of two axes, or `path` cannot be written.
    """
    _expect_axes("labels", labels, "[H, W]", 2)
    if labels.dtype != np.uint8:
        raise ValueError(f"labels must be uint8, got {labels.dtype}; a palette holds 0..255")
    picture = Image.fromarray(labels)
    picture.putpalette(davis_palette().tobytes())
    _save_png(path, picture)


def read_mask_png(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the labels of a mask picture as they are stored.

    Args:
        path: a PNG with a palette (the indices are the labels), gray of 8 or 16 bits, or of 1 bit
            (labels 0 and 1). Values are not rescaled: 0 and 255 stay 0 and 255.

    Returns:
        [H, W] uint8, or uint16 for 16 bits.

    Raises:
        ValueError: there is no such file, it is no picture, or it is in color without a palette.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"mask {path} does not exist; check the path") from error
    except OSError as error:
        raise ValueError(f"mask {path} cannot be read ({error}); copy it again") from error
    return decode_mask_png(content, str(path))


def decode_mask_png(content: bytes, name: str) -> np.ndarray:
    """Read the labels of a mask picture that is in memory, see `read_mask_png`.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        ValueError: it is no picture, or it is in color without a palette.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            mode, labels = picture.mode, np.array(picture)
    except UnidentifiedImageError as error:
        raise ValueError(f"mask {name} is no picture; expected a PNG of labels") from error
    except _BROKEN_PICTURE as error:
        raise ValueError(
            f"mask {name} cannot be read as a picture ({error}); write it again as a PNG"
        ) from error
    if mode == "1":
        return labels.astype(np.uint8)
    if mode in ("L", "P"):
        return labels
    if mode.startswith("I"):
        return labels.astype(np.uint16)
    raise ValueError(
        f"mask {name} has the picture mode {mode}, expected labels in a palette or gray PNG; "
        "convert its colors to labels first"
    )


def _save_png(path: str | os.PathLike[str], picture: Image.Image) -> None:
    with replace_when_complete(path) as temporary:
        try:
            picture.save(temporary, format="PNG")
        except OSError as error:
            raise ValueError(
                f"{path} cannot be written ({error}); check the space on the disk"
            ) from error


def _expect_axes(name: str, array: np.ndarray, axes: str, ndim: int) -> None:
    if array.ndim != ndim:
        raise ValueError(f"{name} must be {axes}, got the shape {list(array.shape)}")
