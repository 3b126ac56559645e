"""What can be wrong with the pictures of a submission; each is told with the first path."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from vdit.evaluation.execution import Execution
from vdit.evaluation.prediction_files import PredictionFiles
from vdit.masks import davis_palette, decode_mask_png

__all__ = ["check_names", "check_pictures"]

Size = tuple[int, int]
Problem = tuple[str, str]
"""Kind of a problem, and the sentence about one picture."""

_MASK_VALUES = frozenset((0, 255))


def check_names(
    files: PredictionFiles,
    wanted: Mapping[str, Sequence[PurePosixPath]],
    root: str,
    what: str,
) -> None:
    """Check that exactly the wanted pictures are there, below the right folder.

    Args:
        files: the predictions.
        wanted: video -> paths of its pictures.
        root: first folder of the paths; "" where they begin with a video.
        what: the predictions are of, for messages.

    Raises:
        ValueError: they lie below another folder; a video or a picture is missing; a file is there
            that does not belong.
    """
    expected = {str(path) for paths in wanted.values() for path in paths}
    if not expected & files.names:
        _explain_root(files, expected, root, what)
    videos = [
        (video, paths)
        for video, paths in wanted.items()
        if not any(str(path) in files.names for path in paths)
    ]
    if videos:
        raise ValueError(
            f"video {videos[0][0]} of {what} is missing{_more(len(videos), 'video')}, expected "
            f"such as {files.locate(videos[0][1][0])}; predict all of its sentences"
        )
    missing = [path for paths in wanted.values() for path in paths if str(path) not in files.names]
    if missing:
        raise ValueError(
            f"{files.locate(missing[0])} is missing{_more(len(missing), 'picture')}; every frame "
            "of every sentence needs one, empty where nothing is seen"
        )
    others = sorted(files.names - expected)
    if others:
        raise ValueError(
            f"{files.locate(PurePosixPath(others[0]))} is no picture that {what} asks for"
            f"{_more(len(others), 'file')}; remove it, or check the split"
        )


def _explain_root(files: PredictionFiles, expected: set[str], root: str, what: str) -> None:
    """Nothing is where it should be: say which folder is too many or missing, if that is all."""
    inner = {path.removeprefix(f"{root}/") if root else path for path in expected}
    for name in sorted(files.names):
        parts = name.split("/")
        for k in range(len(parts)):
            if "/".join(parts[k:]) in inner:
                found = "/".join(parts[:k])
                raise ValueError(
                    f"{files.locate(PurePosixPath(name))} begins with {found or parts[0]!r}, but "
                    f"an archive of {what} begins with {root or 'the names of the videos'}; pass "
                    f"the folder that holds {root or 'the videos'}"
                )
    count = len(files.names)
    raise ValueError(
        f"none of the {count} files of {files.locate(PurePosixPath('.'))} is a picture of {what}, "
        f"expected such as {min(expected)}; check the folder and the split"
    )


def check_pictures(
    files: PredictionFiles,
    wanted: Mapping[str, Sequence[PurePosixPath]],
    sizes: Mapping[str, Size],
    object_ids: Mapping[str, frozenset[int]] | None,
    execution: Execution,
) -> None:
    """Decode every picture and check its size, mode, values and palette.

    Args:
        files: the predictions.
        wanted: video -> paths of its pictures.
        sizes: video -> (height, width) of its frames; one that is not named takes that of its first
            picture.
        object_ids: video -> ids that its palette pictures may hold; None = the pictures are masks
            of 0 and 255 in gray.
        execution: workers and progress.

    Raises:
        ValueError: a picture is wrong; one sentence for the kind of the first one.
    """
    tasks = [
        (paths, sizes.get(video), None if object_ids is None else object_ids[video])
        for video, paths in wanted.items()
    ]
    found = execution.map(partial(_check_video, files=files), tasks)
    problems = [problem for of_video in found for problem in of_video]
    if problems:
        kind, sentence = problems[0]
        count = sum(other == kind for other, _ in problems)
        raise ValueError(sentence.replace("<more>", _more(count, "picture")))


def _check_video(
    task: tuple[Sequence[PurePosixPath], Size | None, frozenset[int] | None],
    files: PredictionFiles,
) -> list[Problem]:
    paths, size, ids = task
    problems = []
    for path in paths:
        content, where = files.read(path), files.locate(path)
        try:
            labels = decode_mask_png(content, where)
            with Image.open(io.BytesIO(content)) as picture:
                mode, palette = picture.mode, picture.getpalette() if ids else None
        except ValueError as error:
            problems.append(("damaged", f"{error}<more>"))
            continue
        size = size or (labels.shape[0], labels.shape[1])
        if labels.shape != size:
            problems.append(
                (
                    "size",
                    f"{where} is {labels.shape[1]}x{labels.shape[0]}, expected "
                    f"{size[1]}x{size[0]} as its frame<more>; write masks in the size of the "
                    "frames",
                )
            )
        elif ids is None:
            problems += _check_mask(where, mode, labels)
        else:
            problems += _check_labels(where, mode, labels, palette, ids)
    return problems


def _check_mask(where: str, mode: str, labels: np.ndarray) -> list[Problem]:
    if mode != "L":
        return [
            (
                "mode",
                f"{where} has the picture mode {mode}, expected gray of 8 bits (L)<more>; write "
                "masks with 0 and 255",
            )
        ]
    wrong = sorted(_values(labels) - _MASK_VALUES)
    if wrong:
        return [
            (
                "value",
                f"{where} holds the value {wrong[0]}, expected only 0 and 255<more>; threshold "
                "the masks before they are written",
            )
        ]
    return []


def _check_labels(
    where: str, mode: str, labels: np.ndarray, palette: list[int] | None, ids: frozenset[int]
) -> list[Problem]:
    if mode != "P":
        return [
            (
                "mode",
                f"{where} has the picture mode {mode}, expected a palette (P)<more>; write ids of "
                "objects with the palette of DAVIS",
            )
        ]
    found = _values(labels)
    wrong = sorted(found - ids - {0})
    if wrong:
        return [
            (
                "value",
                f"{where} holds the id {wrong[0]}, expected only 0 and "
                f"{', '.join(map(str, sorted(ids)))}<more>; write ids as the list has them",
            )
        ]
    colors = np.array(palette or [], dtype=np.int64)
    shown = colors[: len(colors) // 3 * 3].reshape(-1, 3)
    if max(found) >= len(shown) or (shown[sorted(found)] != davis_palette()[sorted(found)]).any():
        return [("palette", f"{where} has not the palette of DAVIS<more>; write it with that one")]
    return []


def _values(labels: np.ndarray) -> set[int]:
    return set(np.flatnonzero(np.bincount(labels.ravel())).tolist())


def _more(count: int, noun: str) -> str:
    """How many there are besides the first, in brackets; nothing if there is none."""
    others = count - 1
    return f" (and {others} more {noun}{'s' * (others > 1)})" if others else ""
