"""Clips in and out: `open_video` reads videos, folders of pictures and pictures.

T frames, H x W pixels.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from vdit.video_reader import ContainerReader, VideoReader, composite_over_white
from vdit.video_writer import VideoWriter

__all__ = [
    "FOLDER_FPS",
    "PICTURE_SUFFIXES",
    "VideoReader",
    "VideoWriter",
    "list_pictures",
    "open_video",
]

FOLDER_FPS = 24.0
"""Frames per second of a folder or a picture, which do not say."""

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
"""Files of a folder that count as frames; letter case does not matter."""

_PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# What Pillow raises on damaged files.
_BROKEN_PICTURE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_DEFAULT_DELAY_MS = 100.0  # what browsers give to animated pictures that ask for no delay
_ROTATED_BY_90 = {5, 6, 7, 8}  # orientations of EXIF that exchange height and width


def open_video(path: str | os.PathLike[str]) -> VideoReader:
    """Open a clip for reading.

    Frames come upright: rotation tags of videos and EXIF orientations are applied. Transparent
    pixels are shown over white, 16 bits are reduced to their upper 8. Colors without a tag follow
    BT.601.

    Args:
        path: a video file (mp4, avi, mov, mkv, webm, gif, ...); a folder of jpg, png, webp or bmp
            pictures of one size, in the natural order of their names (frame2 before frame10), other
            files and hidden ones left aside; or one picture, a clip of one frame (of several if it
            is animated).

    Returns:
        A reader that decodes one frame at a time.

    Raises:
        ValueError: there is nothing at `path`, it is no video, it holds no frame, it is cut short
            or damaged, or its frames differ in size. Damage inside a file that only decoding
            reveals is raised while iterating.
    """
    location = Path(path)
    if os.path.isdir(location):
        return _FolderReader(location)
    if not os.path.exists(location):
        raise ValueError(f"{path} does not exist; check the path")
    if not os.path.isfile(location) or not os.access(location, os.R_OK):
        raise ValueError(f"{path} is not a file that can be read; pass a video file or a folder")
    try:
        with Image.open(location, formats=_PICTURE_FORMATS) as picture:
            is_picture = True
            is_animated = getattr(picture, "is_animated", False) and picture.format != "MPO"
    except _BROKEN_PICTURE as error:
        is_unknown = isinstance(error, Image.UnidentifiedImageError)
        if not is_unknown or location.suffix.lower() in PICTURE_SUFFIXES:
            raise _broken(location, error) from error
        is_picture = False
    if not is_picture:
        return ContainerReader(location)
    return _AnimationReader(location) if is_animated else _FolderReader(location)


class _FolderReader(VideoReader):
    """Pictures of one size, or one picture."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pictures = list_pictures(path) if path.is_dir() else [path]
        for position, picture in enumerate(self._pictures):
            height, width = _upright_size(picture)
            if position == 0:
                self.height, self.width = height, width
            elif (height, width) != (self.height, self.width):
                raise ValueError(
                    f"{path} holds pictures of several sizes: {self._pictures[0].name} is "
                    f"{self.width}x{self.height}, {picture.name} is {width}x{height}; "
                    "resize them to one size"
                )

    @property
    def fps(self) -> float:
        return FOLDER_FPS

    @property
    def num_frames(self) -> int:
        return len(self._pictures)

    @property
    def timestamps(self) -> np.ndarray:
        return np.arange(self.num_frames) / FOLDER_FPS

    def frame_name(self, index: int) -> str:
        self._check_index(index)
        return self._pictures[index].stem

    def timed_frames(self) -> Iterator[tuple[float, np.ndarray]]:
        for index, path in enumerate(self._pictures):
            try:
                with Image.open(path, formats=_PICTURE_FORMATS) as picture:
                    frame = _picture_to_rgb(ImageOps.exif_transpose(picture))
            except _BROKEN_PICTURE as error:
                raise _broken(path, error) from error
            self._check_size(frame, path.name)
            yield index / FOLDER_FPS, frame


class _AnimationReader(VideoReader):
    """An animated png or webp, each frame shown for a time of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._times: np.ndarray | None = None
        self._seconds = 0.0
        try:
            with Image.open(path, formats=_PICTURE_FORMATS) as animation:
                self.width, self.height = animation.size
                self._num_frames = getattr(animation, "n_frames", 1)
        except _BROKEN_PICTURE as error:
            raise _broken(path, error) from error

    @property
    def fps(self) -> float:
        times = self.timestamps
        return len(times) / self._seconds

    @property
    def num_frames(self) -> int:
        return self._num_frames

    @property
    def timestamps(self) -> np.ndarray:
        if self._times is None:
            self._times = np.array([seconds for seconds, _ in self.timed_frames()])
        return self._times

    def frame_name(self, index: int) -> str:
        self._check_index(index)
        return f"{index:05d}"

    def timed_frames(self) -> Iterator[tuple[float, np.ndarray]]:
        times: list[float] = []
        seconds = 0.0
        try:
            with Image.open(self.path, formats=_PICTURE_FORMATS) as animation:
                for index in range(self._num_frames):
                    animation.seek(index)
                    frame = _picture_to_rgb(animation)
                    times.append(seconds)
                    yield seconds, frame
                    delay = float(animation.info.get("duration", 0.0)) or _DEFAULT_DELAY_MS
                    seconds += delay / 1000.0
        except _BROKEN_PICTURE as error:
            raise ValueError(
                f"{self.path} is cut short or damaged: {len(times)} of {self._num_frames} "
                "announced frames could be read; copy or download it again"
            ) from error
        self._times, self._seconds = np.array(times), seconds


def list_pictures(folder: Path) -> list[Path]:
    """List the pictures of a folder in the natural order of their names.

    Raises:
        ValueError: the folder cannot be read, holds none, or two of one name.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror}); check its rights") from error
    pictures = [
        entry
        for entry in entries
        if entry.suffix.lower() in PICTURE_SUFFIXES and not entry.name.startswith(".")
    ]
    if not pictures:
        held = f"{len(entries)} other entries" if entries else "nothing"
        raise ValueError(
            f"{folder} holds no frame (jpg, png, webp or bmp) but {held}; pass the folder in which "
            "the pictures lie"
        )
    stems: dict[str, Path] = {}
    for picture in sorted(pictures):
        twin = stems.setdefault(picture.stem, picture)
        if twin != picture:
            raise ValueError(
                f"{folder} holds {twin.name} and {picture.name}, two frames of one name; keep one"
            )
    return sorted(pictures, key=_natural_key)


def _natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Numbers in a name compare as numbers, and before letters."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path.stem)
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts]
    return key, path.name


def _upright_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header of a picture."""
    try:
        with Image.open(path, formats=_PICTURE_FORMATS) as picture:
            width, height = picture.size
            orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except _BROKEN_PICTURE as error:
        raise _broken(path, error) from error
    return (width, height) if orientation in _ROTATED_BY_90 else (height, width)


def _picture_to_rgb(picture: Image.Image) -> np.ndarray:
    """uint8 [H, W, 3] of a picture in any mode."""
    if picture.mode.startswith("I"):  # gray of 16 bits
        gray = (np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if picture.has_transparency_data:
        return composite_over_white(np.asarray(picture.convert("RGBA")))
    return np.array(picture.convert("RGB"))


def _broken(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} cannot be read as a picture ({error}); it is cut short, damaged or of another "
        "kind: replace it"
    )
