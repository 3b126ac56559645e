"""Frames and maps as picture files. H x W pixels, T frames."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from vdit.datasets.synthetic.writers.records import write_bytes
from vdit.masks import write_palette_png

_JPEG_QUALITY = 95


def write_jpegs(folder: Path, names: Iterable[str], frames: np.ndarray) -> None:
    """Write frames as <folder>/<name>.jpg.

    Args:
        folder: is created.
        names: T names without extension.
        frames: [T, H, W, 3] uint8 RGB.
    """
    for name, frame in zip(names, frames, strict=True):
        data = io.BytesIO()
        Image.fromarray(frame).save(data, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
        write_bytes(folder / f"{name}.jpg", data.getvalue())


def write_palettes(folder: Path, names: Iterable[str], labels: np.ndarray) -> None:
    """Write labels as <folder>/<name>.png with the palette of DAVIS.

    Args:
        folder: is created.
        names: T names without extension.
        labels: [T, H, W] uint8, 0 = background.
    """
    for name, frame in zip(names, labels, strict=True):
        write_palette_png(folder / f"{name}.png", np.ascontiguousarray(frame))


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write one picture: [H, W, 3] uint8 RGB, or [H, W] uint8 or uint16 gray."""
    write_bytes(path, encode_png(picture))


def encode_png(picture: np.ndarray) -> bytes:
    """Encode one picture: [H, W, 3] uint8 RGB, or [H, W] uint8 or uint16 gray."""
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(data, format="PNG")
    return data.getvalue()


def name_frames(count: int, step: int = 1, start: int = 0, digits: int = 5) -> list[str]:
    """Give the names of frames without extension.

    >>> name_frames(3, step=5)
    ['00000', '00005', '00010']
    """
    return [f"{start + step * t:0{digits}d}" for t in range(count)]


def spread_frames(length: int, count: int) -> list[int]:
    """Choose frames that lie in the middles of equal parts of a clip; all, where it has fewer.

    >>> spread_frames(12, 3)
    [2, 6, 10]
    """
    count = min(length, count)
    return [length * (2 * part + 1) // (2 * count) for part in range(count)]
