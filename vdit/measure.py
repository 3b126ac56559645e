"""What a run cost: wall time by stage, and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Stopwatch:
    """Add up the seconds spent in named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of a `with` block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def rounded(self) -> dict[str, float]:
        """Give the seconds of every stage to the millisecond."""
        return {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}


def peak_memory() -> int:
    """Give the largest resident size that this process has had, in bytes.

    Linux keeps the peak of the parent in `ru_maxrss` of a child, so /proc is read where it is.
    """
    found = _status("VmHWM")
    if found is not None:
        return found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory() -> int:
    """Give the resident size that this process has now, in bytes.

    Raises:
        ValueError: the system has no /proc.
    """
    found = _status("VmRSS")
    if found is None:
        raise ValueError(f"expected VmRSS in {STATUS}, got none; measure on Linux")
    return found


def reset_peak_memory() -> None:
    """Let `peak_memory` count anew, from the resident size of now.

    Raises:
        ValueError: the system has no /proc.
    """
    if not RESET.exists():
        raise ValueError(f"expected {RESET}, which is not there; measure on Linux")
    RESET.write_text("5")


def can_reset_peak_memory() -> bool:
    """Tell whether this system can measure the peak of a part of a process."""
    return RESET.exists()


def _status(name: str) -> int | None:
    if STATUS.is_file():
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
