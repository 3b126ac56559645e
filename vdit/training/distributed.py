"""The processes of a run: one alone, or those that torchrun started, on one node or many."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from vdit.training.sharding import shard

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

    def average_gradients(self, module: nn.Module, leaves_out: bool = False) -> nn.Module:
        """Wrap a module so that its backward pass leaves the mean gradient in every process.

        Trainable parameters start as those of the first process; buffers follow it.

        Args:
            module: what is run.
            leaves_out: not every parameter takes part in every forward pass. One that a process
                leaves out counts as a gradient of zero there; one that all leave out has none.
        """
        if self.world_size == 1:
            return module
        for parameter in module.parameters():
            if parameter.requires_grad:
                dist.broadcast(parameter.data, src=0)
        return DistributedDataParallel(
            module,
            gradient_as_bucket_view=True,
            init_sync=False,
            find_unused_parameters=leaves_out,
        )

    def shard(self, module: nn.Module, layers: Iterable[nn.Module]) -> nn.Module:
        """Divide weights, gradients and states of the optimizer; see `vdit.training.sharding`.

        The backward pass leaves this process's share of the mean gradient. One process alone keeps
        everything. All processes have to call the same layers equally often.
        """
        if self.world_size > 1:
            shard(module, layers, self.device)
        return module


@contextmanager
def accumulating(network: nn.Module, is_last: bool) -> Iterator[None]:
    """Let processes exchange gradients in the backward pass of the last micro-batch only.

    Args:
        network: of `Processes.average_gradients` or `Processes.shard`.
        is_last: the step has no further micro-batch.
    """
    if isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(is_last)
    waits = isinstance(network, DistributedDataParallel) and not is_last
    with network.no_sync() if waits else nullcontext():  # type: ignore[operator]
        yield


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
