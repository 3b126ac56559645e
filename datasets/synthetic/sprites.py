"""Pictures of everyday things that stand in a scene as cards.

An atlas is a folder with `sprites.png`, one RGBA picture that holds all sprites, and
`sprites.json`, which says where each one is and what it is called. One comes with the package; its
LICENSE names the sources. `tools/fetch_sprites.py` makes larger ones.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["ATLAS", "Sprite", "load_sprites"]

ATLAS = Path(__file__).parent / "atlas"
"""The atlas of the package; its folder `textures` has gray 256 x 256 photographs that tile."""

FACES = ("left", "right", "")

_ADVICE = "pass a folder that tools/fetch_sprites.py wrote, or None for the sprites of the package"


@dataclass(frozen=True, eq=False)
class Sprite:
    """One picture, cropped to what is not transparent.

    Attributes:
        name: what a stranger calls it, such as "fire engine".
        plural: the same for several, such as "fire engines".
        faces: "left" or "right", where its front points in the picture; "" = it has no front, or
            looks at the camera.
        natural_height: height in metres that looks right beside the others, in a world of toys.
        image: [h, w, 4] float32 RGBA, sRGB in 0..1, the first row on top. Alpha is straight: color
            is not multiplied by it, and black where alpha is 0.
        source: the file that it was made of.
    """

    name: str
    plural: str
    faces: str
    natural_height: float
    image: np.ndarray
    source: str = ""

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.image.shape[1] / self.image.shape[0]

    @property
    def premultiplied(self) -> np.ndarray:
        """The image with color times alpha, [h, w, 4]: interpolate this one, edges stay clean."""
        image = self.image.copy()
        image[..., :3] *= image[..., 3:]
        return image


def load_sprites(folder: str | os.PathLike[str] | None = None) -> dict[str, Sprite]:
    """Read an atlas.

    Args:
        folder: with `sprites.png` and `sprites.json`; None = the one of the package.

    Returns:
        The sprites by name, in the order of the file.

    Raises:
        ValueError: a file is missing or unreadable, or an entry does not fit the picture.
    """
    return dict(_read_package() if folder is None else _read_atlas(Path(folder)))


@cache
def _read_package() -> dict[str, Sprite]:
    return _read_atlas(ATLAS)


def _read_atlas(folder: Path) -> dict[str, Sprite]:
    entries = _read_entries(folder / "sprites.json")
    atlas = _read_picture(folder / "sprites.png")
    sprites: dict[str, Sprite] = {}
    for entry in entries:
        sprite = _cut(entry, atlas, folder)
        if sprite.name in sprites:
            raise ValueError(f"{folder} has two sprites named {sprite.name!r}; rename one of them")
        sprites[sprite.name] = sprite
    return sprites


def _read_entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {_ADVICE}") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); {_ADVICE}") from error
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} has no list of sprites; {_ADVICE}")
    return entries


def _read_picture(path: Path) -> np.ndarray:
    """Read a picture as [H, W, 4] uint8."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGBA"))
    except OSError as error:  # PIL's error for what is no picture is one too
        raise ValueError(f"{path} is no readable picture ({error}); {_ADVICE}") from error


def _cut(entry: dict[str, Any], atlas: np.ndarray, folder: Path) -> Sprite:
    try:
        x, y, width, height = (int(entry[key]) for key in ("x", "y", "width", "height"))
        name, plural, faces = (str(entry[key]) for key in ("name", "plural", "faces"))
        natural_height = float(entry["natural_height"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"sprites.json of {folder} has an entry without a proper "
            f"name, plural, faces, natural_height, x, y, width or height: {entry!r}; {_ADVICE}"
        ) from error
    if faces not in FACES:
        raise ValueError(f"sprite {name!r} faces {faces!r}, expected one of {FACES}; correct it")
    if not natural_height > 0:
        raise ValueError(
            f"sprite {name!r} has a natural_height of {natural_height}, expected more than 0 m"
        )
    rows, columns = atlas.shape[:2]
    inside = 0 <= x < x + width <= columns and 0 <= y < y + height <= rows
    if not inside:
        raise ValueError(
            f"sprite {name!r} lies at x {x}..{x + width}, y {y}..{y + height}, outside the picture "
            f"of {columns} x {rows} pixels in {folder}; make the atlas again"
        )
    image = atlas[y : y + height, x : x + width].astype(np.float32) / 255
    image[image[..., 3] == 0] = 0
    if not image[..., 3].any():
        raise ValueError(f"sprite {name!r} of {folder} is transparent; make the atlas again")
    image.setflags(write=False)  # all clips share it
    return Sprite(name, plural, faces, natural_height, image, str(entry.get("source", "")))
