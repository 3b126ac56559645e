"""Costs are those of this process, not of its parent."""

import subprocess
import sys

from vdit.measure import Stopwatch, peak_memory

CHILD = "from vdit.measure import peak_memory; print(peak_memory())"


def test_peak_memory_is_not_inherited():
    ballast = bytearray(600_000_000)
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert peak_memory() >= len(ballast)
    assert int(done.stdout) < 200_000_000


def test_stages_add_up():
    watch = Stopwatch()
    for _ in range(2):
        with watch.measure("a"):
            pass
    assert set(watch.rounded()) == {"a"}
    assert watch.seconds["a"] > 0
