"""Is a data set on disk whole? What there is, what is missing, and where it is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from vdit.datasets.findings import Findings, Problem
from vdit.datasets.referring import FrameSource, MaskSource, ReferringDataset, ReferringSample

__all__ = ["Benchmark", "CheckReport", "SplitReport", "check", "note_unlisted_objects"]


@dataclass(frozen=True)
class Benchmark:
    """How a data set is read and checked.

    Attributes:
        name: on the command line.
        splits: their names.
        list_path: from root and split to the file that lists its sentences.
        read: from root and split to its samples.
        published: pages of the owners.
        counts: split -> release -> (videos, expressions) as published, None where unknown.
        inspect: looks at what only this data set has; returns notes.
    """

    name: str
    splits: tuple[str, ...]
    list_path: Callable[[Path, str], Path]
    read: Callable[[Path, str], ReferringDataset]
    published: tuple[str, ...]
    counts: Mapping[str, Mapping[str, tuple[int, int | None]]] = field(default_factory=dict)
    inspect: Callable[[Path, str, ReferringDataset, Findings], list[str]] | None = None


@dataclass
class SplitReport:
    """What was found of one split.

    Attributes:
        videos: that the list names.
        expressions: that the list names.
        frames: that the list names.
        frames_found: of these on disk.
        problems: kinds of problems; none if the split is whole.
        notes: what is worth knowing but no problem.
    """

    videos: int = 0
    expressions: int = 0
    frames: int = 0
    frames_found: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class CheckReport:
    """What was found of a data set.

    Attributes:
        dataset: its name.
        root: folder that was looked at.
        published: pages of the owners.
        splits: those that were looked at.
        absent: splits without a list, which nobody asked for.
    """

    dataset: str
    root: Path
    published: tuple[str, ...]
    splits: dict[str, SplitReport]
    absent: list[str]

    @property
    def is_complete(self) -> bool:
        """Whether there is a split and no split has a problem."""
        return bool(self.splits) and not any(split.problems for split in self.splits.values())


def check(benchmark: Benchmark, root: Path, split: str | None = None) -> CheckReport:
    """Look at every file that the lists of a data set name; nothing is downloaded.

    Headers of pictures are read, videos are decoded, palette masks are not.

    Args:
        benchmark: the data set.
        root: its folder.
        split: the part to look at; None = all whose lists are there.

    Raises:
        ValueError: `root` is no folder, or the data set has no such split.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(
            f"{root} is not a folder, expected the root of {benchmark.name}; it is published at "
            f"{' and '.join(benchmark.published)}"
        )
    if split is not None and split not in benchmark.splits:
        raise ValueError(
            f"{benchmark.name} has no split {split!r}, expected one of "
            f"{', '.join(benchmark.splits)}"
        )
    present = [name for name in benchmark.splits if benchmark.list_path(root, name).exists()]
    wanted = present if split is None else [split]
    absent = [name for name in benchmark.splits if name not in present and name not in wanted]
    reports = {name: _check_split(benchmark, root, name) for name in wanted}
    return CheckReport(benchmark.name, root, benchmark.published, reports, absent)


def note_unlisted_objects(
    listed: Mapping[str, Set[str]], source: str, dataset: ReferringDataset, findings: Findings
) -> None:
    """Note expressions of objects that another file of the data set does not know.

    Args:
        listed: video -> ids of its objects.
        source: name of that file.
        dataset: the expressions.
        findings: takes the notes.
    """
    for sample in dataset:
        for object_id in sample.object_ids or ():
            if str(object_id) not in listed.get(sample.video, ()):
                findings.add(
                    f"expressions name objects that {source} does not list",
                    f"{sample.video}/{sample.expression}: object {object_id}",
                )


def _check_split(benchmark: Benchmark, root: Path, split: str) -> SplitReport:
    findings = Findings()
    report = SplitReport()
    try:
        dataset = benchmark.read(root, split)
        if not dataset.samples:
            findings.add("lists name no expression", benchmark.list_path(root, split))
        _check_samples(dataset, report, findings)
        if benchmark.inspect:
            report.notes += benchmark.inspect(root, split, dataset, findings)
    except ValueError as error:  # of lists; pictures are noted one by one
        findings.add("lists cannot be read", error)
    else:
        report.notes += _compare_counts(benchmark.counts.get(split, {}), report)
    report.problems = list(findings)
    return report


def _check_samples(dataset: ReferringDataset, report: SplitReport, findings: Findings) -> None:
    videos = dataset.by_video()
    report.videos, report.expressions = len(videos), len(dataset)
    for samples in videos.values():
        looked_at: set[FrameSource] = set()
        for sample in samples:
            if sample.frame_source not in looked_at:
                looked_at.add(sample.frame_source)
                num_found = sample.frame_source.inspect(findings)
                report.frames_found += num_found
                report.frames += _count_frames(sample)
        _check_masks(samples, findings)


def _check_masks(samples: list[ReferringSample], findings: Findings) -> None:
    """Look once at each mask of one video, whichever sentences name it."""
    wanted: dict[MaskSource, tuple[ReferringSample, set[int], set[int]]] = {}
    for sample in samples:
        if sample.mask_source is None or sample.object_ids is None:
            continue
        _, indices, ids = wanted.setdefault(sample.mask_source, (sample, set(), set()))
        ids.update(sample.object_ids)
        indices.update(_labelled(sample))
    for source, (sample, indices, ids) in wanted.items():
        size = source.inspect(sorted(indices), sorted(ids), findings)
        try:
            frame_size = sample.size
        except ValueError:
            continue  # a missing or damaged first frame, which is noted already
        if size is not None and size != frame_size:
            findings.add(
                "masks differ in size from the frames",
                f"{sample.video}: masks {size[1]}x{size[0]}, frames "
                f"{frame_size[1]}x{frame_size[0]}",
            )


def _count_frames(sample: ReferringSample) -> int:
    """Frames of a video; those of a video file that is not there are not known."""
    try:
        return len(sample.frame_names)
    except ValueError:
        return 0


def _labelled(sample: ReferringSample) -> tuple[int, ...]:
    if sample.labelled is not None:
        return sample.labelled
    return tuple(range(_count_frames(sample)))


def _compare_counts(
    published: Mapping[str, tuple[int, int | None]], report: SplitReport
) -> list[str]:
    """Say which release the counts are those of."""
    if not published:
        return []
    found = (report.videos, report.expressions)
    for release, (videos, expressions) in published.items():
        if found == (videos, found[1] if expressions is None else expressions):
            return [f"as many videos and expressions as {release}"]
    known = "; ".join(
        f"{release}: {videos} videos"
        + ("" if expressions is None else f", {expressions} expressions")
        for release, (videos, expressions) in published.items()
    )
    return [f"{found[0]} videos and {found[1]} expressions are not the counts known ({known})"]
