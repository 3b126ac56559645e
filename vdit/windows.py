"""Cut a stream of unknown length into overlapping windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Window(Generic[Item]):
    """Consecutive items of a stream.

    Attributes:
        start: index of the first item in the stream.
        items: the items.
        num_known: leading items that the window before held too.
        is_last: no window follows.
    """

    start: int
    items: list[Item]
    num_known: int
    is_last: bool


def sliding_windows(
    items: Iterable[Item], size: int, overlap: int, move_last: bool = True
) -> Iterator[Window[Item]]:
    """Cut a stream into windows of `size` items, each sharing `overlap` with the one before.

    A stream of at most `size` items is one window. The last window is moved back until it is full,
    so it may share more; without `move_last` it is shorter. Two windows of items are held at most.

    >>> [w.items for w in sliding_windows(range(7), size=4, overlap=1)]
    [[0, 1, 2, 3], [3, 4, 5, 6]]
    >>> [w.items for w in sliding_windows(range(6), size=4, overlap=1)]
    [[0, 1, 2, 3], [2, 3, 4, 5]]
    >>> [w.items for w in sliding_windows(range(6), size=4, overlap=1, move_last=False)]
    [[0, 1, 2, 3], [3, 4, 5]]
    """
    stream = iter(items)
    current = _take(stream, size)
    start, num_known = 0, 0
    while current:
        fresh = _take(stream, size - overlap) if len(current) == size else []
        yield Window(start, current, num_known, is_last=not fresh)
        num_known = size - len(fresh) if move_last else overlap
        start += size - num_known
        current = current[size - num_known :] + fresh if fresh else []


def _take(stream: Iterator[Item], count: int) -> list[Item]:
    taken = []
    for item in stream:
        taken.append(item)
        if len(taken) == count:
            break
    return taken
