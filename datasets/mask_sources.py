"""True masks as data sets store them: pictures of labels, and run lengths.

Axes: N objects, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.annotation_files import read_json
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import picture_header
from vdit.masks import decode_rle, read_mask_png

__all__ = ["ForegroundPictures", "LabelPictures", "RunLengthFile", "RunLengthMasks", "expect_size"]

_WHITE = 255  # void in DAVIS, and foreground in masks that are no labels


def expect_size(where: object, found: tuple[int, ...], size: tuple[int, int]) -> None:
    """Check that a mask has the size of its frame.

    Raises:
        ValueError: it has not.
    """
    if tuple(found) != size:
        raise ValueError(
            f"{where} is {found[1]}x{found[0]}, but its frame is {size[1]}x{size[0]}; take masks "
            "and frames of one resolution"
        )


@dataclass(frozen=True)
class LabelPictures:
    """PNG files whose values are the ids of objects; 0 is background, 255 nothing or void.

    Attributes:
        folder: of the pictures.
        names: of the frames, without extension.
    """

    folder: Path
    names: tuple[str, ...]

    def path(self, index: int) -> Path:
        return self.folder / f"{self.names[index]}.png"

    def read(
        self, indices: Sequence[int], object_ids: Sequence[int], size: tuple[int, int]
    ) -> np.ndarray:
        """Decode masks; see `ReferringSample.masks`."""
        masks = np.empty((len(object_ids), len(indices), *size), dtype=bool)
        for t, index in enumerate(indices):
            labels = self._read_labels(self.path(index))
            expect_size(self.path(index), labels.shape, size)
            for n, object_id in enumerate(object_ids):
                np.equal(labels, object_id, out=masks[n, t])
        return masks

    def read_labels(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Decode the labels of one frame; see `LabelledVideo.labels`."""
        labels = self._read_labels(self.path(index))
        expect_size(self.path(index), labels.shape, size)
        return labels

    def read_all_labels(self, size: tuple[int, int]) -> np.ndarray:
        """Decode the labels of all T frames.

        Args:
            size: (height, width) of the frames.

        Returns:
            [T, H, W] uint8, 0 = background, 255 = void, else the id of an object.

        Raises:
            ValueError: a picture is missing, damaged, of another size or no map of labels.
        """
        labels = np.empty((len(self.names), *size), dtype=np.uint8)
        for t in range(len(labels)):
            labels[t] = self.read_labels(t, size)
        return labels

    def _read_labels(self, path: Path) -> np.ndarray:
        labels = read_mask_png(path)
        if labels.dtype != np.uint8:
            raise ValueError(
                f"{path} has {8 * labels.dtype.itemsize} bits a pixel, expected 8; take the "
                "pictures with a palette that the owners publish"
            )
        if _is_binary(path, labels):
            raise ValueError(
                f"{path} holds only 0 and 255 in gray, expected the ids of objects; take the "
                "pictures with a palette that the owners publish"
            )
        return labels

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Read the headers of all masks, and decode the gray ones."""
        size = None
        for index in indices:
            path = self.path(index)
            if not path.is_file():
                findings.add("masks are missing", path)
                continue
            try:
                found, mode = picture_header(path)
                is_binary = mode == "L" and _is_binary(path, read_mask_png(path))
            except ValueError:
                findings.add("masks cannot be read as pictures", path)
                continue
            size = size or found
            if found != size:
                findings.add("masks differ in size from the first one of their video", path)
            if mode not in ("P", "L", "1"):
                findings.add("masks are in color, expected a palette of object ids", path)
            elif is_binary:
                findings.add("masks hold 0 and 255, expected a palette of object ids", path)
        return size


@dataclass(frozen=True)
class ForegroundPictures:
    """PNG files that are zero on the background and anything else on the objects, all as one.

    Attributes:
        folder: of the pictures.
        names: of the frames, without extension.
    """

    folder: Path
    names: tuple[str, ...]

    def path(self, index: int) -> Path:
        return self.folder / f"{self.names[index]}.png"

    def read_labels(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Decode the labels of one frame, 1 on all objects; see `LabelledVideo.labels`."""
        labels = read_mask_png(self.path(index))
        expect_size(self.path(index), labels.shape, size)
        return (labels > 0).astype(np.uint8)

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Read the headers of all masks."""
        size = None
        for index in indices:
            path = self.path(index)
            if not path.is_file():
                findings.add("masks are missing", path)
                continue
            try:
                found, mode = picture_header(path)
            except ValueError:
                findings.add("masks cannot be read as pictures", path)
                continue
            size = size or found
            if found != size:
                findings.add("masks differ in size from the first one of their video", path)
            if mode not in ("P", "L", "1"):
                findings.add("masks are in color, expected gray", path)
        return size


def _is_binary(path: Path, labels: np.ndarray) -> bool:
    """Whether a gray picture has white but no label; with a palette, 255 is void."""
    if not (labels == _WHITE).any() or ((labels > 0) & (labels < _WHITE)).any():
        return False
    return picture_header(path)[1] != "P"


class RunLengthFile:
    """mask_dict.json of MeViS, read when the first mask is: {annotation: [run lengths or null]}."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def masks(self) -> dict[str, list[Mapping[str, Any] | None]]:
        return read_json(self.path, dict)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a worker reads the file itself, and only if it needs it


@dataclass(frozen=True)
class RunLengthMasks:
    """Masks of one video in a RunLengthFile; ids of objects are its keys.

    Attributes:
        file: of the whole split.
        video: id, for messages.
        num_frames: that every list must have.
    """

    file: RunLengthFile
    video: str
    num_frames: int

    def read(
        self, indices: Sequence[int], object_ids: Sequence[int], size: tuple[int, int]
    ) -> np.ndarray:
        """Decode masks; see `ReferringSample.masks`."""
        masks = np.zeros((len(object_ids), len(indices), *size), dtype=bool)
        for n, object_id in enumerate(object_ids):
            runs = self.file.masks.get(str(object_id))
            if runs is None:
                raise ValueError(
                    f"{self.file.path} has no masks of annotation {object_id} of video "
                    f"{self.video}; take the lists and masks of one release"
                )
            if len(runs) != self.num_frames:
                raise ValueError(
                    f"{self.file.path}: annotation {object_id} has {len(runs)} masks, but video "
                    f"{self.video} has {self.num_frames} frames; take lists and masks of one "
                    "release"
                )
            for t, index in enumerate(indices):
                run = runs[index]
                if run is not None:
                    mask = decode_rle(run)
                    expect_size(f"annotation {object_id} of {self.video}", mask.shape, size)
                    masks[n, t] = mask
        return masks

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Look at the keys and sizes of all run lengths without decoding them."""
        sizes = []
        for object_id in object_ids:
            where = f"{self.video}: annotation {object_id}"
            runs = self.file.masks.get(str(object_id))
            if runs is None:
                findings.add("objects of expressions have no masks", where)
                continue
            if len(runs) != self.num_frames:
                findings.add("objects have more or fewer masks than their video frames", where)
            for run in runs:
                if run is not None and not {"size", "counts"} <= set(run):
                    findings.add("masks are no run lengths", where)
                    break
                if run is not None:
                    sizes.append((int(run["size"][0]), int(run["size"][1])))
        if len(set(sizes)) > 1:
            findings.add("masks of one video differ in size", self.video)
        return sizes[0] if sizes else None
