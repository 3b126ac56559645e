"""Pickles of arrays: every protocol, rows that stay in the file, nothing that is run."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from vdit.datasets.array_pickles import StoredArray, StoredBytes, read_array_pickle


def load(value):
    """Arrays in the place of what is stored."""
    if isinstance(value, StoredArray):
        return value.load()
    if isinstance(value, StoredBytes):
        return value.read()
    if isinstance(value, dict):
        return {key: load(each) for key, each in value.items()}
    return type(value)(load(each) for each in value) if isinstance(value, list | tuple) else value


def write(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.fixture
def content():
    rng = np.random.default_rng(0)
    return {
        "large": rng.integers(0, 255, (5, 40, 30, 3), dtype=np.uint8),
        "points": rng.normal(size=(3, 5, 2)),
        "turned": np.asfortranarray(rng.normal(size=(7, 60)).astype(np.float32)),
        "big-endian": np.arange(300, dtype=">i4"),
        "flags": rng.uniform(size=(3, 5)) < 0.5,
        "pictures": [rng.bytes(900), rng.bytes(3000), b"", rng.bytes(70000)],
        "empty": np.zeros((0, 5, 2)),
        "rest": ("text", 1, 2.5, None, True, [1, [2]]),
    }


def same(one, other):
    if isinstance(other, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    elif isinstance(other, dict):
        assert list(one) == list(other)
        for key in other:
            same(one[key], other[key])
    else:
        assert one == other


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_was_written_comes_back(tmp_path, content, protocol):
    same(load(read_array_pickle(write(tmp_path / "a.pkl", content, protocol))), content)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_rows_are_read_from_the_file(tmp_path, content, protocol):
    path = write(tmp_path / "a.pkl", content, protocol)
    stored = read_array_pickle(path)
    assert isinstance(stored["large"].data, StoredBytes)
    same(stored["large"].rows([4, 0, 4]), content["large"][[4, 0, 4]])
    same(stored["turned"].rows([6, 1]), content["turned"][[6, 1]])
    position = path.read_bytes().index(content["large"][2].tobytes())
    with path.open("r+b") as file:  # what lies there now is what comes
        file.seek(position)
        file.write(bytes(40 * 30 * 3))
    assert not stored["large"].rows([2]).any()


def test_names_of_the_older_numpy(tmp_path, content):
    array = content["large"]
    data = pickle.dumps({"a": array}, protocol=3)
    assert b"numpy._core.multiarray" in data  # or the test says nothing
    path = tmp_path / "a.pkl"
    path.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    same(read_array_pickle(path)["a"].load(), array)


def test_lists_of_objects(tmp_path):
    pictures = [b"x" * 2000, b"yy", np.arange(3)]
    array = np.empty(3, object)
    array[:] = pictures
    found = read_array_pickle(write(tmp_path / "a.pkl", {"video": array}))["video"]
    assert [found[0].read(), found[1]] == pictures[:2]
    same(found[2].load(), pictures[2])


class Call:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "make",
    [
        lambda path: Call(os.mkdir, str(path)),
        lambda path: Call(eval, f"__import__('os').mkdir({str(path)!r})"),
        lambda path: Call(np.save, str(path), [1]),
        lambda path: {"points": [Call(os.mkdir, str(path))]},
    ],
)
def test_nothing_is_run(tmp_path, make):
    evidence = tmp_path / "evidence"
    path = write(tmp_path / "a.pkl", make(evidence))
    with pytest.raises(ValueError, match="is no pickle of arrays alone"):
        read_array_pickle(path)
    assert os.listdir(tmp_path) == ["a.pkl"]


@pytest.mark.parametrize(
    "value",
    [OrderedDict(a=1), np.float64(3), np.array(["text"]), np.zeros(3, "f4,i4"), {1, 2}, range(3)],
)
def test_other_things_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="is no pickle of arrays alone"):
        read_array_pickle(write(tmp_path / "a.pkl", value))


def test_sizes_that_lie(tmp_path):
    array = np.zeros((4, 500), np.uint8)
    data = pickle.dumps(array, protocol=3)
    size = struct.pack("<I", 2000)
    for content in (
        data[:-100],
        data[:700],
        data.replace(b"B" + size, b"B" + struct.pack("<I", 2**31)),
        data.replace(b"M\xf4\x01", b"M\xf5\x01"),  # 501 columns
        b"",
        b"no pickle",
    ):
        assert content != data
        path = tmp_path / "a.pkl"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no pickle of arrays alone"):
            read_array_pickle(path)
    with pytest.raises(ValueError, match="does not exist"):
        read_array_pickle(tmp_path / "b.pkl")


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_any_damage_is_a_sentence(tmp_path, cut):
    data = bytearray(pickle.dumps({"a": np.arange(20), "b": [b"x" * 50, "y"]}, protocol=4))
    position = cut % len(data)
    path = tmp_path / "a.pkl"
    for value in (0, 0x28, 0x52, 0x62, 0x81, 0xFF):
        data[position] = value
        path.write_bytes(data)
        try:
            read_array_pickle(path)
        except ValueError:
            continue
