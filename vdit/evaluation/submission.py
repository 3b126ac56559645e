"""Submissions: every picture of a split looked at, then packed into an archive.

Servers answer a wrong archive root with NaN and a missing frame with a low score, so nothing is
packed unless everything is as the server expects it.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vdit.atomic import replace_when_complete
from vdit.datasets.referring import ReferringDataset
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.evaluation.execution import Execution
from vdit.evaluation.prediction_files import PredictionFiles, open_predictions
from vdit.evaluation.prediction_layouts import (
    LABEL_DATASETS,
    MASK_DATASETS,
    archive_root,
    labels_path,
    mask_path,
)
from vdit.evaluation.submission_checks import check_names, check_pictures

__all__ = ["Submission", "pack"]

_SPLIT = "valid"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that an archive can hold
_UNIX, _READABLE = 3, 0o100644


@dataclass(frozen=True)
class Submission:
    """What was packed.

    Attributes:
        path: of the archive.
        dataset: its name.
        split: part of it.
        num_videos: in the archive.
        num_expressions: whose masks are in it.
        num_pictures: in the archive.
        num_bytes: of the archive.
        sha256: of the archive; the same predictions always give the same.
        notes: what is worth knowing, such as counts that are not the published ones.
    """

    path: Path
    dataset: str
    split: str
    num_videos: int
    num_expressions: int
    num_pictures: int
    num_bytes: int
    sha256: str
    notes: Sequence[str] = field(default_factory=tuple)


def pack(
    dataset: str,
    root: str | os.PathLike[str],
    predictions: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    split: str | None = None,
    with_frames: bool = True,
    execution: Execution | None = None,
) -> Submission:
    """Check predictions and pack them as the server of a data set expects them.

    Names, sizes, modes, values and palettes of all pictures are checked, and that there are exactly
    those that the list of the split asks for. The archive appears only when it is complete.

    Args:
        dataset: one of MASK_DATASETS or LABEL_DATASETS.
        root: folder of the data set; its lists say what must be there, the first frame of each
            video how large masks are.
        predictions: folder or zip, laid out as in `vdit.evaluation.prediction_layouts`.
        output: archive to write, ends in .zip.
        split: part of the data set; None = "valid".
        with_frames: False does without the frames of the data set; then the masks of a video need
            only have one size.
        execution: workers and progress; the default is this process.

    Raises:
        ValueError: a data set without such submissions; a picture is missing, does not belong, is
            damaged or has the wrong size, mode, value or palette; everything lies below another
            folder. The sentence names the first path and says how many more there are.
    """
    output = Path(output)
    files = _open(dataset, Path(predictions), output)
    split = split or _SPLIT
    samples = REFERRING_DATASETS[dataset].read(Path(root), split)
    wanted = _wanted(samples)
    paths = [path for of_video in wanted.values() for path in of_video]
    root_name = archive_root(dataset) if dataset in MASK_DATASETS else ""
    check_names(files, wanted, root_name, f"{dataset} {split}")
    sizes = {}
    if with_frames:
        sizes = {video: own[0].size for video, own in samples.by_video().items()}
    ids = _object_ids(samples) if dataset in LABEL_DATASETS else None
    check_pictures(files, wanted, sizes, ids, execution or Execution())
    with replace_when_complete(output) as partial:
        _write(partial, files, paths)
        with partial.open("rb") as archive:
            digest = hashlib.file_digest(archive, "sha256").hexdigest()
    return Submission(
        path=output,
        dataset=dataset,
        split=split,
        num_videos=len(wanted),
        num_expressions=len(samples),
        num_pictures=len(paths),
        num_bytes=output.stat().st_size,
        sha256=digest,
        notes=tuple(_notes(samples)),
    )


def _open(dataset: str, predictions: Path, output: Path) -> PredictionFiles:
    """Open what is to be packed, if it can be packed at all."""
    if dataset not in MASK_DATASETS + LABEL_DATASETS:
        raise ValueError(
            f"expected a data set among {', '.join(MASK_DATASETS + LABEL_DATASETS)}, whose "
            f"submissions are pictures, got {dataset!r}; others are scored by `vdit eval`"
        )
    if output.suffix != ".zip":
        raise ValueError(f"expected an archive that ends in .zip, got {output}")
    files = open_predictions(predictions)
    if predictions.resolve() == output.resolve():
        raise ValueError(f"{output} is what is to be packed; give the archive another name")
    return files


def _wanted(samples: ReferringDataset) -> dict[str, list[PurePosixPath]]:
    """Paths of all pictures of each video."""
    wanted: dict[str, list[PurePosixPath]] = {}
    for sample in samples:
        of_video = wanted.setdefault(sample.video, [])
        if samples.name in MASK_DATASETS:
            of_video += [
                mask_path(samples.name, sample.video, sample.expression, name)
                for name in sample.frame_names
            ]
        else:
            of_video += [
                labels_path(sample.annotator or 0, sample.video, name)
                for name in sample.frame_names
            ]
    return {video: list(dict.fromkeys(paths)) for video, paths in wanted.items()}


def _object_ids(samples: ReferringDataset) -> dict[str, frozenset[int]]:
    """Ids that the maps of each video may hold."""
    return {
        video: frozenset(k for sample in own for k in sample.object_ids or ())
        for video, own in samples.by_video().items()
    }


def _notes(samples: ReferringDataset) -> list[str]:
    """Say which release the counts are those of."""
    published = REFERRING_DATASETS[samples.name].counts.get(samples.split, {})
    found = len(samples.by_video()), len(samples)
    known = {name: (v, found[1] if e is None else e) for name, (v, e) in published.items()}
    fitting = [name for name, counts in known.items() if counts == found]
    if fitting:
        return [f"as many videos and sentences as {' and '.join(fitting)}"]
    if not published:
        return []
    listed = "; ".join(
        f"{name}: {videos} videos" + ("" if count is None else f", {count} sentences")
        for name, (videos, count) in published.items()
    )
    return [
        f"{found[0]} videos and {found[1]} sentences are not the counts that a server knows "
        f"({listed})"
    ]


def _write(path: Path, files: PredictionFiles, members: Iterable[PurePosixPath]) -> None:
    """Write an archive that depends on nothing but names and contents."""
    with zipfile.ZipFile(path, "w") as archive:
        for member in sorted(members):
            info = zipfile.ZipInfo(str(member), date_time=_EPOCH)
            info.create_system, info.external_attr = _UNIX, _READABLE << 16
            archive.writestr(info, files.read(member))  # stored: pictures are compressed already
