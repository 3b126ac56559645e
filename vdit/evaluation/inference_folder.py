"""What a folder of predictions knows of the run that fills it: recipe, and the finished videos.

    <folder>/.inference/run.json                 what the predictions depend on
    <folder>/.inference/videos/<video>.json      scores and seconds; there once a video is complete

The name is hidden so that an archive of `*` holds predictions only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vdit.atomic import replace_when_complete

NOTES = ".inference"


class InferenceFolder:
    """A folder of predictions and the notes in it.

    Args:
        folder: created if it is missing.
        recipe: JSON of what the predictions depend on.

    Raises:
        ValueError: the folder holds predictions of another recipe, or cannot be written.
    """

    def __init__(self, folder: str | Path, recipe: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        path = self.folder / NOTES / "run.json"
        if not path.exists():
            # Processes that start together write the same.
            with replace_when_complete(path) as partial:
                partial.write_text(json.dumps(recipe, indent=2) + "\n")
        found = _read(path)
        if found is None:
            raise ValueError(f"{path} cannot be read; remove {folder} and start again")
        wanted = json.loads(json.dumps(recipe))
        changed = [
            name for name in {**found, **wanted} if found.get(name, "") != wanted.get(name, "")
        ]
        if changed:
            name = changed[0]
            raise ValueError(
                f"{folder} holds predictions with {name} {found.get(name)!r}, expected "
                f"{wanted.get(name)!r}; pass another folder, or remove this one"
            )

    def note(self, video: str, facts: Mapping[str, Any]) -> None:
        """Say that a video is complete, and what is known of it."""
        with replace_when_complete(self._path(video)) as partial:
            partial.write_text(json.dumps(facts) + "\n")

    def facts(self, video: str) -> dict[str, Any] | None:
        """What `note` was told of a video; None where it is not complete."""
        return _read(self._path(video))

    def all_facts(self, videos: Sequence[str]) -> list[dict[str, Any]] | None:
        """What `note` was told of the videos, in order; None where one is not complete."""
        found = [self.facts(video) for video in videos]
        known = [facts for facts in found if facts is not None]
        return known if len(known) == len(found) else None

    def _path(self, video: str) -> Path:
        return self.folder / NOTES / "videos" / f"{video}.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
