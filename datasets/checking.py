"""Is a data set on disk whole? What there is, what is missing, and where it is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from vdit.datasets.findings import Findings, Problem, say_where
from vdit.datasets.labelled_videos import VOID, KeypointVideo, LabelledVideo
from vdit.datasets.referring import FrameSource, MaskSource, ReferringDataset, ReferringSample
from vdit.datasets.truth_videos import ClassifiedVideo
from vdit.datasets.videos import Video, VideoDataset

__all__ = ["Benchmark", "CheckReport", "SplitReport", "check", "note_unlisted_objects"]


Dataset_co = TypeVar("Dataset_co", bound=ReferringDataset | VideoDataset[Any], covariant=True)


@dataclass(frozen=True)
class Benchmark(Generic[Dataset_co]):
    """How a data set is read and checked.

    Attributes:
        name: on the command line.
        splits: their names.
        list_path: from root and split to the file that lists its sentences or videos.
        read: from root and split to its samples or videos.
        published: pages of the owners; none of data of one's own.
        counts: split -> release -> (videos, expressions) as published, or (videos, frames) where
            there are no expressions; None where unknown.
        inspect: looks at what only this data set has; returns notes.
    """

    name: str
    splits: tuple[str, ...]
    list_path: Callable[[Path, str], Path]
    read: Callable[[Path, str], Dataset_co]
    published: tuple[str, ...]
    counts: Mapping[str, Mapping[str, tuple[int, int | None]]] = field(default_factory=dict)
    inspect: Callable[[Path, str, Any, Findings], list[str]] | None = None


@dataclass
class SplitReport:
    """What was found of one split.

    Attributes:
        videos: that the list names.
        expressions: that the list names; None where a data set has none.
        labelled: frames with truth; None where a data set has expressions or classes.
        frames: that the list names.
        frames_found: of these on disk.
        problems: kinds of problems; none if the split is whole.
        notes: what is worth knowing but no problem.
    """

    videos: int = 0
    expressions: int | None = None
    labelled: int | None = None
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
            f"{root} is not a folder, expected the root of {benchmark.name}"
            f"{say_where(benchmark.published)}"
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
        if isinstance(dataset, ReferringDataset):
            if not dataset.samples:
                findings.add("lists name no expression", benchmark.list_path(root, split))
            _check_samples(dataset, report, findings)
        else:
            if not dataset.videos:
                findings.add("lists name no video", benchmark.list_path(root, split))
            report.notes += [dataset.note] if dataset.note else []
            _check_videos(dataset, report, findings)
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
        _differ_in_size(sample.video, sample, size, findings)


def _differ_in_size(
    name: str,
    video: ReferringSample | LabelledVideo,
    found: tuple[int, int] | None,
    findings: Findings,
) -> bool:
    """Note masks whose size is not that of the frames; unknown where either is missing."""
    try:
        size = video.size
    except ValueError:
        return False  # a missing or damaged first frame, which is noted already
    if found is None or found == size:
        return False
    findings.add(
        "masks differ in size from the frames",
        f"{name}: masks {found[1]}x{found[0]}, frames {size[1]}x{size[0]}",
    )
    return True


def _check_videos(dataset: VideoDataset[Any], report: SplitReport, findings: Findings) -> None:
    report.videos, report.labelled = len(dataset), 0
    for video in dataset:
        report.frames_found += video.frame_source.inspect(findings)
        report.frames += _count_frames(video)
        if isinstance(video, LabelledVideo):
            report.labelled += len(video.labelled)
            _check_labels(video, bool(dataset.classes), findings)
        elif isinstance(video, KeypointVideo):
            report.labelled += _check_keypoints(video, findings)
        else:
            report.labelled += video.inspect_truth(findings)
    labels = [video.label for video in dataset if isinstance(video, ClassifiedVideo)]
    if labels:
        report.labelled = None
        report.notes.append(f"{len(set(labels))} of {len(dataset.classes)} classes have videos")


def _check_labels(video: LabelledVideo, are_classes: bool, findings: Findings) -> None:
    """Look at the headers of all labels of a video, and decode the first ones if all are well."""
    if not video.labelled:
        findings.add("videos have no labels", video.name)
        return
    before = findings.total
    found = video.label_source.inspect(video.labelled, (), findings)
    if _differ_in_size(video.name, video, found, findings) or findings.total > before:
        return
    try:
        labels = video.first_labels
    except ValueError as error:
        findings.add("masks cannot be read as pictures", error)
        return
    if not are_classes and not ((labels > 0) & (labels < VOID)).any():
        findings.add("first labels show no object", video.name)


def _check_keypoints(video: KeypointVideo, findings: Findings) -> int:
    """Read the key points of a video; the number of frames that have them."""
    try:
        count = len(video.keypoint_source.read_points())
    except ValueError as error:
        findings.add("key points cannot be read", error)
        return 0
    num_frames = _count_frames(video)
    if num_frames not in (0, count):  # none are noted already
        findings.add(
            "videos have more or fewer frames than key points",
            f"{video.name}: {num_frames} frames, key points of {count}",
        )
    return count


def _count_frames(video: ReferringSample | Video) -> int:
    """Frames of a video; those of a video file that is not there are not known."""
    try:
        return len(video.frame_names)
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
    what, count = "expressions", report.expressions
    if count is None:
        what, count = "frames", report.frames
    for release, (videos, others) in published.items():
        if (report.videos, count) == (videos, count if others is None else others):
            return [f"as many videos and {what} as {release}"]
    known = "; ".join(
        f"{release}: {videos} videos" + ("" if others is None else f", {others} {what}")
        for release, (videos, others) in published.items()
    )
    return [f"{report.videos} videos and {count} {what} are not the counts known ({known})"]
