"""Parts of a job in one or several processes."""

import math
import os

import pytest

from vdit.evaluation.execution import Execution


@pytest.mark.parametrize("workers", [1, 3])
def test_results_keep_the_order_of_the_items(workers):
    seen = []
    execution = Execution(workers, lambda done, total: seen.append((done, total)))
    assert execution.map(math.sqrt, [16, 9, 4, 1, 0]) == [4, 3, 2, 1, 0]
    assert seen == [(k, 5) for k in range(1, 6)]


def test_no_items():
    assert Execution(4).map(math.sqrt, []) == []


def test_the_first_error_ends_the_job():
    with pytest.raises(ValueError, match="math domain error"):
        Execution(2).map(math.sqrt, [1, -1, 4])


def test_a_process_that_dies_is_told():
    with pytest.raises(ValueError, match="a process ended before its work was done"):
        Execution(2).map(os._exit, [3, 3])


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="at least one worker, got 0"):
        Execution(0)
