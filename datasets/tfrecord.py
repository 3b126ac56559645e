"""TFRecord files of tf.train.Example messages, read without TensorFlow.

A record is its length (8 bytes), a checksum of the length (4), the message, and a checksum of the
message (4). A message is {features: map from names to lists of bytes, floats or integers}; here
the lists of bytes are found, such as the pictures of a video, and not copied.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vdit.datasets.crc32c import crc32c, unmask_crc

__all__ = ["Record", "Span", "find_byte_lists", "index_records", "read_message", "read_span"]

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_BYTES_LIST = 1
_FIXED = {1: 8, 5: 4}
"""Wire type -> bytes of a number of fixed length."""

Span = tuple[int, int]
"""(start, stop) of bytes in a file."""


@dataclass(frozen=True)
class Record:
    """Where a record lies.

    Attributes:
        path: of the file.
        number: of the record in it, from 0.
        start: of its message in bytes.
        length: of its message in bytes.
        problem: why it cannot be read; "" if nothing speaks against it so far.
    """

    path: Path
    number: int
    start: int
    length: int
    problem: str = ""

    def __str__(self) -> str:
        return f"record {self.number} of {self.path}"


def index_records(path: Path) -> list[Record]:
    """Find the records of a file by their lengths; messages are not read.

    What follows a damaged length cannot be found: the last record then has a problem and stands for
    all of it.

    Raises:
        ValueError: the file is missing or cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            records: list[Record] = []
            place = 0
            while place < size and not (records and records[-1].problem):
                file.seek(place)
                records.append(_locate(path, len(records), place, file.read(_HEADER.size), size))
                place = records[-1].start + records[-1].length + _FOOTER.size
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}); copy or download it again") from error
    return records


def read_message(record: Record) -> bytes:
    """Read the message of a record and compare its checksum.

    Raises:
        ValueError: the file cannot be read, is truncated, or a checksum is wrong.
    """
    if record.problem:
        raise ValueError(f"{record}: {record.problem}; download the file again")
    content = read_span(record.path, (record.start, record.start + record.length + _FOOTER.size))
    message = content[: record.length]
    (masked,) = _FOOTER.unpack(content[record.length :])
    if crc32c(message) != unmask_crc(masked):
        raise ValueError(f"{record}: the checksum of its message is wrong; download the file again")
    return message


def read_span(path: Path, span: Span) -> bytes:
    """Read bytes of a file.

    Raises:
        ValueError: the file cannot be read or ends before them.
    """
    start, stop = span
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(stop - start)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}); copy or download it again") from error
    if len(content) < stop - start:
        raise ValueError(f"{path} ends before byte {stop}; copy or download it again")
    return content


def find_byte_lists(message: bytes) -> dict[str, list[Span]]:
    """Find the byte strings of a tf.train.Example.

    Args:
        message: the encoded example.

    Returns:
        Name of every feature -> (start, stop) of its byte strings in `message`; no strings where it
        holds numbers.

    Raises:
        ValueError: it is no such message.

    Reference: tensorflow/core/example/{example,feature}.proto; protocol buffers, Encoding.
    """
    found: dict[str, list[Span]] = {}
    view = memoryview(message)
    for features in _fields(view, (0, len(view)), 1):
        for entry in _fields(view, features, 1):
            spans: list[Span] = []
            for feature in _fields(view, entry, 2):
                for values in _fields(view, feature, _BYTES_LIST):
                    spans += _fields(view, values, 1)
            for start, stop in _fields(view, entry, 1):
                found[bytes(view[start:stop]).decode("utf-8", "replace")] = spans
    return found


def _locate(path: Path, number: int, place: int, header: bytes, size: int) -> Record:
    """Read the header of the record at `place` of a file of `size` bytes."""
    start = place + _HEADER.size
    if len(header) < _HEADER.size:
        return Record(path, number, start, 0, "the file ends inside its length")
    length, masked = _HEADER.unpack(header)
    if crc32c(header[:8]) != unmask_crc(masked):
        return Record(
            path, number, start, 0, "the checksum of its length is wrong, what follows is lost"
        )
    if start + length + _FOOTER.size > size:
        return Record(path, number, start, length, "the file ends inside its message")
    return Record(path, number, start, length)


def _fields(view: memoryview, span: Span, wanted: int) -> Iterator[Span]:
    """Find the fields of one number, which have a length (wire type 2), of a message."""
    place, stop = span
    while place < stop:
        tag, place = _varint(view, place, stop)
        kind = tag & 7
        if kind == 0:
            _, place = _varint(view, place, stop)
            continue
        if kind == 2:
            length, place = _varint(view, place, stop)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError(f"expected a tf.train.Example, found wire type {kind}")
        if place + length > stop:
            raise ValueError("expected a tf.train.Example, found a field that ends behind it")
        if kind == 2 and tag >> 3 == wanted:
            yield place, place + length
        place += length


def _varint(view: memoryview, place: int, stop: int) -> tuple[int, int]:
    """Read 7 bits a byte, low bits first, until a byte below 128: value and next place."""
    value = 0
    for k, byte in enumerate(view[place : min(place + 10, stop)]):
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value, place + k + 1
    raise ValueError("expected a tf.train.Example, found a number without an end")
