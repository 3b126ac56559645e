"""MOVi-A to MOVi-F: rendered videos with the instances in every frame, without TensorFlow.

As TensorFlow Datasets stores them, such as .../movi_e/256x256/1.0.0:

    movi_e-train.tfrecord-%05d-of-%05d          pictures in records, with checksums
    movi_e-validation.tfrecord-%05d-of-%05d

or as arrays that somebody took out of them:

    {train,val,test}/<video>/rgb.npy            [T, H, W, 3] uint8
    {train,val,test}/<video>/segment.npy        [T, H, W, 1] uint8

Instances count from 1, 0 is the background. A record that is damaged stays in the list, and says so
when it is read; what follows a damaged length in a shard is lost, and stands there as one record.

Reference: Greff et al., Kubric: a scalable dataset generator, CVPR 2022.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from vdit.datasets.checking import Benchmark
from vdit.datasets.findings import Findings
from vdit.datasets.movi_sources import (
    ArrayFrames,
    ArrayInstances,
    ArrayVideo,
    RecordFrames,
    RecordInstances,
    RecordVideo,
)
from vdit.datasets.tfrecord import index_records
from vdit.datasets.truth_videos import InstanceVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["MOVI", "read_movi"]

VARIANTS = ("a", "b", "c", "d", "e", "f")
SPLITS = ("train", "val", "test")
_SHARD_SPLITS = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}
_SHARD = re.compile(r"(?P<stem>.+)\.tfrecord-(?P<number>\d{5})-of-(?P<count>\d{5})")


def read_movi(root: Path, split: str = "val", *, variant: str = "e") -> VideoDataset[InstanceVideo]:
    """Read the videos of one split.

    Shards are searched for the places of their records, nothing else is read; the checksum of a
    record is compared when its first frame or instances are asked for.

    Args:
        root: folder of shards, or of the folders of splits.
        split: "train", "val" or "test".
        variant: "a" to "f"; arrays do not say which they are of.

    Raises:
        ValueError: an unknown variant or split, or there is neither a shard nor a folder of it.
    """
    root = Path(root)
    if variant not in VARIANTS:
        raise ValueError(f"variant={variant!r} is unknown, expected one of {', '.join(VARIANTS)}")
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(SPLITS)}")
    name = f"movi-{variant}"
    shards = _shards(root, split, variant)
    if shards:
        return VideoDataset(name, split, _record_videos(shards, name, split), _note(shards))
    if (root / split).is_dir():
        return VideoDataset(name, split, _array_videos(root / split, name, split))
    raise ValueError(_nothing_found(root, split, variant))


def _record_videos(shards: Sequence[Path], name: str, split: str) -> tuple[InstanceVideo, ...]:
    """Name videos by shard and record: their own names lie inside of the records."""
    videos = []
    for shard in shards:
        for record in index_records(shard):
            video = RecordVideo(record)
            videos.append(
                InstanceVideo(
                    dataset=name,
                    split=split,
                    name=f"{_parse(shard)['number']}-{record.number:04d}",
                    frame_source=RecordFrames(video),
                    instance_source=RecordInstances(video),
                )
            )
    return tuple(videos)


def _array_videos(folder: Path, name: str, split: str) -> tuple[InstanceVideo, ...]:
    videos = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        video = ArrayVideo(path)
        videos.append(
            InstanceVideo(
                dataset=name,
                split=split,
                name=path.name,
                frame_source=ArrayFrames(video),
                instance_source=ArrayInstances(video),
            )
        )
    return tuple(videos)


def _shards(root: Path, split: str, variant: str) -> list[Path]:
    """Shards of a split, in order."""
    for name in _SHARD_SPLITS[split]:
        found = sorted(root.glob(f"movi_{variant}-{name}.tfrecord-*"))
        found = [path for path in found if _SHARD.fullmatch(path.name)]
        if found:
            return found
    return []


def _parse(shard: Path) -> Mapping[str, str]:
    match = _SHARD.fullmatch(shard.name)
    if match is None:
        raise ValueError(f"expected a shard such as movi_e-train.tfrecord-00000-of-00001: {shard}")
    return match.groupdict()


def _num_shards(shards: Sequence[Path]) -> int:
    """Shards that there should be."""
    return max(int(_parse(shard)["count"]) for shard in shards)


def _note(shards: Sequence[Path]) -> str:
    count = _num_shards(shards)
    return "" if len(shards) == count else f"{len(shards)} of {count} shards"


def _nothing_found(root: Path, split: str, variant: str) -> str:
    others = sorted({path.name.split(".")[0] for path in root.glob("movi_*.tfrecord-*")})
    found = f"found shards of {', '.join(others)}" if others else "found neither"
    return (
        f"expected shards movi_{variant}-{_SHARD_SPLITS[split][0]}.tfrecord-* or a folder {split} "
        f"in {root}, {found}; pass the folder that holds them"
    )


def _list_path(variant: str, root: Path, split: str) -> Path:
    """What shows that a split is there: its first shard, or its folder of arrays."""
    shards = _shards(Path(root), split, variant)
    return shards[0] if shards else Path(root) / split


def _inspect(
    variant: str, root: Path, split: str, dataset: VideoDataset[InstanceVideo], findings: Findings
) -> list[str]:
    """Note shards that are missing."""
    shards = _shards(Path(root), split, variant)
    if not shards:
        return []
    present = {int(_parse(shard)["number"]) for shard in shards}
    stem = _parse(shards[0])["stem"]
    count = _num_shards(shards)
    for number in range(count):
        if number not in present:
            findings.add("shards are missing", f"{stem}.tfrecord-{number:05d}-of-{count:05d}")
    return []


def _benchmark(variant: str) -> Benchmark[VideoDataset[InstanceVideo]]:
    return Benchmark(
        name=f"movi-{variant}",
        splits=SPLITS,
        list_path=partial(_list_path, variant),
        read=partial(read_movi, variant=variant),
        published=(
            f"https://storage.googleapis.com/kubric-public/tfds/movi_{variant}",
            "https://github.com/google-research/kubric",
        ),
        counts={"val": {"the published one": (250, 6000)}},
        inspect=partial(_inspect, variant),
    )


MOVI = tuple(_benchmark(variant) for variant in VARIANTS)
"""One for each of MOVi-A to MOVi-F."""
