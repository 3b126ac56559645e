"""What the next step depends on, in one file: trained weights, never the frozen ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from vdit.atomic import replace_when_complete
from vdit.training.schedule import MovingAverage
from vdit.training.sharding import divided_like, share

CHECKPOINT = "checkpoint.pt"


@dataclass
class TrainingState:
    """Everything of a run that changes, but for the number of its step.

    Random numbers, order of examples and learning rates follow from that number.

    Attributes:
        modules: whose buffers outside of frozen networks are kept.
        parameters: that are trained, by name.
        optimizer: of them.
        scaler: of the loss.
        average: of the parameters, or None.
    """

    modules: nn.Module
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None

    def collect(self, step: int, part: Callable[[Tensor], Tensor] = share) -> dict[str, Any]:
        """Give what `restore` takes, whatever the number of processes was.

        Args:
            step: of the run.
            part: what is taken of a tensor that may be sharded; by default, what is here.
        """
        optimizer = self.optimizer.state_dict()
        return {
            "step": step,
            "parameters": {name: part(value.detach()) for name, value in self.parameters.items()},
            "buffers": self._buffers(),
            "average": None if self.average is None else [part(v) for v in self.average.values],
            "optimizer": optimizer | {"state": _mapped(optimizer["state"], part)},
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: Mapping[str, Any], path: Path) -> int:
        """Take a state over; peak learning rates stay those of the configuration.

        Returns:
            The step.

        Raises:
            ValueError: it belongs to another model or configuration.
        """
        found = {name: tuple(value.shape) for name, value in state["parameters"].items()}
        wanted = {name: tuple(value.shape) for name, value in self.parameters.items()}
        if found != wanted or (state["average"] is None) != (self.average is None):
            raise ValueError(
                f"expected the parameters of this configuration in {path}, found others; "
                "use its own configuration or another output"
            )
        peaks = [group["peak"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(self._divided(state["optimizer"]))
        for group, peak in zip(self.optimizer.param_groups, peaks, strict=True):
            group["peak"] = peak
        self.scaler.load_state_dict(state["scaler"])
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(divided_like(state["parameters"][name], parameter))
            if self.average is not None:
                for value, kept in zip(self.average.values, state["average"], strict=True):
                    value.copy_(divided_like(kept, value))
            for name, buffer in self._buffers().items():
                buffer.copy_(state["buffers"][name])
        return state["step"]

    def _divided(self, optimizer: Mapping[str, Any]) -> dict[str, Any]:
        """Divide a state of the optimizer as its parameters are; they are numbered in order."""
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        states = {
            number: {name: divided_like(v, parameters[number]) for name, v in values.items()}
            for number, values in optimizer["state"].items()
        }
        return {**optimizer, "state": states}

    def _buffers(self) -> dict[str, Tensor]:
        return dict(_learned_buffers(self.modules))


def _mapped(
    states: Mapping[int, Mapping[str, Tensor]], part: Callable[[Tensor], Tensor]
) -> dict[int, dict[str, Tensor]]:
    return {
        number: {name: part(value) for name, value in values.items()}
        for number, values in states.items()
    }


def _learned_buffers(
    module: nn.Module, prefix: str = "", learns: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """Name the buffers outside of frozen networks, such as running means."""
    parameters = list(module.parameters())
    learns = any(p.requires_grad for p in parameters) if parameters else learns
    if learns:
        for name, buffer in module.named_buffers(recurse=False):
            yield f"{prefix}{name}", buffer
    for name, child in module.named_children():
        yield from _learned_buffers(child, f"{prefix}{name}.", learns)


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a state; the file appears when it is complete, in place of an older one."""
    with replace_when_complete(path) as temporary:
        torch.save(dict(state), temporary)


def read_state(folder: Path, device: torch.device) -> tuple[dict[str, Any], Path]:
    """Read the checkpoint of a run.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"expected a checkpoint at {path}, found none; train without --resume")
    try:
        return torch.load(path, weights_only=True, map_location=device), path
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read: {reason}; remove it and train anew") from error


def expect_examples(state: Mapping[str, Any], path: Path, wanted: Mapping[str, int | None]) -> None:
    """Check that the step of a checkpoint stands for the examples of this configuration.

    Args:
        state: of the checkpoint; old ones do not say.
        path: of the checkpoint.
        wanted: what the order of examples follows from, by name.

    Raises:
        ValueError: one of them changed.
    """
    for name, found in state.get("examples", wanted).items():
        if found != wanted.get(name):
            raise ValueError(
                f"{path} was trained with {name} {found}, expected {wanted.get(name)} as "
                "configured; resume with the same, or train into another output"
            )


@contextmanager
def averaged(average: MovingAverage | None) -> Iterator[None]:
    """Put averaged weights in place of the last ones, if there is an average."""
    if average is None:
        yield
        return
    average.swap()
    try:
        yield
    finally:
        average.swap()
