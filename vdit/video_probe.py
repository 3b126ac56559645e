"""What a video file says of itself without being decoded, and whether all of it is there."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from operator import sub
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

__all__ = ["PACKET_ERRORS", "VideoFacts", "examine", "opened"]

PACKET_ERRORS = (av.FFmpegError, IndexError)
"""What reading and decoding packets raises; IndexError where a stream begins in mid-file."""

# Not every demuxer of FFmpeg: it also draws plain text as pictures of a terminal, takes some random
# bytes for raw streams, and follows playlists to other files.
_CONTAINERS = frozenset(
    "mov mp4 matroska webm avi flv mpegts mpeg asf ogg mxf nut dv ivf rm gif h264 hevc".split()
)
# Recordings of a running transmission: they begin and end anywhere and announce nothing.
_TRANSPORT_STREAMS = frozenset({"mpegts", "mpeg"})
_MP4_BOXES = frozenset(
    b"ftyp styp sidx moov moof mfra mdat free skip wide uuid udta meta emsg prft".split()
)
_PICTURE_BRANDS = frozenset({b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"})
_FALLBACK_RATE = Fraction(25)


@dataclass(frozen=True)
class VideoFacts:
    """What one pass over the packets of a file tells without decoding it.

    Attributes:
        fps: frames per second, the average where the rate varies.
        announced: the number of frames that the file claims to hold, in words; "" if it does not.
        is_damaged: the file ends before its own headers say, or packets are broken.
        is_transport_stream: a recording that may begin and end between two key frames.
    """

    fps: float
    announced: str
    is_damaged: bool
    is_transport_stream: bool


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a container and choose its first video stream that is not the cover of a song.

    Raises:
        ValueError: it is no video file, it has no such stream, or its index is missing.
    """
    with path.open("rb") as file:
        if file.read(12)[4:] in _PICTURE_BRANDS:  # FFmpeg would give one tile of it
            raise ValueError(f"{path} is a HEIC or AVIF picture; convert it to png or jpg")
    try:
        container = av.open(str(path.resolve()), metadata_errors="ignore")
    except av.FFmpegError as error:
        raise _unreadable(path, error.strerror) from error
    with container:
        if not _CONTAINERS & set(container.format.name.split(",")):
            raise _unreadable(path, f"it looks like {container.format.name}")
        for stream in container.streams.video:
            if stream.disposition & Disposition.attached_pic:
                continue
            if stream.codec_context is None:
                raise _unreadable(path, "its codec is unknown")
            yield container, stream
            return
        if _ends_early(path):
            raise _unreadable(path, None)
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise ValueError(
            f"{path} has no video stream (it holds {kinds or 'nothing'}); pass a file with pictures"
        )


def _unreadable(path: Path, reason: str | None) -> ValueError:
    if _ends_early(path) or _top_boxes(path):
        return ValueError(
            f"{path} is cut short or damaged: its index is missing, so 0 frames could be read; "
            "copy or download it again"
        )
    return ValueError(
        f"{path} is not a video that can be read ({reason or 'unknown format'}); expected mp4, avi,"
        " mov, mkv, webm, gif, a picture or a folder of pictures"
    )


def examine(path: Path) -> VideoFacts:
    """Read all packets of a file once, without decoding them.

    Raises:
        ValueError: it cannot be opened as a video.
    """
    is_short = _ends_early(path)
    with opened(path) as (container, stream):
        is_transport_stream = container.format.name in _TRANSPORT_STREAMS
        count, times, is_broken = _read_packets(container, stream)
        if container.format.name == "avi" and count >= stream.frames > 0:
            is_short = False  # only the index behind the last frame is missing
        rate = stream.average_rate or stream.guessed_rate or _FALLBACK_RATE
        if len(times) > 1 and times[-1] > times[0]:
            # the last frame stays for as long as is usual in this file
            ticks = times[-1] - times[0] + statistics.median_low(map(sub, times[1:], times))
            span = ticks * stream.time_base
            if abs(count / rate - span) > 2 * stream.time_base:  # times are rounded to a tick
                rate = count / span  # many containers tell the rate of the first frames only
        announced = str(stream.frames or "")
        if container.format.name == "gif":
            announced = ""  # counted by FFmpeg, not by the file
        elif not announced and container.duration and not is_transport_stream:
            announced = f"about {round(rate * container.duration / av.time_base)}"
    is_damaged = is_short or (is_broken and not is_transport_stream)
    return VideoFacts(float(rate), announced, is_damaged, is_transport_stream)


def _read_packets(container: Any, stream: Any) -> tuple[int, list[int], bool]:
    """Number of packets, their times in ascending order, whether any is broken."""
    count, times, is_broken = 0, [], False
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            count += 1
            is_broken = is_broken or packet.is_corrupt
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None:
                times.append(time)
    except PACKET_ERRORS:
        is_broken = True
    return count, sorted(times), is_broken


def _ends_early(path: Path) -> bool:
    """Whether the headers of a file announce more bytes than it has."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"RIFF"):  # avi
        return 8 + int.from_bytes(head[4:8], "little") > size
    if head.startswith(b"\x1a\x45\xdf\xa3"):  # mkv and webm: a header element, then one segment
        length, start = _ebml_size(head, 4)
        if head[start + length :].startswith(b"\x18\x53\x80\x67"):
            length, start = _ebml_size(head, start + length + 4)
            return start + length > size
        return False
    if head.startswith(b"GIF8"):
        return not _gif_reaches_its_end(path)
    return max(_top_boxes(path), default=0) > size


def _ebml_size(data: bytes, start: int) -> tuple[int, int]:
    """A size (0 if unknown) and its end; it has one byte more than leading zero bits."""
    length = 9 - data[start].bit_length() if start < len(data) else 9
    bits = (1 << 7 * length) - 1
    size = int.from_bytes(data[start : start + length], "big") & bits
    return (0 if size == bits else size), start + length


def _top_boxes(path: Path) -> list[int]:
    """Where the outermost boxes of an mp4 or mov file end; nothing for other files."""
    ends: list[int] = []
    start, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while start + 8 <= size:
            file.seek(start)
            head = file.read(16)
            if head[4:8] not in _MP4_BOXES:
                break
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            elif length == 0:  # up to the end of the file
                length = size - start
            if length < 8:
                break
            start += length
            ends.append(start)
    return ends


def _gif_reaches_its_end(path: Path) -> bool:
    """Walk over the blocks of a gif to the trailer that ends it."""
    data = path.read_bytes()
    position = 13 + _color_table_bytes(data, 10)
    while position < len(data):
        kind = data[position]
        if kind == 0x3B:
            return True
        if kind == 0x21:  # extension: introducer, label
            position += 2
        elif kind == 0x2C:  # picture: descriptor of 10 bytes, color table, size of codes
            position += 11 + _color_table_bytes(data, position + 9)
        else:
            return False
        while position < len(data) and data[position]:  # blocks, each behind its length
            position += 1 + data[position]
        position += 1
    return False


def _color_table_bytes(data: bytes, position: int) -> int:
    flags = data[position] if position < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
