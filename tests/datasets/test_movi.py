"""MOVi in both layouts: what was written is read back, and damage is named and costs no more."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from vdit.datasets.checking import check
from vdit.datasets.movi import MOVI, read_movi
from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.datasets.synthetic.writers.movi import write_movi_npy, write_movi_tfrecord
from vdit.datasets.synthetic.writers.tfrecord import encode_example, write_record
from vdit.datasets.tfrecord import index_records, read_message

BY_NAME = {benchmark.name: benchmark for benchmark in MOVI}
NAMES = ("v0", "v1", "v2")


@pytest.fixture
def clips(make_clip):
    return [make_clip(seed) for seed in range(3)]


@pytest.fixture
def empty(clips):
    """The second clip has no instance in its first frame, the third none at all."""
    first, second, third = (clip.instances.copy() for clip in clips)
    second[0] = 0
    third[:] = 0
    return [
        dataclasses.replace(clip, instances=instances)
        for clip, instances in zip(clips, (first, second, third), strict=True)
    ]


def write_shards(clips, root, num_shards=1, split="validation"):
    write_movi_tfrecord(
        zip(NAMES, clips, strict=True), root, split, name="movi_c", num_shards=num_shards
    )
    return sorted(root.glob(f"movi_c-{split}*"))


def write_arrays(clips, root):
    write_movi_npy(zip(NAMES, clips, strict=True), root, "val")


def expect(dataset, clips):
    for video, clip in zip(dataset, clips, strict=True):
        np.testing.assert_array_equal(video.frames(), clip.frames)
        np.testing.assert_array_equal(video.instances(), clip.instances)
        np.testing.assert_array_equal(video.frames([2, 0]), clip.frames[[2, 0]])
        np.testing.assert_array_equal(video.instances([3]), clip.instances[[3]])
        assert video.size == clip.frames.shape[1:3]
        assert video.frame_names == ("00000", "00001", "00002", "00003")


@pytest.mark.parametrize("write", [write_shards, write_arrays])
def test_what_was_written_is_read(write, empty, tmp_path):
    write(empty, tmp_path)
    dataset = read_movi(tmp_path, "val", variant="c")
    assert (dataset.name, dataset.split) == ("movi-c", "val")
    expect(dataset, empty)
    expect(pickle.loads(pickle.dumps(dataset)), empty)  # as workers get it
    report = check(BY_NAME["movi-c"], tmp_path)
    assert report.is_complete, report
    found = report.splits["val"]
    assert (found.videos, found.frames, found.frames_found, found.labelled) == (3, 12, 12, 12)
    assert report.absent == ["train", "test"]


def test_records_are_shared_by_shards(clips, tmp_path):
    write_shards(clips, tmp_path, num_shards=2)
    dataset = read_movi(tmp_path, "val", variant="c")
    assert [video.name for video in dataset] == ["00000-0000", "00000-0001", "00001-0000"]
    expect(dataset, [clips[0], clips[2], clips[1]])


def test_missing_shards_are_noted(clips, tmp_path):
    shards = write_shards(clips, tmp_path, num_shards=3)
    shards[1].unlink()
    dataset = read_movi(tmp_path, "val", variant="c")
    assert dataset.note == "2 of 3 shards"
    (problem,) = check(BY_NAME["movi-c"], tmp_path).splits["val"].problems
    assert problem.what == "shards are missing"
    assert problem.first == ["movi_c-validation.tfrecord-00001-of-00003"]


def test_a_damaged_record_costs_no_other(clips, tmp_path):
    (shard,) = write_shards(clips, tmp_path)
    content = bytearray(shard.read_bytes())
    content[index_records(shard)[1].start + 500] ^= 4
    shard.write_bytes(content)
    dataset = read_movi(tmp_path, "val", variant="c")
    expect([dataset[0], dataset[2]], [clips[0], clips[2]])
    with pytest.raises(ValueError, match=r"record 1 of .*the checksum of its message is wrong"):
        dataset[1].frames([0])
    found = check(BY_NAME["movi-c"], tmp_path).splits["val"]
    assert (found.videos, found.frames_found, found.labelled) == (3, 8, 8)
    assert [problem.what for problem in found.problems] == [
        "records cannot be read",
        "instances cannot be read",
    ]


def test_a_truncated_shard_costs_its_end(clips, tmp_path):
    (shard,) = write_shards(clips, tmp_path)
    shard.write_bytes(shard.read_bytes()[:-100])
    dataset = read_movi(tmp_path, "val", variant="c")
    expect(dataset[:2], clips[:2])
    with pytest.raises(ValueError, match=r"record 2 of .*: the file ends inside its message"):
        dataset[2].instances()
    assert check(BY_NAME["movi-c"], tmp_path).splits["val"].frames_found == 8


@pytest.mark.parametrize("feature", ["video", "segmentations"])
def test_a_missing_feature(feature, clip, tmp_path):
    write_movi_tfrecord([("v", clip)], tmp_path, "validation", name="movi_c")
    (shard,) = tmp_path.glob("movi_c-*")
    message = read_message(index_records(shard)[0])
    shard.write_bytes(b"")
    with shard.open("ab") as file:
        write_record(file, message.replace(feature.encode(), b"x" * len(feature)))
    video = read_movi(tmp_path, "val", variant="c")[0]
    with pytest.raises(ValueError, match=f"record 0 of .* has no pictures in the .*'{feature}'"):
        video.frames()


def test_features_that_do_not_fit(tmp_path):
    path = tmp_path / "movi_a-train.tfrecord-00000-of-00001"
    with path.open("wb") as file:
        write_record(file, encode_example({"video": [b"a", b"b"], "segmentations": [b"a"]}))
        write_record(file, encode_example({"video": [b"a"], "segmentations": [b"a"]}))
        write_record(file, b"nothing")
    few, blobs, nothing = read_movi(tmp_path, "train", variant="a")
    with pytest.raises(ValueError, match=r"record 0 of .* has 2 frames and 1 pictures"):
        few.frames()
    with pytest.raises(ValueError, match=r"video 0 of record 1 of .* is no picture"):
        blobs.frames()
    with pytest.raises(ValueError, match=r"record 2 of .*: expected a tf\.train\.Example"):
        nothing.frames()


def test_damaged_arrays(clips, tmp_path):
    write_arrays(clips, tmp_path)
    (tmp_path / "val/v0/rgb.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "val/v1/segment.npy").unlink()
    np.save(tmp_path / "val/v2/segment.npy", clips[2].instances[:3])
    first, second, third = read_movi(tmp_path, "val", variant="c")
    with pytest.raises(ValueError, match=r"v0/rgb\.npy cannot be read"):
        first.frames()
    np.testing.assert_array_equal(second.frames(), clips[1].frames)
    with pytest.raises(ValueError, match=r"v1/segment\.npy does not exist"):
        second.instances()
    with pytest.raises(ValueError, match="v2 has 4 frames and instances of 3"):
        third.instances()
    found = check(BY_NAME["movi-c"], tmp_path).splits["val"]
    assert (found.videos, found.frames_found) == (3, 8)
    np.save(tmp_path / "val/v0/rgb.npy", clips[0].frames[..., 0])
    with pytest.raises(ValueError, match=r"expected \[T, H, W, 3\] uint8"):
        read_movi(tmp_path, "val")[0].frames()
    np.save(tmp_path / "val/v2/segment.npy", clips[2].instances[:, :-1, :, None])
    with pytest.raises(ValueError, match="v2 has instances of 32x23, but frames of 32x24"):
        read_movi(tmp_path, "val")[2].instances()


def test_what_is_asked_for_must_be_there(clips, tmp_path):
    write_shards(clips, tmp_path)
    with pytest.raises(ValueError, match="found shards of movi_c-validation; pass the folder"):
        read_movi(tmp_path, "val", variant="e")
    with pytest.raises(ValueError, match=r"expected shards movi_c-train\.tfrecord-\* or a folder"):
        read_movi(tmp_path, "train", variant="c")
    with pytest.raises(ValueError, match="variant='g' is unknown"):
        read_movi(tmp_path, variant="g")
    with pytest.raises(ValueError, match="split='dev' is unknown"):
        read_movi(tmp_path, "dev")


def test_all_variants_have_a_name():
    assert {f"movi-{letter}" for letter in "abcdef"} <= set(PROBE_DATASETS)
