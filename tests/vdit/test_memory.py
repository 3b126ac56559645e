"""Free memory goes back to the system, and would not by itself."""

import subprocess
import sys

import pytest

PROBE = """
from pathlib import Path
from vdit.memory import map_large_blocks, return_free_memory
import torch

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

{first}
torch.ones(6 * 2**20)  # 24 MiB: from now on glibc would keep such blocks on its heap
blocks = [torch.ones({numbers}) for _ in range({count})]
last = blocks[-1]
before = resident()
del blocks
{then}
print((before - resident()) / (4 * {numbers} * {count}))
"""


def share_given_back(first="", then="", numbers=4096, count=4096):
    code = PROBE.format(first=first, then=then, numbers=numbers, count=count)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_return_free_memory():
    assert share_given_back() < 0.1
    assert share_given_back(then="return_free_memory()") > 0.9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_map_large_blocks():
    large = {"numbers": 4 * 2**20, "count": 4}
    assert share_given_back(**large) < 0.1
    assert share_given_back(first="map_large_blocks()", **large) > 0.7
