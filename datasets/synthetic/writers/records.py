"""What every written tree shares: text files that appear whole, and a record of the scenes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vdit.atomic import replace_when_complete
from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.scene import FRAMES_PER_SECOND, VERSION, Scene
from vdit.video_writer import VideoWriter

NamedClips = Iterable[tuple[str, RenderedClip]]
"""Names of videos and what was rendered for them; a generator is read one clip at a time."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.+-]*")


def record_clips(
    clips: NamedClips, root: Path, split: str = ""
) -> Iterator[tuple[str, RenderedClip]]:
    """Pass clips on, and after the last one write their scenes into <root>/rendered.json.

    The file is {"version": str, "clips": {name: scene}}, where the name is <split>/<name> if there
    is a split. Clips that an earlier call recorded stay in it.

    Args:
        clips: names, which become names of files, and clips.
        root: folder of the tree.
        split: part of the data set that the clips belong to.

    Yields:
        Names and clips as they come.

    Raises:
        ValueError: no clip, a name that comes twice or that cannot be the name of a file.
    """
    scenes: dict[str, Any] = {}
    for name, clip in clips:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"a clip has the name {name!r}, expected letters, digits, _, -, + and dots; "
                "rename it"
            )
        key = f"{split}/{name}" if split else name
        if key in scenes:
            raise ValueError(
                f"two clips have the name {name!r}, expected different ones; rename one"
            )
        scenes[key] = clip.scene.as_json()
        yield name, clip
    if not scenes:
        raise ValueError(f"no clip came for {root}, expected at least one; pass rendered clips")
    path = root / "rendered.json"
    older = read_json(path).get("clips", {})
    write_json(path, {"version": VERSION, "clips": older | scenes})


def expect_names(names: Iterable[str], clips: Iterable[str]) -> None:
    """Check that each of the names for testing was that of a clip.

    Raises:
        ValueError: one was not.
    """
    unknown = sorted(set(names) - set(clips))
    if unknown:
        raise ValueError(f"test_names holds {unknown[0]!r}, but no clip has this name; remove it")


def read_json(path: Path) -> dict[str, Any]:
    """Read an object that an earlier call wrote; empty where there is none.

    Raises:
        ValueError: the file holds something else.
    """
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); remove it and write again") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds a {type(data).__name__}, expected an object; remove it")
    return data


def write_json(path: Path, data: Any) -> None:
    """Write data that appears only when it is complete."""
    write_text(path, json.dumps(data, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Write text, with the line ends as they are, that appears only when it is complete."""
    write_bytes(path, text.encode(encoding))


def write_lines(path: Path, lines: Iterable[str], encoding: str = "utf-8") -> None:
    """Write lines, each with a line end; no lines make an empty file."""
    write_text(path, "".join(f"{line}\n" for line in lines), encoding)


def as_csv(rows: Iterable[Iterable[Any]]) -> str:
    r"""Give rows as comma separated values, quoted where needed.

    >>> as_csv([("a", 1, "b, c")])
    'a,1,"b, c"\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes that appear only when they are complete."""
    with replace_when_complete(path) as temporary:
        temporary.write_bytes(data)


def write_video(path: Path, clip: RenderedClip) -> None:
    """Encode the frames of a clip at the renderer's frame rate."""
    with VideoWriter(path, FRAMES_PER_SECOND) as writer:
        for frame in clip.frames:
            writer.add(frame)


def name_action(scene: Scene) -> str:
    """Give the label of a clip as the name of a folder: the action, or how its first object moves.

    Raises:
        ValueError: the scene has neither an action nor an object.
    """
    if scene.action:
        return name_folder(scene.action)
    if scene.objects:
        return name_folder(scene.objects[0].motion.program)
    raise ValueError("a scene has no action and no object, expected one of them; set its action")


def name_folder(label: str) -> str:
    """Give a label without blanks.

    >>> name_folder("roll left")
    'roll_left'
    """
    return "_".join(label.split())
