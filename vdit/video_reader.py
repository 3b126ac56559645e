"""Frames of a video container, one at a time, through PyAV.

T frames, H x W pixels. A clip that is cut short or damaged is an error, never a shorter clip.
"""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Collection, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from vdit.video_probe import PACKET_ERRORS, examine, opened

__all__ = ["ContainerReader", "VideoReader", "composite_over_white"]


class VideoReader(abc.ABC):
    """A clip whose frames are decoded one at a time, again in each loop.

    Iterating gives uint8 RGB arrays [H, W, 3], upright (rotation tags are applied) and over white
    where the source is transparent. Make one with `vdit.video.open_video`.

    Attributes:
        path: the file or folder.
        height: of the upright frames in pixels.
        width: of the upright frames in pixels.
    """

    path: Path
    height: int
    width: int

    @property
    @abc.abstractmethod
    def fps(self) -> float:
        """Frames per second; the average where the rate varies."""

    @property
    @abc.abstractmethod
    def num_frames(self) -> int:
        """T, exactly the number of frames that iterating gives.

        For a video file the first use decodes it once, unless it was iterated to its end before.
        """

    @property
    @abc.abstractmethod
    def timestamps(self) -> np.ndarray:
        """[T] float64 seconds since the first frame, strictly increasing; costs like num_frames."""

    @abc.abstractmethod
    def frame_name(self, index: int) -> str:
        """Name of a frame for files made from it: the stem of its picture, or 5 digits or more."""

    @abc.abstractmethod
    def timed_frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Iterate over (seconds since the first frame, frame [H, W, 3] uint8)."""

    def __iter__(self) -> Iterator[np.ndarray]:
        for _, frame in self.timed_frames():
            yield frame

    def pick(self, indices: Sequence[int]) -> np.ndarray:
        """Read some frames, in one pass from the start to the last of them.

        Args:
            indices: positions in any order, more than once if wanted; at least one.

        Returns:
            [N, H, W, 3] uint8.

        Raises:
            ValueError: the clip has no such frame; damage in the part that is read.
        """
        if not indices:
            raise ValueError(f"no frame of {self.path} was asked for, expected at least one")
        for index in indices:
            self._check_index(index)
        found = dict(self._numbered(set(indices), max(indices)))
        if len(found) < len(set(indices)):
            raise ValueError(f"{self.path} has no frame {max(indices)}, it is shorter")
        return np.stack([found[index] for index in indices])

    def _numbered(self, wanted: Collection[int], last: int) -> Iterator[tuple[int, np.ndarray]]:
        """Positions and frames that are wanted."""
        for index, frame in enumerate(self):
            if index in wanted:
                yield index, frame
            if index >= last:
                return

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({str(self.path)!r}, {self.width}x{self.height}, {self.fps:.6g} fps)"

    def _check_index(self, index: int) -> None:
        if index < 0:
            raise ValueError(f"frame index {index} is negative; count from 0")

    def _check_size(self, frame: np.ndarray, name: str) -> None:
        if frame.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"{self.path}: frame {name} is {frame.shape[1]}x{frame.shape[0]}, expected "
                f"{self.width}x{self.height} as in the first frame; resize the frames to one size"
            )


class ContainerReader(VideoReader):
    """The first video stream of an mp4, avi, webm, mkv, mov, ... file.

    Pixels are those stored: non-square pixels are not stretched, interlaced fields not separated.
    Opening reads all packets once, without decoding them, to find out whether the file is whole.
    Between loops no file stays open. Transport streams and flv do not announce how long they are,
    so one that is cut short between two packets cannot be told from a short one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._times: np.ndarray | None = None
        self._count: int | None = None  # alone: a data set keeps many readers
        facts = examine(path)
        self._fps = facts.fps
        self._announced = facts.announced
        self._is_transport_stream = facts.is_transport_stream
        if facts.is_damaged:
            num_readable = 0
            with contextlib.suppress(ValueError):
                for _ in self._decode():
                    num_readable += 1
            raise self._damaged(num_readable)
        with contextlib.closing(self._decode()) as decoded:
            first = next(decoded, None)
        if first is None:
            raise ValueError(f"{path} holds no frame; expected a clip with at least one")
        self.height, self.width = _to_rgb(first[1], VideoReformatter()).shape[:2]

    @property
    def fps(self) -> float:
        return self._fps

    @property
    def num_frames(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self._decode())
        return self._count

    @property
    def timestamps(self) -> np.ndarray:
        if self._times is None:
            self._times = np.array([seconds for seconds, _ in self._decode()])
            self._count = len(self._times)
        return self._times

    def frame_name(self, index: int) -> str:
        self._check_index(index)
        return f"{index:05d}"

    def timed_frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """See `VideoReader`."""
        times: list[float] = []
        converter = VideoReformatter()
        for seconds, decoded in self._decode():
            frame = _to_rgb(decoded, converter)
            self._check_size(frame, self.frame_name(len(times)))
            times.append(seconds)
            yield seconds, frame
        self._times, self._count = np.array(times), len(times)

    def _numbered(self, wanted: Collection[int], last: int) -> Iterator[tuple[int, np.ndarray]]:
        """As above; frames that are not wanted are decoded, but not converted."""
        converter = VideoReformatter()
        with contextlib.closing(self._decode()) as decoded:
            for index, (_, frame) in enumerate(decoded):
                if index in wanted:
                    picture = _to_rgb(frame, converter)
                    self._check_size(picture, self.frame_name(index))
                    yield index, picture
                if index >= last:
                    return

    def _decode(self) -> Generator[tuple[float, av.VideoFrame]]:
        """Frames as the decoder gives them, with a time that always moves forward."""
        count, start, previous = 0, 0.0, -1.0 / self._fps
        try:
            with opened(self.path) as (container, stream):
                stream.thread_type = "AUTO"
                for frame in self._frames(container, stream):
                    if count == 0:
                        start = frame.time or 0.0
                    seconds = -math.inf if frame.time is None else frame.time - start
                    if seconds <= previous:
                        seconds = previous + 1.0 / self._fps
                    count, previous = count + 1, seconds
                    yield seconds, frame
        except PACKET_ERRORS as error:
            raise self._damaged(count) from error

    def _frames(self, container: Any, stream: Any) -> Iterator[av.VideoFrame]:
        started = not self._is_transport_stream
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if started:
                    raise
                continue  # a recording that begins between two key frames
            started = started or bool(frames)
            yield from frames

    def _damaged(self, num_readable: int) -> ValueError:
        announced = f" of {self._announced} announced" if self._announced else ""
        return ValueError(
            f"{self.path} is cut short or damaged: {num_readable}{announced} frames could be read; "
            "copy or download it again, or save the readable part as a new file"
        )


def _to_rgb(frame: av.VideoFrame, converter: VideoReformatter) -> np.ndarray:
    """uint8 [H, W, 3], upright, over white.

    `converter` is one for all frames of a loop, and has one thread: to set one up, or to start its
    threads, costs more than to convert a frame.
    """
    layout = frame.format
    if layout.has_palette or any(component.is_alpha for component in layout.components):
        rgba = converter.reformat(frame, format="rgba", threads=1)
        pixels = composite_over_white(rgba.to_ndarray())
    else:
        pixels = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    return _apply_display_matrix(pixels, np.frombuffer(bytes(matrix), dtype=np.int32))


def _apply_display_matrix(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn and mirror stored pixels as (x, y) -> (a x + c y, b x + d y), matrix = [a, b, _, c, d].

    Angles between quarter turns, which no camera writes, go to the nearest.
    """
    a, b, c, d = (int(matrix[position]) for position in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, column_sign, row_sign = pixels.swapaxes(0, 1), c, b
    else:
        column_sign, row_sign = a, d
    if row_sign < 0:
        pixels = pixels[::-1]
    if column_sign < 0:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def composite_over_white(rgba: np.ndarray) -> np.ndarray:
    """Lay transparent pixels over white.

    Args:
        rgba: [H, W, 4] uint8, color not multiplied by alpha.

    Returns:
        [H, W, 3] uint8.
    """
    alpha = rgba[..., 3:].astype(np.uint16)
    blended = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((blended + 127) // 255).astype(np.uint8)
