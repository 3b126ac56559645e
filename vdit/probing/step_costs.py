"""What a step of training costs, measured without a change to what is trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from vdit.benchmarking.live_tensors import LiveTensors
from vdit.training.engine import Trainer

NUM_STEPS = 3


@dataclass(frozen=True)
class StepCost:
    """Cost of one step with one micro-batch.

    Attributes:
        seconds: of forward pass, backward pass and optimizer; a median.
        memory_bytes: peak of the device's memory, or on the CPU of all living tensors, weights
            included; None where several processes share a CPU's step.
    """

    seconds: float
    memory_bytes: int | None


def measure_steps(trainer: Trainer) -> StepCost:
    """Run a few steps on the first examples; weights, buffers and the optimizer stay as they are.

    All processes of the trainer have to come here. Gradients are set to zero before an optimizer of
    the same kind takes its step.
    """
    stage, device = trainer.stage, trainer.device
    micro_batch = trainer.portions.micro_batch
    num_examples = stage.num_examples or micro_batch
    examples = [stage.data[0, k % num_examples] for k in range(micro_batch)]
    batch = stage.collate(examples)
    optimizer = torch.optim.AdamW(trainer.parameters, lr=0.0, weight_decay=0.0)
    buffers = [(each, each.clone()) for each in stage.modules.buffers()]
    stage.modules.train()

    def step() -> None:
        """Take a step of no length."""
        optimizer.zero_grad()
        with trainer.autocast():
            losses = trainer.network(batch, stage.count(batch))
        losses["loss"].backward()
        for parameter in trainer.parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()
        optimizer.step()

    memory = _first_step(step, stage.modules, device, trainer.processes.world_size == 1)
    seconds = [_timed(step, device) for _ in range(NUM_STEPS)]
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device)
    optimizer.zero_grad()
    for buffer, before in buffers:
        buffer.copy_(before)
    return StepCost(median(seconds), memory)


def compare_costs(cost: StepCost, frozen: StepCost) -> dict[str, float | int | None]:
    """Put two costs side by side; ratios are of the first to the second."""
    memory, less = cost.memory_bytes, frozen.memory_bytes
    return {
        "step_seconds": round(cost.seconds, 5),
        "frozen_step_seconds": round(frozen.seconds, 5),
        "time_ratio": cost.seconds / frozen.seconds,
        "step_memory_bytes": memory,
        "frozen_step_memory_bytes": less,
        "memory_ratio": None if memory is None or less is None else memory / less,
    }


def _first_step(
    step: Callable[[], None], modules: nn.Module, device: torch.device, counts: bool
) -> int | None:
    """Run a step, which also makes the states of the optimizer; its peak memory on a CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    weights: list[Tensor] = [*modules.parameters(), *modules.buffers()]
    with ExitStack() as stack:
        counts = counts and device.type == "cpu"
        living = stack.enter_context(LiveTensors(weights)) if counts else None
        step()
    if living is None:
        return None
    storages = {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in weights}
    return living.peak + sum(storages.values())


def _timed(step: Callable[[], None], device: torch.device) -> float:
    begin = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin
