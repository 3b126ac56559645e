"""What sentences about simple objects ask for: a category, a color, or both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from vdit.datasets.synthetic.referring_recipes import SIMPLE_COLORS, SIMPLE_HEIGHTS

Name = tuple[str | None, str | None]
"""A category and a color; None = not said."""


def every_name() -> list[Name]:
    """List all categories, all colors, and all pairs of the two."""
    pairs = product((None, *SIMPLE_HEIGHTS), (None, *SIMPLE_COLORS))
    return [pair for pair in pairs if pair != (None, None)]


def words_of(sentence: str) -> Name:
    """Find the category and the color that a sentence asks for.

    >>> words_of("the red thing in the video")
    (None, 'red')
    """
    words = sentence.replace(",", " ").split()
    category = next((word for word in words if word in SIMPLE_HEIGHTS), None)
    return category, next((word for word in words if word in SIMPLE_COLORS), None)


def fits(sentence: str, names: Sequence[tuple[str, str]]) -> bool:
    """Tell whether any of some (category, color) is what a sentence asks for."""
    category, color = words_of(sentence)
    return any(category in (None, name) and color in (None, hue) for name, hue in names)


def plain_sentence(category: str | None, color: str | None) -> str:
    """Ask for a category, a color or both, and nothing else.

    >>> plain_sentence("ball", None), plain_sentence(None, "red")
    ('a ball', 'a red thing')
    """
    return " ".join(word for word in ("a", color, category or "thing") if word)
