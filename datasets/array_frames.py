"""Frames that a data set holds as one array or as encoded pictures, not as files of their own.

T frames, H x W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image

from vdit.datasets.array_pickles import StoredArray, StoredBytes
from vdit.datasets.findings import Findings

__all__ = ["ArrayFrames", "EncodedFrames", "number_frames"]


def number_frames(count: int) -> tuple[str, ...]:
    """Names of frames that have none: numbers from 1 in five digits."""
    return tuple(f"{number:05d}" for number in range(1, count + 1))


@dataclass(frozen=True)
class ArrayFrames:
    """Frames [T, H, W, 3] uint8 RGB in memory or in a pickle, of which the wanted ones are read.

    Attributes:
        array: the frames.

    Raises:
        ValueError: the array has another shape or type.
    """

    array: np.ndarray | StoredArray = field(repr=False)

    def __post_init__(self) -> None:
        shape = self.array.shape
        if len(shape) != 4 or shape[3] != 3 or 0 in shape or self.array.dtype != np.uint8:
            raise ValueError(
                f"expected frames [T, H, W, 3] of uint8, got {list(shape)} of {self.array.dtype}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        return number_frames(self.array.shape[0])

    def size(self) -> tuple[int, int]:
        return self.array.shape[1], self.array.shape[2]

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Give frames; see `Video.frames`."""
        if isinstance(self.array, StoredArray):
            return self.array.rows(indices)
        return self.array[list(indices)]

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        """Give frames as Pillow holds them."""
        return [Image.fromarray(frame) for frame in self.read(indices)]

    def inspect(self, findings: Findings) -> int:
        """Count the frames; their array was checked when it was made."""
        return len(self.names)


@dataclass(frozen=True)
class EncodedFrames:
    """Frames as JPEG or PNG in memory or in a pickle.

    Attributes:
        encoded: one entry a frame.
        where: names them in errors.
    """

    encoded: tuple[bytes | StoredBytes, ...] = field(repr=False)
    where: str

    @property
    def names(self) -> tuple[str, ...]:
        return number_frames(len(self.encoded))

    @cached_property
    def _size(self) -> tuple[int, int]:
        picture = self._open(0)
        return picture.height, picture.width

    def size(self) -> tuple[int, int]:
        return self._size

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Decode frames; see `Video.frames`."""
        return np.stack([np.asarray(picture) for picture in self.pictures(indices)])

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        """Decode each wanted frame once."""
        decoded = {index: self._open(index) for index in dict.fromkeys(indices)}
        for index, picture in decoded.items():
            if (picture.height, picture.width) != self.size():
                raise ValueError(
                    f"frame {index} of {self.where} is {picture.width}x{picture.height}, but the "
                    f"first one {self.size()[1]}x{self.size()[0]}; download it again"
                )
        return [decoded[index] for index in indices]

    def inspect(self, findings: Findings) -> int:
        """Decode every frame, which finds damage anywhere in them."""
        found = 0
        for index in range(len(self.encoded)):
            try:
                self.pictures([index])
                found += 1
            except ValueError as error:
                findings.add("frames cannot be read as pictures", error)
        return found

    def _open(self, index: int) -> Image.Image:
        encoded = self.encoded[index]
        data = encoded if isinstance(encoded, bytes) else encoded.read()
        try:
            with Image.open(io.BytesIO(data)) as picture:
                return picture.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"frame {index} of {self.where} is no picture ({error}); download it again"
            ) from error
