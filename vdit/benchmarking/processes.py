"""Measurements in processes of their own, whose memory holds nothing else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def run_in_new_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a new process, which ends with the call.

    Args:
        function: of a module, with arguments and a result that can be pickled.
        args: of the function.
        kwargs: of the function.

    Raises:
        ValueError: the system stopped the process, as it does where memory runs out; else what the
            function raises.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise ValueError(
                "the process of the measurement was stopped, most likely for want of memory; "
                "measure something smaller, or free memory"
            ) from error
