"""Processes of measurements, and on which device they look."""

import math
import os

import pytest
import torch

from vdit.benchmarking.feature_timing import CudaMeter
from vdit.benchmarking.processes import run_in_new_process


def test_results_come_from_another_process():
    assert run_in_new_process(os.getpid) != os.getpid()


def test_errors_of_the_function_come_back():
    with pytest.raises(ValueError, match=r"nonnegative|math domain"):
        run_in_new_process(math.sqrt, -1)


def test_a_stopped_process_is_an_error_and_no_endless_wait():
    with pytest.raises(ValueError, match="want of memory"):
        run_in_new_process(os._exit, 9)


def test_memory_is_that_of_the_measured_device(monkeypatch):
    allocated = {"cuda:1": 7, "cuda:0": 0}
    synchronized = []
    monkeypatch.setattr(torch.cuda, "synchronize", synchronized.append)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", allocated.__getitem__)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: allocated[device] + 3)
    meter = CudaMeter("cuda:1")
    meter.start()
    assert meter.peak() == 3
    assert synchronized == ["cuda:1", "cuda:1"]
