"""How long, how fast and in which portions a stage trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Precision = Literal["float32", "bfloat16", "float16"]
Sharding = Literal["none", "full"]
ScheduleName = Literal["cosine", "multistep", "constant"]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with a learning rate of their own.

    Attributes:
        contains: parts of names; a parameter belongs to the first group with one of them.
        rate: peak learning rate.
    """

    contains: list[str]
    rate: float


@dataclass(frozen=True)
class RunConfig:
    """How a stage trains.

    Attributes:
        steps: optimizer steps in all.
        epochs: passes over the data, in place of `steps`; for data with a length.
        batch: examples of an optimizer step, over all processes. It stays the same on any number
            of processes; gradients are accumulated where a process cannot take its share at once.
        micro_batch: examples that a process takes at once; None = its whole share.
        rate: peak learning rate of AdamW.
        groups: parameters with other rates.
        betas: of AdamW.
        decay: weight decay.
        schedule: of the learning rates after the rise: a cosine to zero, or `drops`, or none.
        warmup: steps of linear rise.
        drops: epochs (steps, where `epochs` is not set) after which rates are multiplied by
            `drop_factor`, for the schedule "multistep".
        drop_factor: see `drops`.
        clip: largest norm of the gradient; longer ones are scaled down. None = any.
        average: decay of the moving average that is exported; None = the last weights are.
        precision: of the forward pass under autocast; "float16" scales the loss.
        sharding: "full" divides weights, gradients and states of the optimizer among the processes;
            "none" keeps all of them in every process.
        compile: backend of torch.compile, such as "inductor"; None = not compiled.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        seed: of weights, order of examples, augmentation, noise and dropout.
        workers: processes that make examples, for every process of the run; 0 = itself.
        log: "jsonl", "tensorboard", "wandb"; `metrics.jsonl` is always written.
        log_every: steps between lines.
        save_every: steps between checkpoints; there is also one after every epoch.
        sample_every: steps between samples to look at.
        validate_every: steps between validations; 0 = after every epoch.
    """

    steps: int = 1000
    epochs: int | None = None
    batch: int = 8
    micro_batch: int | None = None
    rate: float = 1e-3
    groups: list[ParameterGroup] = field(default_factory=list)
    betas: tuple[float, float] = (0.9, 0.99)
    decay: float = 0.01
    schedule: ScheduleName = "cosine"
    warmup: int = 50
    drops: list[int] = field(default_factory=list)
    drop_factor: float = 0.1
    clip: float | None = 1.0
    average: float | None = 0.995
    precision: Precision = "float32"
    sharding: Sharding = "none"
    compile: str | None = None
    device: str = "cpu"
    seed: int = 0
    workers: int = 1
    log: list[str] = field(default_factory=lambda: ["jsonl"])
    log_every: int = 20
    save_every: int = 200
    sample_every: int = 500
    validate_every: int = 0

    def __post_init__(self) -> None:
        if self.sharding != "none" and self.compile is not None:
            raise ValueError(
                f"expected run.compile=null with run.sharding={self.sharding}, got {self.compile!r}"
            )


@dataclass(frozen=True)
class Portions:
    """How the examples of a run are divided.

    Attributes:
        batch: examples of a step, over all processes.
        micro_batch: examples that a process takes at once.
        accumulate: micro-batches of a process in a step.
        world_size: number of processes.
        steps: of the whole run.
        steps_per_epoch: None where the data has no end.
    """

    batch: int
    micro_batch: int
    accumulate: int
    world_size: int
    steps: int
    steps_per_epoch: int | None

    def is_end_of_epoch(self, step: int) -> bool:
        """Whether `step` steps are a number of whole epochs."""
        return self.steps_per_epoch is not None and step % self.steps_per_epoch == 0

    def describe(self) -> str:
        """Say how the effective batch comes about."""
        return (
            f"{self.batch} examples a step = {self.world_size} processes x {self.accumulate} "
            f"accumulated x {self.micro_batch} at once; {self.steps} steps"
        )


def divide(config: RunConfig, world_size: int, num_examples: int | None) -> Portions:
    """Divide the batch of a step over processes and accumulation.

    Args:
        config: of the run.
        world_size: number of processes.
        num_examples: of an epoch; None = the data has no end.

    Raises:
        ValueError: the batch cannot be divided, epochs are asked of data without end, or a number
            is not positive.
    """
    batch, micro = config.batch, config.micro_batch
    if batch < 1 or batch % world_size:
        raise ValueError(
            f"expected run.batch to be a multiple of the {world_size} processes, got {batch}; "
            "set run.batch or start another number of processes"
        )
    micro = batch // world_size if micro is None else micro
    if micro < 1 or (batch // world_size) % micro:
        raise ValueError(
            f"expected run.micro_batch to divide the {batch // world_size} examples of a process "
            f"in a step, got {micro}"
        )
    if config.epochs is not None and num_examples is None:
        raise ValueError("expected run.steps, got run.epochs for data that has no end")
    if num_examples == 0:
        raise ValueError("expected training data, found no example; look at the configuration")
    per_epoch = None if num_examples is None else math.ceil(num_examples / batch)
    steps = config.steps
    if config.epochs is not None and per_epoch is not None:
        steps = config.epochs * per_epoch
    if steps < 1:
        raise ValueError(f"expected at least one step, got {steps}; set run.steps or run.epochs")
    return Portions(batch, micro, batch // world_size // micro, world_size, steps, per_epoch)
