"""Lists and JSON files of data sets, with a sentence for each way they can be broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ListedVideo",
    "read_json",
    "read_meta_expressions",
    "read_meta_objects",
    "read_text",
]


@dataclass(frozen=True)
class ListedVideo:
    """What meta_expressions.json says about one video.

    Attributes:
        frames: names of the frames without extension, in order.
        expressions: by id, a string that need not be a number or contiguous; each has "exp".
    """

    frames: tuple[str, ...]
    expressions: Mapping[str, Mapping[str, Any]]


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a whole text file.

    Raises:
        ValueError: there is no such file, it cannot be read or is in another encoding.
    """
    try:
        return path.read_text(encoding=encoding)
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist; check the root of the data set") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); copy it again") from error


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file that holds one list or one object.

    Args:
        path: the file.
        kind: list or dict.

    Raises:
        ValueError: there is no such file, it is no JSON, or it holds something else than `kind`.
    """
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error}); copy or download it again") from error
    if not isinstance(data, kind):
        raise ValueError(
            f"{path} holds a {type(data).__name__}, expected a {kind.__name__}; check which file "
            "it is"
        )
    return data


def read_meta_expressions(path: Path) -> dict[str, ListedVideo]:
    """Read the list that Ref-YouTube-VOS began and MeViS and others continued.

    The file is {"videos": {video: {"expressions": {id: {"exp": str, ...}}, "frames": [str]}}}.
    A video may be listed without expressions.

    Raises:
        ValueError: the file cannot be read, lists no video, or a video lacks its frames or an
            expression its text.
    """
    videos = read_json(path, dict).get("videos")
    if not isinstance(videos, dict) or not videos:
        raise ValueError(f'{path} lists no video under "videos", expected at least one')
    return {name: _read_video(path, name, entry) for name, entry in videos.items()}


def read_meta_objects(path: Path) -> dict[str, set[str]]:
    """Read which objects each video has from a meta.json.

    The file is {"videos": {video: {"objects": {obj_id: ...}}}}.

    Raises:
        ValueError: the file cannot be read or has another form.
    """
    try:
        videos = read_json(path, dict)["videos"].items()
        return {name: set(entry["objects"]) for name, entry in videos}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} has not the form {{"videos": {{video: {{"objects": ...}}}}}}; download it '
            "again"
        ) from error


def _read_video(path: Path, name: str, entry: Any) -> ListedVideo:
    frames = entry.get("frames") if isinstance(entry, dict) else None
    expressions = entry.get("expressions") if isinstance(entry, dict) else None
    if not isinstance(frames, list) or not isinstance(expressions, dict):
        raise ValueError(
            f'{path}: video {name} has no "frames" list or no "expressions"; download it again'
        )
    if not frames:
        raise ValueError(f"{path}: video {name} has an empty list of frames, expected at least one")
    for number, expression in expressions.items():
        if not isinstance(expression, dict) or not isinstance(expression.get("exp"), str):
            raise ValueError(f'{path}: expression {number} of video {name} has no text "exp"')
    return ListedVideo(tuple(str(frame) for frame in frames), expressions)
