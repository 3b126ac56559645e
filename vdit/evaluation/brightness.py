"""Frames of a data set made darker or brighter, for the test of robustness to lighting.

Axes: H x W pixels.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vdit.atomic import replace_folder_when_complete

__all__ = ["change_brightness", "write_changed_tree"]

_JPEG = (".jpg", ".jpeg")
_PNG_FRAMES = "Rename_Images"  # of JHMDB, whose frames are PNG
_JPEG_QUALITY = 95


def change_brightness(frame: np.ndarray, factor: float) -> np.ndarray:
    """Multiply all channels, rounded and cut at white.

    Args:
        frame: [..., 3] uint8.
        factor: at least 0; 1 changes nothing, 0 is black.

    Returns:
        [..., 3] uint8.

    Raises:
        ValueError: the frame is not uint8, or the factor is negative or not a number.

    >>> change_brightness(np.array([[10, 101, 200]], dtype=np.uint8), 1.5).tolist()
    [[15, 152, 255]]
    """
    if frame.dtype != np.uint8:
        raise ValueError(f"expected a frame of dtype uint8, got {frame.dtype}")
    if not factor >= 0 or factor == float("inf"):
        raise ValueError(f"expected a brightness factor >= 0, got {factor}")
    table = np.minimum(np.arange(256) * factor + 0.5, 255).astype(np.uint8)
    return np.asarray(table[frame])


def write_changed_tree(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    factor: float,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Copy a data set, every frame with another brightness and everything else as it is.

    Frames are all JPEG pictures, which are stored again with quality 95, and the PNG pictures of
    JHMDB; where the factor is 1 they are copied. The copy appears when it is complete.

    Args:
        source: root of a data set of pictures.
        target: root of the copy, outside of `source`; new or empty.
        factor: see `change_brightness`.
        progress: called with the files done and in all.

    Returns:
        How many frames were changed or copied as frames.

    Raises:
        ValueError: the source has no frame, a frame is damaged, or the target lies in the source
            or holds anything.
    """
    source, target = Path(source), Path(target)
    change_brightness(np.zeros((1, 3), dtype=np.uint8), factor)  # complain before any work
    if target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{target} lies in {source}, expected a folder outside of it")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    frames = {path for path in files if _is_frame(path.relative_to(source))}
    if not frames:
        raise ValueError(f"{source} holds no JPEG frames, expected the root of a data set")
    with replace_folder_when_complete(target, ()) as partial:
        for number, path in enumerate(files, start=1):
            copy = partial / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path in frames and factor != 1:
                _write_changed(path, copy, factor)
            else:
                shutil.copyfile(path, copy)
            if progress:
                progress(number, len(files))
    return len(frames)


def _is_frame(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in _JPEG or (suffix == ".png" and _PNG_FRAMES in path.parts)


def _write_changed(path: Path, copy: Path, factor: float) -> None:
    try:
        with Image.open(path) as picture:
            frame = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); copy it again") from error
    changed = Image.fromarray(change_brightness(frame, factor))
    if path.suffix.lower() in _JPEG:
        changed.save(copy, format="JPEG", quality=_JPEG_QUALITY)
    else:
        changed.save(copy, format="PNG")
