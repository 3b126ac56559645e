"""The processes of a run: one alone, or those that torchrun started, on one node or many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(hours=2)
"""The others wait while the first process validates and writes."""


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Attributes:
        rank: 0..world_size - 1, over all nodes.
        world_size: number of processes.
        device: of this process.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """True in the one process that writes."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Add numbers over the processes; the same in all of them."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Collect a small object of every process, in the order of ranks."""
        if self.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, value)
        return found

    def average_gradients(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that its backward pass leaves the mean gradient in every process.

        Trainable parameters start as those of the first process; buffers follow it. Each parameter
        must take part in every forward pass.
        """
        if self.world_size == 1:
            return module
        for parameter in module.parameters():
            if parameter.requires_grad:
                dist.broadcast(parameter.data, src=0)
        return DistributedDataParallel(module, gradient_as_bucket_view=True, init_sync=False)


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Join the run that the environment describes (RANK, WORLD_SIZE, LOCAL_RANK, as by torchrun).

    Args:
        device: "cpu", "cuda", or "auto" for CUDA where there is one. Every process of a node takes
            a CUDA device of its own; they talk over NCCL there, over gloo on the CPU.

    Raises:
        ValueError: there is no such device, or fewer of them than processes.
    """
    if device not in ("cpu", "cuda", "auto"):
        raise ValueError(f"expected run.device to be cpu, cuda or auto, got {device!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if device == "cuda" and local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"expected a CUDA device for each process of the node, found "
            f"{torch.cuda.device_count()}; start fewer processes or set run.device=cpu"
        )
    place = torch.device(device, local_rank) if device == "cuda" else torch.device(device)
    if device == "cuda":
        torch.cuda.set_device(place)
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Processes(device=place)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()
