"""What a stage of training gives to the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from vdit.training.distributed import Processes


class Stage(ABC):
    """One thing to train.

    Attributes:
        modules: what is trained or used; parameters that require gradients are optimized.
        data: what batches are made of. With `num_examples` it is indexed by (epoch, index), else
            by position, every one of which is used once.
        collate: examples -> batch.
        num_examples: examples of an epoch; None = the data has no end.
        leaves_out: a batch may leave trained parameters out of its losses.
    """

    modules: nn.Module
    data: Dataset[Any]
    collate: Callable[[list[Any]], Any]
    num_examples: int | None = None
    leaves_out: bool = False

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Compute loss terms of a batch; "loss" is minimized, all are logged."""

    def count(self, batch: Any) -> float:
        """Say how much a batch weighs among those of a step: what its losses are means over."""
        return 1.0

    def shared_losses(self, batch: Any, count: float) -> dict[str, Tensor]:
        """Compute the share of a batch in the losses of a step.

        Args:
            batch: one of the micro-batches of the step.
            count: sum of `count` over the micro-batches, divided by the number of processes.
        """
        share = self.count(batch) / count
        return {name: value * share for name, value in self.losses(batch).items()}

    @abstractmethod
    def draw_samples(self, folder: Path) -> None:
        """Write pictures or texts to look at into a folder."""

    @abstractmethod
    def export(self) -> None:
        """Write the trained networks where the next stage finds them."""

    def validate(self, processes: Processes) -> dict[str, float]:
        """Score the networks on data that is not trained on.

        Args:
            processes: all of which call this; each may take its share of the data.

        Returns:
            Names and numbers, the same in every process; none where the stage has no such data.
        """
        return {}

    def move(self, device: torch.device) -> None:
        """Bring the networks to a device.

        Raises:
            ValueError: the stage does not run there.
        """
        if device.type != "cpu":
            raise ValueError(f"expected run.device=cpu for this stage, got {device.type}")

    def layers(self) -> Iterable[nn.Module]:
        """Name parts of `modules` whose weights are gathered one by one where they are sharded.

        Each has to run by being called, in every pass of `losses`; others are gathered together.
        """
        return ()

    def compile(self, backend: str) -> None:
        """Compile the networks in place."""
        self.modules.compile(backend=backend)
