"""CRC-32C, the checksum of TFRecord files, of many bytes at once.

A checksum that starts from 0 is linear over bits: the message is cut into lanes that numpy walks
through side by side, and their checksums are joined, each moved past the bytes that follow it.

Reference: RFC 3720, Sec. 12.1 and B.4 (polynomial, test vectors).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["crc32c", "unmask_crc"]

_POLYNOMIAL = 0x82F63B78  # of Castagnoli, bits reversed
_MASK_DELTA = 0xA282EAD8  # of TFRecord
_LANE_BYTES = 256  # a power of two; longer lanes cost steps, shorter ones joins
_SHORT = 2048  # bytes up to which one table and a loop are faster

Table = NDArray[np.uint32]


def crc32c(data: bytes | memoryview) -> int:
    """Compute the CRC-32C checksum.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    if len(data) <= _SHORT:
        return _crc_by_bytes(data)
    num_lanes = 1 << max(-(-len(data) // _LANE_BYTES) - 1, 0).bit_length()
    padded = np.zeros(num_lanes * _LANE_BYTES, np.uint8)  # zeros in front change nothing
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start : start + 4] ^= 0xFF  # the same as to start from all ones
    crcs = _crc_of_lanes(padded.view("<u2").reshape(num_lanes, -1))
    gap = _LANE_BYTES
    while len(crcs) > 1:
        crcs = _move(crcs[0::2], _zeros_operator(gap)) ^ crcs[1::2]
        gap *= 2
    return int(crcs[0]) ^ 0xFFFFFFFF


def unmask_crc(masked: int) -> int:
    """Undo the rotation and shift with which TFRecord stores a checksum."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def _crc_by_bytes(data: bytes | memoryview) -> int:
    crc, table = 0xFFFFFFFF, _byte_list()
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_of_lanes(words: NDArray[np.uint16]) -> Table:
    """Checksums from 0 of lanes [L, words]: [L]."""
    table, crcs = _word_table(), np.zeros(len(words), np.uint32)
    for column in np.ascontiguousarray(words.T):
        crcs = table[(crcs & 0xFFFF) ^ column] ^ (crcs >> 16)
    return crcs


def _move(crcs: Table, operator: Table) -> Table:
    """Apply a linear operator, [4, 256] its values for every byte of a checksum."""
    moved = operator[0, crcs & 255]
    for k in (1, 2, 3):
        moved = moved ^ operator[k, (crcs >> 8 * k) & 255]
    return moved


@cache
def _zeros_operator(count: int) -> Table:
    """Operator that moves a checksum past `count` zero bytes, a power of two: [4, 256]."""
    values = np.arange(256, dtype=np.uint32)
    if count == 1:
        shifted = np.stack([values >> 8 if k == 0 else values << 8 * (k - 1) for k in range(4)])
        shifted[0] = _byte_table()
        return shifted
    half = _zeros_operator(count // 2)
    return np.stack([_move(row, half) for row in half])


@cache
def _byte_table() -> Table:
    """Checksums from 0 of every byte, [256]."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@cache
def _byte_list() -> list[int]:
    return [int(value) for value in _byte_table()]  # Python's numbers are faster one by one


@cache
def _word_table() -> Table:
    """Checksums from 0 of every two bytes, low byte first, [65536]."""
    words, table = np.arange(65536, dtype=np.uint32), _byte_table()
    first = table[words & 255]
    return table[(first ^ (words >> 8)) & 255] ^ (first >> 8)
