"""Files that are no released checkpoint, or more than that: never run, always told in words."""

from __future__ import annotations

import os
import pickle
from argparse import Namespace

import pytest
import torch

from vdit.checkpoint import convert_released
from vdit.released_checkpoint import read_state_dict

both_formats = pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "zip"])


def write(path, legacy, **content):
    content.setdefault("model", {"a": torch.ones(2000), "module.b": torch.ones(3)})
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def names(folder):
    return {entry.name for entry in folder.iterdir()}


class Harm:
    """Asks the unpickler to create a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


class Custom:
    """A class that only its author's code knows."""


@both_formats
@pytest.mark.parametrize(("harm", "name"), [(True, r"posix\.mkdir"), (False, r"\S*Custom")])
def test_file_that_asks_for_more_than_weights_is_refused(tmp_path, legacy, harm, name):
    checkpoint = write(tmp_path / "a.pth", legacy, args=Harm(tmp_path / "b") if harm else Custom())
    with pytest.raises(ValueError, match=rf"a\.pth asks for {name}, but only weights are loaded"):
        convert_released(checkpoint, tmp_path / "out")
    assert names(tmp_path) == {"a.pth"}


@both_formats
def test_weights_are_read_beside_plain_settings(tmp_path, legacy):
    checkpoint = write(tmp_path / "a.pth", legacy, epoch=3, args=Namespace(lr=1e-4, names=["x"]))
    state = read_state_dict(checkpoint)
    assert {key: tensor.tolist() for key, tensor in state.items()} == {
        "a": [1.0] * 2000,
        "b": [1.0] * 3,
    }


def test_old_files_of_a_bare_namespace_hold_no_state_dict(tmp_path):
    torch.save(Namespace(model=1), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"state dict in .*a\.pth.* got Namespace"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [{"model": [1]}, {"model": {1: 2}}, [1]])
def test_state_dict_is_expected(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"expected a state dict in .*a\.pth"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04zip", pickle.dumps({})],
    ids=["empty", "pointer", "zip", "pickle"],
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a torch checkpoint, cannot read .*a\.pth: \S"):
        convert_released(tmp_path / "a.pth", tmp_path / "out")
    assert names(tmp_path) == {"a.pth"}


@both_formats
def test_truncated_file_is_refused(tmp_path, legacy):
    write(tmp_path / "a.pth", legacy)
    size = os.path.getsize(tmp_path / "a.pth")
    for length in (size - 10, size // 2, 1000, 100, 3):
        os.truncate(tmp_path / "a.pth", length)
        with pytest.raises(ValueError, match="another kind of file or incomplete, fetch it again"):
            convert_released(tmp_path / "a.pth", tmp_path / "out")
    assert names(tmp_path) == {"a.pth"}


@both_formats
def test_damaged_file_gives_tensors_or_a_sentence(tmp_path, legacy, generator):
    write(tmp_path / "a.pth", legacy, model={"a": torch.ones(20), "b": torch.ones(3)})
    good = (tmp_path / "a.pth").read_bytes()
    failed = 0
    for _ in range(100):
        damaged = bytearray(good)
        for place in torch.randint(len(good), (5,), generator=generator).tolist():
            damaged[place] ^= 1 << place % 8
        (tmp_path / "b.pth").write_bytes(damaged)
        try:
            read_state_dict(tmp_path / "b.pth")
        except ValueError:
            failed += 1
    assert failed > 10


def test_other_models_are_told_from_ours(tmp_path):
    other = {f"backbone.0.body.layers.{i}.weight": torch.ones(2) for i in range(9)}
    torch.save({"model": other}, tmp_path / "a.pth")
    message = r"tensors of VD-IT in .*a\.pth, but of its keys 3082 missing \(.*, \.\.\.\), "
    message += r"9 unknown \(backbone\.0\.body\.layers\.0\.weight, .*another model\?"
    with pytest.raises(ValueError, match=message):
        convert_released(tmp_path / "a.pth", tmp_path / "out")
    assert names(tmp_path) == {"a.pth"}


def test_folder_of_the_checkpoint_is_kept(tmp_path):
    checkpoint = write(tmp_path / "a.pth", True)
    with pytest.raises(ValueError, match=r"which also holds a\.pth; pass another"):
        convert_released(checkpoint, tmp_path)
    assert names(tmp_path) == {"a.pth"}
