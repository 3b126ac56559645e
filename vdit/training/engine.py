"""The training loop: any stage, resumable at any step, bit for bit on a CPU.

A step depends on the weights, the optimizer and the step's number only: data, noise and dropout are
drawn from generators that the number seeds.
"""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vdit.atomic import replace_when_complete
from vdit.training.schedule import MovingAverage, cosine_rate

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class RunConfig:
    """How long and how fast a stage trains.

    Attributes:
        steps: optimizer steps in all.
        batch: examples of a step.
        rate: peak learning rate of AdamW.
        warmup: steps of linear rise.
        decay: weight decay.
        clip: largest norm of the gradient; longer ones are scaled down.
        average: decay of the moving average that is exported.
        seed: of weights, data and noise.
        workers: processes that make examples.
        log_every: steps between lines of `metrics.jsonl`.
        save_every: steps between checkpoints.
        sample_every: steps between samples to look at.
    """

    steps: int = 1000
    batch: int = 8
    rate: float = 1e-3
    warmup: int = 50
    decay: float = 0.01
    clip: float = 1.0
    average: float = 0.995
    seed: int = 0
    workers: int = 1
    log_every: int = 20
    save_every: int = 200
    sample_every: int = 500


class Stage(ABC):
    """One thing to train.

    Attributes:
        modules: what is trained or used; parameters that require gradients are optimized.
        data: index -> example; every index is used once.
        collate: examples -> batch.
    """

    modules: nn.Module
    data: Dataset[Any]
    collate: Callable[[list[Any]], Any]

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Compute loss terms of a batch; "loss" is minimized, all are logged."""

    @abstractmethod
    def draw_samples(self, folder: Path) -> None:
        """Write pictures or texts to look at into a folder."""

    @abstractmethod
    def export(self) -> None:
        """Write the trained networks where the next stage finds them."""


class Trainer:
    """Run a stage in pieces.

    Args:
        stage: what to train.
        config: how.
        folder: gets `checkpoint.pt`, `metrics.jsonl` and `samples/`.
    """

    def __init__(self, stage: Stage, config: RunConfig, folder: Path) -> None:
        self.stage = stage
        self.config = config
        self.folder = folder
        self.step = 0
        self.parameters = [p for p in stage.modules.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.rate, weight_decay=config.decay, betas=(0.9, 0.99)
        )
        self.average = MovingAverage(self.parameters, config.average)

    def run(self, minutes: float | None = None) -> bool:
        """Train to the end, or for some minutes; True = the end was reached and exported."""
        start = time.perf_counter()
        self.stage.modules.train()
        for batch in self._batches():
            began = time.perf_counter()
            losses = self._update(batch)
            self.step += 1
            if self.step % self.config.log_every == 0 or self.step == self.config.steps:
                self._log(losses, time.perf_counter() - began)
            if self.step % self.config.save_every == 0:
                self.save()
            if self.step % self.config.sample_every == 0 or self.step == self.config.steps:
                self._with_average(lambda: self.stage.draw_samples(self._sample_folder()))
            if minutes is not None and time.perf_counter() - start > 60 * minutes:
                break
        self.save()
        if self.step < self.config.steps:
            return False
        self._with_average(self.stage.export)
        return True

    def _batches(self) -> Iterator[Any]:
        first, last = self.step * self.config.batch, self.config.steps * self.config.batch
        loader: DataLoader[Any] = DataLoader(
            self.stage.data,
            batch_size=self.config.batch,
            sampler=range(first, last),
            num_workers=self.config.workers,
            collate_fn=self.stage.collate,
        )
        return iter(loader)

    def _update(self, batch: Any) -> dict[str, float]:
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        share = cosine_rate(self.step, self.config.steps, self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * share
        losses = self.stage.losses(batch)
        self.optimizer.zero_grad()
        losses["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the gradient is not finite at step {self.step}; lower the rate and resume"
            )
        self.optimizer.step()
        self.average.update(self.step)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _with_average(self, act: Callable[[], None]) -> None:
        """Do something with averaged weights in eval mode."""
        self.average.swap()
        self.stage.modules.eval()
        with torch.no_grad():
            act()
        self.stage.modules.train()
        self.average.swap()

    def _sample_folder(self) -> Path:
        folder = self.folder / "samples" / f"{self.step:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _log(self, losses: dict[str, float], seconds: float) -> None:
        line = {"step": self.step, **{k: round(v, 5) for k, v in losses.items()}}
        line["seconds"] = round(seconds, 3)
        logger.info("%s", json.dumps(line))
        with (self.folder / METRICS).open("a") as file:
            file.write(json.dumps(line) + "\n")

    # ---- resume --------------------------------------------------------------------------------

    def save(self) -> None:
        """Write everything that the next step depends on."""
        state = {
            "step": self.step,
            "parameters": [parameter.detach() for parameter in self.parameters],
            "buffers": dict(self.stage.modules.named_buffers()),
            "average": self.average.values,
            "optimizer": self.optimizer.state_dict(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with replace_when_complete(self.folder / CHECKPOINT) as temporary:
            torch.save(state, temporary)

    def resume(self) -> None:
        """Go on from `checkpoint.pt`; lines of `metrics.jsonl` after it are dropped.

        Raises:
            ValueError: there is no checkpoint, or it belongs to another model.
        """
        path = self.folder / CHECKPOINT
        if not path.is_file():
            raise ValueError(f"expected a checkpoint at {path}, found none; train without --resume")
        state = torch.load(path, weights_only=True)
        shapes = [tuple(value.shape) for value in state["parameters"]]
        if shapes != [tuple(parameter.shape) for parameter in self.parameters]:
            raise ValueError(
                f"expected the parameters of this configuration in {path}, found others; "
                "use its own configuration or another output"
            )
        with torch.no_grad():
            for parameter, value in zip(self.parameters, state["parameters"], strict=True):
                parameter.copy_(value)
            for value, kept in zip(self.average.values, state["average"], strict=True):
                value.copy_(kept)
            for name, buffer in self.stage.modules.named_buffers():
                buffer.copy_(state["buffers"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        metrics = self.folder / METRICS
        if metrics.is_file():
            lines = [line for line in metrics.read_text().splitlines() if line]
            kept_lines = [line for line in lines if json.loads(line)["step"] <= self.step]
            metrics.write_text("".join(line + "\n" for line in kept_lines))
