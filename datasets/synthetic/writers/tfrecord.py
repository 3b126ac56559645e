"""TFRecord files of tf.train.Example messages, without TensorFlow.

A record is its length (8 bytes), a checksum of the length, the message and a checksum of it; a
message is {features: {feature: map from names to lists of bytes, floats or integers}}.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

Feature = np.ndarray | Sequence[bytes]
"""Floats or integers in any shape, which is not stored, or a list of byte strings."""

_POLYNOMIAL = 0x82F63B78  # of Castagnoli, bits reversed
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def write_record(file: BinaryIO, message: bytes) -> None:
    """Append one record."""
    length = struct.pack("<Q", len(message))
    file.write(length)
    file.write(struct.pack("<I", mask_crc(crc32c(length))))
    file.write(message)
    file.write(struct.pack("<I", mask_crc(crc32c(message))))


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """Encode a tf.train.Example, with the features in the order of their names.

    Args:
        features: an array of floats is stored as float32, one of integers or bools as int64.

    Raises:
        ValueError: an array holds something else, or a negative integer.
    """
    entries = []
    for name in sorted(features):
        entry = _field(1, name.encode()) + _field(2, _encode_feature(name, features[name]))
        entries.append(_field(1, entry))
    return _field(1, b"".join(entries))


def crc32c(data: bytes) -> int:
    """Compute the CRC-32C checksum.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def mask_crc(crc: int) -> int:
    """Rotate and shift a checksum as TFRecord stores it."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def encode_varints(values: np.ndarray) -> bytes:
    """Encode integers >= 0 with 7 bits a byte, low bits first, the high bit = more follow.

    >>> encode_varints(np.array([1, 300])).hex()
    '01ac02'
    """
    numbers = values.reshape(-1).astype(np.uint64)
    longest = int(numbers.max()).bit_length() if numbers.size else 0
    shifts = np.arange(0, max(longest, 1), 7, dtype=np.uint64)
    shifted = numbers[:, None] >> shifts
    is_used = shifted > 0
    is_used[:, 0] = True
    groups = (shifted & np.uint64(127)).astype(np.uint8)
    groups[:, :-1] |= is_used[:, 1:].astype(np.uint8) << 7
    return groups[is_used].tobytes()


def _make_table() -> list[int]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.tolist()


_TABLE = _make_table()


def _encode_feature(name: str, feature: Feature) -> bytes:
    if not isinstance(feature, np.ndarray):
        return _field(_BYTES_LIST, b"".join(_field(1, value) for value in feature))
    if feature.dtype.kind == "f":
        return _field(_FLOAT_LIST, _field(1, feature.astype("<f4").tobytes()))
    if feature.dtype.kind not in "biu" or (feature.size and feature.min() < 0):
        raise ValueError(
            f"feature {name} is {feature.dtype}, expected floats, bools or integers >= 0; "
            "convert it"
        )
    return _field(_INT64_LIST, _field(1, encode_varints(feature)))


def _field(number: int, payload: bytes) -> bytes:
    """A field of a message whose payload has a length (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    return encode_varints(np.array([value]))
