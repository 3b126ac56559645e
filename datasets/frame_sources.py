"""Frames of a video as data sets store them: named pictures, or one video file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vdit.datasets.findings import Findings
from vdit.video import VideoReader, list_pictures, open_video

__all__ = ["FolderFrames", "PictureFrames", "VideoFrames", "list_frame_names", "picture_header"]

_BROKEN_PICTURE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def picture_header(path: Path) -> tuple[tuple[int, int], str]:
    """Read (height, width) and Pillow's mode of a picture without decoding it.

    Raises:
        ValueError: there is no such file or it is no picture.
    """
    try:
        with Image.open(path) as picture:
            return (picture.height, picture.width), picture.mode
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist; run `vdit data check`") from error
    except _BROKEN_PICTURE as error:
        raise ValueError(f"{path} cannot be read as a picture ({error}); copy it again") from error


def _decode(path: Path) -> Image.Image:
    """Decode a picture to RGB."""
    try:
        with Image.open(path) as picture:
            if picture.mode == "RGB":
                picture.load()
                return picture
            return picture.convert("RGB")
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist; run `vdit data check`") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} cannot be read as a picture ({error}); copy it again") from error
    except _BROKEN_PICTURE as error:
        raise ValueError(f"{path} is damaged ({error}); copy it again") from error


def list_frame_names(
    *folders: Path, suffixes: tuple[str, ...] = (".jpg", ".png")
) -> tuple[str, ...]:
    """Name the frames of a video that has no list: those of its pictures and of its masks.

    Args:
        folders: of the video; those that are not there are passed over.
        suffixes: of pictures.

    Returns:
        Names without extension, sorted, each once.
    """
    return tuple(
        sorted(
            {
                path.stem
                for folder in folders
                if folder.is_dir()
                for path in folder.iterdir()
                if path.suffix in suffixes and not path.name.startswith(".")
            }
        )
    )


@dataclass(frozen=True)
class PictureFrames:
    """Listed pictures of one folder.

    EXIF orientations are not applied: masks lie on the pixels as they are stored.

    Attributes:
        folder: of the pictures.
        names: of the frames, without extension.
        suffix: extension with its dot.
    """

    folder: Path
    names: tuple[str, ...]
    suffix: str = ".jpg"

    def path(self, index: int) -> Path:
        return self.folder / f"{self.names[index]}{self.suffix}"

    def size(self) -> tuple[int, int]:
        if not self.names:
            raise ValueError(f"{self.folder} holds no frame, expected at least one; add its video")
        return picture_header(self.path(0))[0]

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        """Decode each wanted frame once; see `ReferringSample.pictures`."""
        decoded: dict[int, Image.Image] = {}
        expected = None
        for index in indices:
            if index not in decoded:
                decoded[index] = picture = _decode(self.path(index))
                expected = expected or (picture.size if index == 0 else self.size()[::-1])
                if picture.size != expected:
                    raise ValueError(
                        f"{self.path(index)} is {picture.width}x{picture.height}, but the first "
                        f"frame of its video is {expected[0]}x{expected[1]}; restore the frames as "
                        "published"
                    )
        return [decoded[index] for index in indices]

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Decode frames; see `ReferringSample.frames`."""
        return np.stack([np.asarray(picture) for picture in self.pictures(indices)])

    def inspect(self, findings: Findings) -> int:
        """Read the headers of all frames."""
        size = None
        num_found = 0
        if not self.names:
            findings.add("videos have no frames", self.folder)
        for index in range(len(self.names)):
            path = self.path(index)
            if not path.is_file():
                findings.add("frames are missing", path)
                continue
            num_found += 1
            try:
                found, _ = picture_header(path)
            except ValueError:
                findings.add("frames cannot be read as pictures", path)
                continue
            size = size or found
            if found != size:
                findings.add("frames differ in size from the first one of their video", path)
        return num_found


@dataclass(frozen=True)
class FolderFrames:
    """All pictures of one folder in the natural order of their names, listed at the first use."""

    folder: Path

    @cached_property
    def _frames(self) -> PictureFrames:
        pictures = list_pictures(self.folder)
        suffixes = sorted({path.suffix for path in pictures})
        if len(suffixes) > 1:
            raise ValueError(
                f"{self.folder} holds pictures of several kinds ({', '.join(suffixes)}), expected "
                "one for the frames of a video; move the others"
            )
        return PictureFrames(self.folder, tuple(path.stem for path in pictures), suffixes[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pictures without extension."""
        return self._frames.names

    def size(self) -> tuple[int, int]:
        return self._frames.size()

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Decode frames; see `ReferringSample.frames`."""
        return self._frames.read(indices)

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        """Decode frames; see `ReferringSample.pictures`."""
        return self._frames.pictures(indices)

    def inspect(self, findings: Findings) -> int:
        """Read the headers of all frames."""
        try:
            frames = self._frames
        except ValueError as error:
            findings.add("folders hold no video", error)
            return 0
        return frames.inspect(findings)


@dataclass(frozen=True)
class VideoFrames:
    """All frames of a video file, named by numbers from 1 in five digits."""

    path: Path

    @cached_property
    def _video(self) -> VideoReader:
        return open_video(self.path)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the frames; the first use decodes the file once to count them.

        Neither headers nor packets tell the count: files announce frames that are not there, edit
        lists hide some, packets hold none or two, and decoders drop what precedes a key frame.
        """
        return tuple(f"{number:05d}" for number in range(1, self._video.num_frames + 1))

    def size(self) -> tuple[int, int]:
        return self._video.height, self._video.width

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Decode the file from its start to the last wanted frame."""
        return self._video.pick(indices)

    def pictures(self, indices: Sequence[int]) -> list[Image.Image]:
        """Decode frames; see `ReferringSample.pictures`."""
        return [Image.fromarray(frame) for frame in self.read(indices)]

    def inspect(self, findings: Findings) -> int:
        """Decode the file once, which finds damage anywhere in it."""
        if not self.path.is_file():
            findings.add("videos are missing", self.path)
            return 0
        try:
            return len(self.names)
        except ValueError:
            findings.add("videos cannot be decoded", self.path)
            return 0
