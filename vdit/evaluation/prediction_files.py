"""Predictions as files below a folder or in an archive, read alike.

Axes: H x W pixels.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from vdit.masks import decode_mask_png

__all__ = [
    "ArchiveFiles",
    "FolderFiles",
    "PredictionFiles",
    "open_predictions",
    "read_labels",
    "read_mask",
    "read_records",
    "require_files",
]

_NUM_NAMED = 3


class PredictionFiles(Protocol):
    """Files by path below one root; can be sent to another process."""

    @property
    def names(self) -> frozenset[str]:
        """Paths of all files, with "/" between folders; hidden files are left out."""

    def locate(self, path: PurePosixPath) -> str:
        """Name of one file for messages."""

    def read(self, path: PurePosixPath) -> bytes:
        """Content of one file."""


class FolderFiles:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def names(self) -> frozenset[str]:
        found = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = os.path.relpath(folder, self.root).replace(os.sep, "/")
            prefix = "" if below == "." else f"{below}/"
            found += [prefix + name for name in files if not name.startswith(".")]
        return frozenset(found)

    def locate(self, path: PurePosixPath) -> str:
        return str(self.root / path)

    def read(self, path: PurePosixPath) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            raise ValueError(f"{self.locate(path)} cannot be read ({error})") from error


class ArchiveFiles:
    """Files in a zip archive, which is opened anew in each process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self.path} cannot be read as a zip archive ({error}); make it again"
            ) from error

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(
            name
            for name in self._archive.namelist()
            if not name.endswith("/")
            and not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
        )

    def locate(self, path: PurePosixPath) -> str:
        return f"{self.path}:{path}"

    def read(self, path: PurePosixPath) -> bytes:
        try:
            return self._archive.read(str(path))
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.locate(path)} cannot be read ({error})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}


def open_predictions(path: str | os.PathLike[str]) -> FolderFiles | ArchiveFiles:
    """Find predictions in a folder or a zip archive.

    Raises:
        ValueError: there is neither, or the archive is damaged.
    """
    path = Path(path)
    if path.is_dir():
        return FolderFiles(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist, expected a folder or a zip of predictions")
    archive = ArchiveFiles(path)
    archive.names  # noqa: B018  a damaged archive is told before any work
    return archive


def require_files(files: PredictionFiles, wanted: Sequence[PurePosixPath], what: str) -> None:
    """Check that predictions are complete.

    Args:
        files: the predictions.
        wanted: paths that must be there.
        what: the predictions are of, for the message.

    Raises:
        ValueError: some are not; the sentence names the first ones and says how many. If none is,
            folder or split may be wrong, and it says that.
    """
    missing = [path for path in wanted if str(path) not in files.names]
    if missing and len(missing) == len(wanted):
        raise ValueError(
            f"none of the {len(wanted)} predictions of {what} is there, expected such as "
            f"{files.locate(wanted[0])}; check the folder, or pass --split as in `vdit infer`"
        )
    if missing:
        shown = ", ".join(files.locate(path) for path in missing[:_NUM_NAMED])
        more = f" and {len(missing) - _NUM_NAMED} more" if len(missing) > _NUM_NAMED else ""
        raise ValueError(
            f"{len(missing)} of {len(wanted)} predictions of {what} are missing: {shown}{more}; "
            "add them, or pass --missing-as-empty to count them as empty"
        )


def read_labels(files: PredictionFiles, path: PurePosixPath, size: tuple[int, int]) -> np.ndarray:
    """Read the object ids of one frame; a file that is not there is empty.

    Args:
        files: the predictions.
        path: of the picture.
        size: (height, width) of the frame.

    Returns:
        [H, W] uint8, 0 = background.

    Raises:
        ValueError: the picture is damaged, of another size, or holds colors without a palette.
    """
    if str(path) not in files.names:
        return np.zeros(size, dtype=np.uint8)
    labels = decode_mask_png(files.read(path), files.locate(path))
    if labels.shape != size:
        raise ValueError(
            f"{files.locate(path)} is {labels.shape[1]}x{labels.shape[0]}, but its frame is "
            f"{size[1]}x{size[0]}; write masks in the size of the frames"
        )
    return labels


def read_mask(files: PredictionFiles, path: PurePosixPath, size: tuple[int, int]) -> np.ndarray:
    """Read one mask of 0 and 255, or of 0 and 1; a file that is not there is empty.

    Args:
        files: the predictions.
        path: of the picture.
        size: (height, width) of the frame.

    Returns:
        [H, W] bool.

    Raises:
        ValueError: as `read_labels`, or the picture holds other values.
    """
    labels = read_labels(files, path, size)
    mask = labels > 0
    values = labels[mask]
    if len(values) and (values.min() != values.max() or values[0] not in (1, 255)):
        raise ValueError(
            f"{files.locate(path)} holds the values {values.min()} to {values.max()} besides 0, "
            "expected only 255, or only 1; threshold the masks before they are written"
        )
    return mask


def read_records(files: PredictionFiles, name: str) -> list[dict[str, Any]]:
    """Read a list of records; see `vdit.evaluation.prediction_layouts`.

    Raises:
        ValueError: the file is missing, no JSON or no list, or a record lacks a key.
    """
    path = PurePosixPath(name)
    if name not in files.names:
        raise ValueError(f"{files.locate(path)} does not exist, expected the list of predictions")
    try:
        records = json.loads(files.read(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{files.locate(path)} is no JSON ({error}); write it again") from error
    keys = {"image_id", "segmentation", "score"}
    if not isinstance(records, list):
        raise ValueError(f"{files.locate(path)} holds no list, expected one record a mask")
    for number, record in enumerate(records):
        if not isinstance(record, dict) or not keys <= record.keys():
            raise ValueError(
                f"{files.locate(path)}: record {number} lacks one of {', '.join(sorted(keys))}"
            )
        if not isinstance(record["image_id"], str | int):
            raise ValueError(
                f"{files.locate(path)}: record {number} has the image_id {record['image_id']!r}, "
                "expected a name or a number"
            )
    return records
