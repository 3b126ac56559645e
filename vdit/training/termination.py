"""SIGTERM, which schedulers send some time before they kill, as a question that a loop can ask."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def noting_termination() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM into an answer to "is it time to stop?"."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: event.set())
    try:
        yield event.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
