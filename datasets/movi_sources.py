"""Frames and instances of one MOVi video: pictures in a record, or arrays in a folder.

Axes: T frames, H x W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from vdit.datasets.findings import Findings
from vdit.datasets.tfrecord import Record, Span, find_byte_lists, read_message, read_span
from vdit.masks import decode_mask_png

__all__ = [
    "ArrayFrames",
    "ArrayInstances",
    "ArrayVideo",
    "RecordFrames",
    "RecordInstances",
    "RecordVideo",
]

_FRAMES, _INSTANCES = "video", "segmentations"
_BROKEN_PICTURE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def _frame_names(count: int) -> tuple[str, ...]:
    return tuple(f"{index:05d}" for index in range(count))


@dataclass(frozen=True)
class RecordVideo:
    """Pictures in a record; only the places of them are kept in memory.

    Attributes:
        record: where it lies.
    """

    record: Record

    @cached_property
    def places(self) -> dict[str, list[Span]]:
        """Where the pictures lie in the file; the first use compares the record's checksum."""
        message = read_message(self.record)
        try:
            found = find_byte_lists(message)
        except ValueError as error:
            raise ValueError(f"{self.record}: {error}; download the file again") from error
        start = self.record.start
        places = {}
        for feature in (_FRAMES, _INSTANCES):
            if not found.get(feature):
                raise ValueError(
                    f"{self.record} has no pictures in the feature {feature!r}; take a MOVi that "
                    "was stored with it"
                )
            places[feature] = [(start + first, start + stop) for first, stop in found[feature]]
        counts = {feature: len(spans) for feature, spans in places.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"{self.record} has {counts[_FRAMES]} frames and {counts[_INSTANCES]} pictures of "
                "instances, expected as many; download the file again"
            )
        return places

    def picture(self, feature: str, index: int) -> tuple[bytes, str]:
        """Read the bytes of a picture, and say which it is for messages."""
        content = read_span(self.record.path, self.places[feature][index])
        return content, f"{feature} {index} of {self.record}"


@dataclass(frozen=True)
class RecordFrames:
    """Frames in a record.

    Attributes:
        video: the pictures.
    """

    video: RecordVideo

    @property
    def names(self) -> tuple[str, ...]:
        return _frame_names(len(self.video.places[_FRAMES]))

    def size(self) -> tuple[int, int]:
        picture = self._open(0)
        return picture.height, picture.width

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        return [Image.fromarray(frame) for frame in self.read(indices)]

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Decode frames; see `FrameSource`."""
        size = self.size()
        frames = np.empty((len(indices), *size, 3), np.uint8)
        for t, index in enumerate(indices):
            picture = self._open(index)
            if (picture.height, picture.width) != size:
                raise ValueError(
                    f"{_FRAMES} {index} of {self.video.record} is {picture.width}x{picture.height},"
                    f" but the first frame {size[1]}x{size[0]}; download the file again"
                )
            frames[t] = np.asarray(picture)
        return frames

    def inspect(self, findings: Findings) -> int:
        """Compare the checksum, decode all frames."""
        try:
            return len(self.read(range(len(self.names))))
        except ValueError as error:
            findings.add("records cannot be read", error)
            return 0

    def _open(self, index: int) -> Image.Image:
        content, what = self.video.picture(_FRAMES, index)
        try:
            with Image.open(io.BytesIO(content)) as picture:
                return picture.convert("RGB")
        except _BROKEN_PICTURE as error:
            raise ValueError(f"{what} is no picture ({error}); download the file again") from error


@dataclass(frozen=True)
class RecordInstances:
    """Instances in a record.

    Attributes:
        video: the pictures.
    """

    video: RecordVideo

    def read_instances(self, indices: Sequence[int]) -> np.ndarray:
        """Decode the instances of frames; see `InstanceSource`."""
        found = [decode_mask_png(*self.video.picture(_INSTANCES, index)) for index in indices]
        if len({labels.shape for labels in found}) > 1:
            raise ValueError(f"{self.video.record} has instances of several sizes; download again")
        return np.stack(found)


@dataclass(frozen=True)
class ArrayVideo:
    """Arrays of one video.

    Attributes:
        folder: of rgb.npy and segment.npy.
    """

    folder: Path

    def frames(self) -> np.ndarray:
        """Map the frames [T, H, W, 3] uint8 into memory."""
        return self._load("rgb", 3)

    def instances(self) -> np.ndarray:
        """Map the instances [T, H, W] uint8 into memory."""
        return self._load("segment", 1)[..., 0]

    def _load(self, stem: str, channels: int) -> np.ndarray:
        path = self.folder / f"{stem}.npy"
        try:
            array: np.ndarray = np.load(path, mmap_mode="r")
        except FileNotFoundError as error:
            raise ValueError(f"{path} does not exist; restore or remove its folder") from error
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path} cannot be read ({error}); copy it again") from error
        if array.ndim == 3 and channels == 1:
            array = array[..., None]
        if array.ndim != 4 or array.shape[-1] != channels or array.dtype != np.uint8:
            raise ValueError(
                f"{path} is {list(array.shape)} {array.dtype}, expected [T, H, W, {channels}] "
                "uint8; write it again"
            )
        return array


@dataclass(frozen=True)
class ArrayFrames:
    """Frames in an array.

    Attributes:
        video: the arrays.
    """

    video: ArrayVideo

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        count, height, width, _ = self.video.frames().shape
        return count, height, width

    @property
    def names(self) -> tuple[str, ...]:
        return _frame_names(self._shape[0])

    def size(self) -> tuple[int, int]:
        return self._shape[1:]

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        return [Image.fromarray(frame) for frame in self.read(indices)]

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Copy frames out of the array; see `FrameSource`."""
        return np.array(self.video.frames()[list(indices)])

    def inspect(self, findings: Findings) -> int:
        """Read the header and the length of the file."""
        try:
            count = len(self.names)
        except ValueError as error:
            findings.add("arrays cannot be read", error)
            return 0
        if not count:
            findings.add("videos have no frames", self.video.folder)
        return count


@dataclass(frozen=True)
class ArrayInstances:
    """Instances in an array.

    Attributes:
        video: the arrays.
    """

    video: ArrayVideo

    def read_instances(self, indices: Sequence[int]) -> np.ndarray:
        """Copy the instances of frames; see `InstanceSource`."""
        instances, count = self.video.instances(), len(self.video.frames())
        if len(instances) != count:
            raise ValueError(
                f"{self.video.folder} has {count} frames and instances of {len(instances)}; take "
                "both arrays from one release"
            )
        return np.array(instances[list(indices)])
