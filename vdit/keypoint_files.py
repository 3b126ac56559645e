"""Key points of a first frame in a JSON file: reading it, with a sentence for every mistake.

J key points, H x W pixels.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_FIELDS = ("points", "names", "skeleton")


@dataclass(frozen=True)
class FirstKeypoints:
    """Key points of one frame.

    Attributes:
        points: [J, 2] float64 as (x, y) in pixels, (0, 0) is the middle of the top left one.
        names: J names, or None.
        skeleton: pairs of places in `points` that a line joins, or None.
    """

    points: np.ndarray
    names: tuple[str, ...] | None = None
    skeleton: tuple[tuple[int, int], ...] | None = None


def read_keypoints(path: str | Path, size: tuple[int, int]) -> FirstKeypoints:
    """Read {"points": [[x, y], ...], "names": [...], "skeleton": [[i, j], ...]}.

    The names and the skeleton may be absent or null.

    Args:
        path: the file.
        size: (H, W) of the frame.

    Raises:
        ValueError: the file cannot be read, is no JSON or has another form; a point is no pair of
            finite numbers or lies outside of the frame; the names are not one for each point; the
            skeleton joins other than two of the points.
    """
    content = _read_object(path)
    points = content.get("points")
    if not isinstance(points, list) or not points:
        raise ValueError(f'expected "points": [[x, y], ...] with at least one point in {path}')
    for index, point in enumerate(points):
        _check_point(point, f"points[{index}] in {path}", size)
    names, skeleton = content.get("names"), content.get("skeleton")
    if names is not None:
        _check_names(names, len(points), path)
    if skeleton is not None:
        _check_skeleton(skeleton, len(points), path)
    return FirstKeypoints(
        np.array(points, dtype=np.float64),
        None if names is None else tuple(names),
        None if skeleton is None else tuple((first, second) for first, second in skeleton),
    )


def _read_object(path: str | Path) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"expected a readable file of key points, got {path}: {error.strerror}; check the path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'expected JSON {{"points": [[x, y], ...]}}, but {path} is no JSON ({error})'
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f'expected an object {{"points": [[x, y], ...]}} in {path}, got a '
            f"{type(content).__name__}"
        )
    unknown = [key for key in content if key not in _FIELDS]
    if unknown:
        raise ValueError(f"expected only {', '.join(_FIELDS)} in {path}, got also {unknown[0]!r}")
    return content


def _check_point(point: Any, where: str, size: tuple[int, int]) -> None:
    if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
        raise ValueError(f"expected a pair of numbers [x, y] as {where}, got {_shown(point)}")
    if any(isinstance(value, float) and not math.isfinite(value) for value in point):
        raise ValueError(f"expected finite numbers as {where}, got {_shown(point)}")
    x, y = point
    if not (0 <= x < size[1] and 0 <= y < size[0]):
        raise ValueError(
            f"expected {where} inside of the video's {size[1]}x{size[0]} pixels, counted from 0, "
            f"got {_shown(point)}; give points as (x, y) in its own size"
        )


def _check_names(names: Any, num_points: int, path: str | Path) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'expected "names" as a list of strings in {path}, got {_shown(names)}')
    if len(names) != num_points:
        raise ValueError(
            f'expected a name for each of the {num_points} points in {path}, got "names" of length '
            f"{len(names)}"
        )


def _check_skeleton(skeleton: Any, num_points: int, path: str | Path) -> None:
    if not isinstance(skeleton, list):
        raise ValueError(f'expected "skeleton": [[i, j], ...] in {path}, got {_shown(skeleton)}')
    for index, line in enumerate(skeleton):
        whole = isinstance(line, list) and all(type(end) is int for end in line)
        if not whole or len(set(line)) != len(line) or len(line) != 2:
            raise ValueError(
                f"expected two different places [i, j] as skeleton[{index}] in {path}, got "
                f"{_shown(line)}"
            )
        if not all(0 <= end < num_points for end in line):
            raise ValueError(
                f"expected places 0..{num_points - 1} of points as skeleton[{index}] in {path}, "
                f"got {_shown(line)}"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
