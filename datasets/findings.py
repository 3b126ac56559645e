"""What is wrong with a data set on disk: kinds of problems, with the first names and a count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Findings", "Problem", "say_where"]

_NUM_SHOWN = 5


@dataclass
class Problem:
    """One kind of problem.

    Attributes:
        what: the kind, such as "frames are missing".
        count: how often it was found.
        first: the first few places.
    """

    what: str
    count: int = 0
    first: list[str] = field(default_factory=list)


class Findings:
    """Collects problems by kind."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}

    def add(self, what: str, where: object) -> None:
        """Count one problem; the first few places of a kind are kept."""
        problem = self._problems.setdefault(what, Problem(what))
        problem.count += 1
        if len(problem.first) < _NUM_SHOWN:
            problem.first.append(str(where))

    @property
    def total(self) -> int:
        """Problems of all kinds."""
        return sum(problem.count for problem in self._problems.values())

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._problems.values())

    def __len__(self) -> int:
        return len(self._problems)


def say_where(published: tuple[str, ...]) -> str:
    """Tell in half a sentence where a data set comes from; nothing if nobody publishes it."""
    return f"; it is published at {' and '.join(published)}" if published else ""
