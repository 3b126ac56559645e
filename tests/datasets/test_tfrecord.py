"""Checksums equal those bit by bit; records are found, verified, and damage is named."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest

from vdit.datasets.crc32c import crc32c, unmask_crc
from vdit.datasets.synthetic.writers.tfrecord import encode_example, mask_crc, write_record
from vdit.datasets.tfrecord import find_byte_lists, index_records, read_message


def slow_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksums_of_the_standard(data, expected):
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [1, 3, 2047, 2048, 2049, 3072, 4095, 4096, 9999, 20000])
def test_lanes_give_what_bits_give(length):
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == slow_crc32c(data)
    assert crc32c(memoryview(data)) == slow_crc32c(data)
    zeros = bytes(length)
    assert crc32c(zeros) == slow_crc32c(zeros)


def test_masks_are_undone():
    for crc in (0, 1, 0xE3069283, 0xFFFFFFFF):
        assert unmask_crc(mask_crc(crc)) == crc


def test_a_record_of_megabytes_is_quick():
    data = np.random.default_rng(0).bytes(4 << 20)
    crc32c(data[:4096])  # makes the tables
    start = time.process_time()
    crc32c(data)
    assert time.process_time() - start < 0.5  # some 20 ms; a byte at a time takes a second


MESSAGES = [encode_example({"a": [b"one", b"", bytes([k]) * 300], "n": np.arange(k)})
            for k in range(4)]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    with (tmp_path / "records").open("wb") as file:
        for message in MESSAGES:
            write_record(file, message)
    return tmp_path / "records"


def test_records_are_read_back(path):
    records = index_records(path)
    assert [read_message(record) for record in records] == MESSAGES
    assert [record.number for record in records] == [0, 1, 2, 3]


def test_byte_lists_are_found():
    for k, message in enumerate(MESSAGES):
        found = find_byte_lists(message)
        assert set(found) == {"a", "n"}
        assert found["n"] == []
        strings = [message[start:stop] for start, stop in found["a"]]
        assert strings == [b"one", b"", bytes([k]) * 300]


def test_fields_of_other_kinds_are_passed_over():
    # an integer, 8 and 4 bytes, and a field with a length that nobody knows, before the features
    others = b"\x10\xac\x02" + b"\x19" + bytes(8) + b"\x25" + bytes(4) + b"\x2a\x02hi"
    assert find_byte_lists(others + MESSAGES[0]).keys() == {"a", "n"}


@pytest.mark.parametrize(
    "message", [b"\x0b", b"\x0a\x05ab", b"\x0a", b"\x80" * 12, MESSAGES[0][:-5]]
)
def test_no_message(message):
    with pytest.raises(ValueError, match=r"expected a tf\.train\.Example, found"):
        find_byte_lists(message)


def test_a_truncated_file(path):
    content = path.read_bytes()
    third = index_records(path)[2]
    for stop, reason in (
        (third.start + 5, "the file ends inside its message"),
        (third.start + third.length + 3, "the file ends inside its message"),
        (third.start - 2, "the file ends inside its length"),
    ):
        path.write_bytes(content[:stop])
        records = index_records(path)
        assert [read_message(record) for record in records[:2]] == MESSAGES[:2]
        assert len(records) == 3
        with pytest.raises(ValueError, match=rf"record 2 of .*records: {reason}; download"):
            read_message(records[2])
    path.write_bytes(content[: third.start - 12])  # between two records nobody can tell
    assert len(index_records(path)) == 2


def test_wrong_checksums(path):
    content = bytearray(path.read_bytes())
    records = index_records(path)
    content[records[1].start + 20] ^= 1
    path.write_bytes(content)
    assert [read_message(records[k]) for k in (0, 2, 3)] == [MESSAGES[k] for k in (0, 2, 3)]
    with pytest.raises(ValueError, match=r"record 1 of .*: the checksum of its message is wrong"):
        read_message(records[1])
    content[records[2].start - 12] ^= 1
    path.write_bytes(content)
    records = index_records(path)
    assert len(records) == 3
    with pytest.raises(ValueError, match=r"record 2 of .*: the checksum of its length is wrong"):
        read_message(records[2])


def test_a_length_beyond_all_files_with_a_right_checksum(path):
    length = struct.pack("<Q", 2**63)
    path.write_bytes(length + struct.pack("<I", mask_crc(slow_crc32c(length))))
    with pytest.raises(ValueError, match=r"record 0 of .*: the file ends inside its message"):
        read_message(index_records(path)[0])


def test_files_that_are_empty_or_missing(tmp_path):
    (tmp_path / "empty").touch()
    assert index_records(tmp_path / "empty") == []
    with pytest.raises(ValueError, match="missing cannot be read"):
        index_records(tmp_path / "missing")
