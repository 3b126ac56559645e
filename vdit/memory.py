"""Keep the process's memory from creeping up while it works on a long video.

Many large tensors of changing sizes scatter the heap of glibc: nothing is kept, and yet the peak
grows. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

M_MMAP_THRESHOLD = -3
LARGE_BYTES = 8 * 2**20


def return_free_memory() -> None:
    """Give free heap pages back to the system."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def map_large_blocks() -> None:
    """Take blocks of 8 MiB and more from the system one by one, from now on in this process.

    A freed block then leaves no hole. By itself glibc raises this bound to 32 MiB.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


@cache
def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
