"""Write a clip frame by frame, through PyAV."""

from __future__ import annotations

import contextlib
import math
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image

from vdit.atomic import replace_when_complete

__all__ = ["VideoWriter"]

_H264 = ("libx264", "libopenh264", "mpeg4")
# The first encoder that this build of FFmpeg has is taken.
_ENCODERS = {
    ".mp4": _H264,
    ".m4v": _H264,
    ".mov": _H264,
    ".mkv": _H264,
    ".webm": ("libvpx-vp9", "libvpx"),
    ".gif": ("gif",),
}
_OPTIONS = {
    # without B-frames the length of a clip with uneven timestamps is announced right
    "libx264": {"crf": "18", "preset": "veryfast", "bf": "0"},
    "libopenh264": {"b": "8M"},
    "mpeg4": {"flags": "+qscale", "global_quality": str(3 * 118)},
    "libvpx-vp9": {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"},
    "libvpx": {"crf": "10", "b": "8M", "deadline": "realtime", "cpu-used": "6"},
    "gif": {},
}
_TICKS_PER_SECOND = 60000  # 24, 25, 30, 50, 60 and 30000 / 1001 fps fall on whole ticks
_GIF_TICKS_PER_SECOND = 100
_GIF_SAMPLED_PIXELS = 30000
_GIF_SHORTEST_DELAY = 2  # browsers slow down what is shorter


class VideoWriter:
    """Write RGB frames to a video file that appears only once it is complete.

    mp4, m4v, mov and mkv hold H.264 (MPEG-4 part 2 where this FFmpeg has no such encoder) and webm
    holds VP9, both 4:2:0 with BT.709 colors; gif holds 256 colors a frame at 50 fps or less. An odd
    height or width is padded to even by repeating the last row or column (not in a gif). When the
    `with` block raises, nothing is left behind and an older file of that name stays.

    Args:
        path: its extension chooses the kind: .mp4, .m4v, .mov, .mkv, .webm or .gif.
        fps: frames per second for frames without a timestamp, and how long the last frame stays.

    Raises:
        ValueError: unknown extension, `fps` not a positive number, `path` cannot be written, no
            frame was added, or the disk is full.

    Example:
        with VideoWriter("overlay.mp4", reader.fps) as writer:
            for seconds, frame in reader.timed_frames():
                writer.add(frame, seconds)
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self.path = Path(path)
        self.num_frames = 0
        kind = self.path.suffix.lower()
        if kind not in _ENCODERS:
            raise ValueError(
                f"{path} has the extension {kind or 'none'!r}, expected one of "
                f"{', '.join(_ENCODERS)}; rename the output"
            )
        if not math.isfinite(fps) or fps <= 0:
            raise ValueError(f"fps={fps} is not a positive number; pass for example fps=24")
        self._is_gif = kind == ".gif"
        self._encoder = _first_encoder(kind)
        # VP8 knows no other colors than BT.601
        is_vp8 = self._encoder == "libvpx"
        self._colorspace = Colorspace.ITU601 if is_vp8 else Colorspace.ITU709
        self._ticks_per_second = _GIF_TICKS_PER_SECOND if self._is_gif else _TICKS_PER_SECOND
        self._shortest = _GIF_SHORTEST_DELAY if self._is_gif else 1
        self._fps = fps
        self._size: tuple[int, int] | None = None
        self._last_seconds = -math.inf
        self._last_tick = 0
        self._container: Any = None
        self._stream: Any = None
        self._temporary: Path | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> VideoWriter:
        self._temporary = self._stack.enter_context(replace_when_complete(self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._abandon()
            self._stack.__exit__(kind, error, traceback)
            return
        with self._stack:
            self._finish()

    def add(self, frame: np.ndarray, timestamp: float | None = None) -> None:
        """Append one frame.

        Args:
            frame: [H, W, 3] uint8 RGB, of the size of the first one.
            timestamp: seconds since the start, larger than that of the frame before; one frame
                interval after it by default.

        Raises:
            ValueError: shape or dtype are wrong, the time does not move forward, the writer is not
                in a `with` block, or the file cannot be written.
        """
        if self._temporary is None:
            raise ValueError("the writer is not open; use `with VideoWriter(...) as writer:`")
        self._check(frame)
        tick = self._next_tick(timestamp)
        try:
            if self._container is None:
                self._start(frame)
            picture = self._convert(frame)
            picture.pts = tick
            picture.time_base = Fraction(1, self._ticks_per_second)
            self._container.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error
        self.num_frames += 1

    def _check(self, frame: np.ndarray) -> None:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
            raise ValueError(
                f"frame must be [H, W, 3] uint8, got {list(frame.shape)} {frame.dtype}; "
                "convert it to RGB bytes"
            )
        self._size = self._size or frame.shape[:2]
        if frame.shape[:2] != self._size:
            raise ValueError(
                f"frame {self.num_frames} is {frame.shape[1]}x{frame.shape[0]}, expected "
                f"{self._size[1]}x{self._size[0]} as the first one; resize it"
            )

    def _next_tick(self, timestamp: float | None) -> int:
        interval = 1.0 / self._fps
        if timestamp is None:
            timestamp = self._last_seconds + interval if self.num_frames else 0.0
        if not math.isfinite(timestamp) or timestamp < 0 or timestamp <= self._last_seconds:
            raise ValueError(
                f"timestamp={timestamp} of frame {self.num_frames} does not come after "
                f"{self._last_seconds}; pass increasing seconds from 0"
            )
        self._last_seconds = timestamp
        tick = round(timestamp * self._ticks_per_second)
        if self.num_frames:
            tick = max(tick, self._last_tick + self._shortest)
        self._last_tick = tick
        return tick

    def _start(self, frame: np.ndarray) -> None:
        height, width = frame.shape[:2]
        is_mov = self.path.suffix.lower() in (".mp4", ".m4v", ".mov")
        options = {"movflags": "+faststart"} if is_mov else {}
        self._container = av.open(str(self._temporary), "w", container_options=options)
        rate = max(Fraction(self._fps).limit_denominator(1001), Fraction(1, 1001))
        stream: Any = self._container.add_stream(self._encoder, rate=rate)
        stream.options = dict(_OPTIONS[self._encoder])
        if self._is_gif:
            stream.height, stream.width, stream.pix_fmt = height, width, "pal8"
        else:
            stream.height, stream.width = height + height % 2, width + width % 2
            stream.pix_fmt = "yuv420p"
            stream.codec_context.colorspace = self._colorspace
            stream.codec_context.color_range = ColorRange.MPEG
            stream.codec_context.color_primaries = ColorPrimaries.BT709
            stream.codec_context.color_trc = ColorTrc.BT709
        stream.codec_context.time_base = Fraction(1, self._ticks_per_second)
        self._stream = stream

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        return _to_gif_frame(frame) if self._is_gif else _to_yuv_frame(frame, self._colorspace)

    def _finish(self) -> None:
        if self._container is None:
            raise ValueError(f"no frame was added to {self.path}; expected at least one")
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            self._abandon()
            raise self._failed(error) from error

    def _abandon(self) -> None:
        """Close the temporary file, whatever state it is in."""
        if self._container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()

    def _failed(self, error: Exception) -> ValueError:
        reason = getattr(error, "strerror", None) or error
        return ValueError(
            f"{self.path} cannot be written ({reason}); check the folder and the space on the disk"
        )


def _first_encoder(kind: str) -> str:
    for name in _ENCODERS[kind]:
        try:
            av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name
    raise ValueError(
        f"this FFmpeg has no encoder for {kind} ({', '.join(_ENCODERS[kind])}); "
        "write another kind or install the PyPI wheel of av"
    )


def _to_yuv_frame(frame: np.ndarray, colorspace: Colorspace) -> av.VideoFrame:
    """Pad to even sides with the last row and column, and convert the colors."""
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    return picture.reformat(
        format="yuv420p", dst_colorspace=colorspace, dst_color_range=ColorRange.MPEG
    )


def _to_gif_frame(frame: np.ndarray) -> av.VideoFrame:
    """Reduce to the 256 colors that suit this frame, found on a part of its pixels."""
    step = max(1, round((frame.shape[0] * frame.shape[1] / _GIF_SAMPLED_PIXELS) ** 0.5))
    sample = Image.fromarray(np.ascontiguousarray(frame[::step, ::step])).quantize(256)
    reduced = Image.fromarray(frame).quantize(palette=sample, dither=Image.Dither.NONE)
    colors = np.array(reduced.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    palette = np.full((256, 4), 255, dtype=np.uint8)  # alpha, red, green, blue
    palette[: len(colors), 1:] = colors
    indexed: Any = (np.asarray(reduced), palette)
    return av.VideoFrame.from_ndarray(indexed, format="pal8")
