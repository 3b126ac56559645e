"""Independent parts of one job, one after the other or in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

__all__ = ["Execution"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Execution:
    """How parts of a job are run.

    Attributes:
        workers: processes; 1 = this one.
        progress: called with the parts done and the parts in all, after each.

    Raises:
        ValueError: fewer than one worker.
    """

    workers: int = 1
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"expected at least one worker, got {self.workers}")

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Apply a function to all items.

        Args:
            function: can be sent to another process, as can items and results.
            items: each process gets its share of them at its start, in one message.

        Returns:
            Results in the order of the items.

        Raises:
            ValueError: the function raised it, or a process ended before its work.
        """
        results: dict[int, Result] = {}
        workers = min(self.workers, len(items))
        done = self._here(function, items) if workers < 2 else _spread(function, items, workers)
        for index, result in done:
            results[index] = result
            if self.progress:
                self.progress(len(results), len(items))
        return [results[index] for index in range(len(items))]

    def _here(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        for index, item in enumerate(items):
            yield index, function(item)


def _spread(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[int, Result]]:
    """Results as they come; the first error ends all processes."""
    context = multiprocessing.get_context("spawn")
    numbered = list(enumerate(items))
    processes, open_ends = [], []
    try:
        for k in range(workers):
            receiving, sending = context.Pipe(duplex=False)
            share = numbered[k::workers]
            process = context.Process(target=_work, args=(sending, function, share), daemon=True)
            process.start()
            sending.close()
            processes.append(process)
            open_ends.append(receiving)
        missing = len(items)
        while missing:
            for end in wait(open_ends):
                assert isinstance(end, Connection)
                try:
                    index, result, error = end.recv()
                except EOFError:
                    open_ends.remove(end)
                    continue
                if error is not None:
                    raise ValueError(error)
                missing -= 1
                yield index, result
            if missing and not open_ends:
                raise ValueError(
                    f"a process ended before its work was done, {missing} parts are missing; the "
                    "memory may be too small, use fewer --workers"
                )
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(end: Connection, function: Callable[[Any], Any], share: list[tuple[int, Any]]) -> None:
    """Work on one share in a process of its own, which its parent ends on an interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with end:
        for index, item in share:
            try:
                end.send((index, function(item), None))
            except ValueError as error:
                end.send((index, None, str(error)))
                return
