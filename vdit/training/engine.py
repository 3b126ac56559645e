"""The training loop: any stage, on any number of processes, resumable bit for bit on a CPU.

A step depends on the weights, the optimizer and the step's number only: data, noise and dropout are
drawn from generators that the number seeds.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vdit.training.batches import Batches, load_batches, noise_seed, number_of
from vdit.training.checkpoints import (
    CHECKPOINT,
    TrainingState,
    averaged,
    expect_examples,
    read_state,
    write_state,
)
from vdit.training.distributed import Processes, accumulating
from vdit.training.optimization import Updater, build_optimizer, set_rates
from vdit.training.run_config import RunConfig, divide
from vdit.training.run_folder import plain, save_failure
from vdit.training.scalars import METRICS, ScalarLog, open_logs
from vdit.training.schedule import MovingAverage
from vdit.training.sharding import gathered, is_sharded, whole_in_first
from vdit.training.stage import Stage
from vdit.training.termination import noting_termination

__all__ = ["CHECKPOINT", "METRICS", "RunConfig", "Stage", "Trainer"]

logger = logging.getLogger(__name__)


class Trainer:
    """Run a stage in pieces.

    Args:
        stage: what to train.
        config: how.
        folder: gets `checkpoint.pt`, `metrics.jsonl` and `samples/`.
        processes: of the run; None = this one alone.
    """

    def __init__(
        self, stage: Stage, config: RunConfig, folder: Path, processes: Processes | None = None
    ) -> None:
        self.stage = stage
        self.config = config
        self.folder = folder
        self.processes = processes or Processes()
        self.portions = divide(config, self.processes.world_size, stage.num_examples)
        self.step = 0
        self.device = self.processes.device
        stage.move(self.device)
        self.network = self._distribute(stage)
        trained = {n: p for n, p in stage.modules.named_parameters() if p.requires_grad}
        self.parameters = list(trained.values())
        self.optimizer = build_optimizer(trained, config)
        scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self.updater = Updater(self.optimizer, config.clip, scaler)
        self.average = (
            None if config.average is None else MovingAverage(self.parameters, config.average)
        )
        self.state = TrainingState(stage.modules, trained, self.optimizer, scaler, self.average)
        if config.compile is not None:
            stage.compile(config.compile)

    def run(self, minutes: float | None = None) -> bool:
        """Train to the end, or for some minutes, or up to a SIGTERM; all save where they stop.

        Returns:
            True = the end was reached. The networks are exported there, and after every epoch.

        Raises:
            FloatingPointError: a loss or a gradient is not finite; the sentence names the file
                with the batch and the state.
        """
        start = time.perf_counter()
        self.stage.modules.train()
        logs = self._open_logs()
        if self.processes.is_first:
            logger.info("%s", self.portions.describe())
        try:
            with noting_termination() as is_terminated:
                for batches in self._batches():
                    began = time.perf_counter()
                    losses = self._update(batches)
                    self.step += 1
                    self._report(losses, time.perf_counter() - began, logs)
                    late = minutes is not None and time.perf_counter() - start > 60 * minutes
                    if self.processes.sum(late or is_terminated())[0]:
                        break
        finally:
            for log in logs:
                log.close()
        self.save()
        if self.step < self.portions.steps:
            return False
        self._export()
        return True

    def _batches(self) -> Iterator[list[Any]]:
        """Give all micro-batches of a step at once: their counts are needed before the first."""
        keys = Batches(
            self.portions,
            self.stage.num_examples,
            self.config.seed,
            self.processes.rank,
            self.step,
        )
        return load_batches(self.stage.data, self.stage.collate, keys, self.config.workers)

    def _distribute(self, stage: Stage) -> nn.Module:
        if self.config.sharding == "full":
            return self.processes.shard(_Losses(stage), stage.layers())
        return self.processes.average_gradients(_Losses(stage), stage.leaves_out)

    # ---- one step ------------------------------------------------------------------------------

    def _update(self, batches: list[Any]) -> dict[str, float]:
        """Do a step; the mean losses of this process."""
        set_rates(self.optimizer, self.step, self.config, self.portions)
        counts = [self.stage.count(batch) for batch in batches]
        count = self.processes.sum(sum(counts))[0] / self.processes.world_size
        self.optimizer.zero_grad()
        losses: dict[str, float] = {}
        try:
            for turn, batch in enumerate(batches):
                for name, value in self._accumulate(turn, batch, count).items():
                    losses[name] = losses.get(name, 0.0) + value
            if not math.isfinite(self.processes.sum(losses["loss"])[0]):
                raise FloatingPointError("the loss is not finite")
            losses["norm"] = float(self.updater.step(self.parameters))
        except FloatingPointError as error:
            raise self._failure(error, batches, losses) from error
        if self.average is not None:
            self.average.update(self.step)
        return losses

    def _accumulate(self, turn: int, batch: Any, count: float) -> dict[str, float]:
        """Add the gradients of a micro-batch; processes exchange them after the last one."""
        number = number_of(self.portions, self.processes.rank, turn)
        torch.manual_seed(noise_seed(self.config.seed, self.step, number))
        is_last = turn == self.portions.accumulate - 1
        with accumulating(self.network, is_last):
            with self.autocast():
                losses = self.network(batch, count)
            self.updater.backward(losses["loss"])
        values = torch.stack([value.detach().float() for value in losses.values()]).tolist()
        return dict(zip(losses, values, strict=True))

    def autocast(self) -> torch.autocast:
        """Give the context of a forward pass."""
        dtype = getattr(torch, self.config.precision)
        enabled = dtype != torch.float32
        return torch.autocast(
            self.device.type,
            dtype if enabled else None,
            enabled=enabled,
            cache_enabled=not is_sharded(self.network),  # casts would outlive gathered weights
        )

    def _failure(
        self, error: FloatingPointError, batches: list[Any], losses: Mapping[str, float]
    ) -> FloatingPointError:
        content = self.state.collect(self.step) | {"batches": batches, "losses": dict(losses)}
        path = save_failure(self.folder, self.step, self.processes.rank, content)
        return FloatingPointError(
            f"step {self.step}: {error}; batch and state are in {path}; look at them, or lower "
            "the learning rate and resume"
        )

    # ---- what is seen of it --------------------------------------------------------------------

    def _report(self, losses: dict[str, float], seconds: float, logs: list[ScalarLog]) -> None:
        """Log, save, draw and validate where the step is one for it."""
        config, step = self.config, self.step
        is_end = step == self.portions.steps
        end_of_epoch = self.portions.is_end_of_epoch(step)
        if step % config.log_every == 0 or is_end or end_of_epoch:
            self._log(losses, seconds, logs)
        if step % config.save_every == 0 or (end_of_epoch and not is_end):
            self.save()
        if step % config.sample_every == 0 or is_end:
            with self.looking():
                if self.processes.is_first:
                    self.stage.draw_samples(self._sample_folder())
        if step % config.validate_every == 0 if config.validate_every else end_of_epoch:
            self._validate(logs)
        if end_of_epoch and not is_end:
            self._export()

    def _log(self, losses: dict[str, float], seconds: float, logs: list[ScalarLog]) -> None:
        """Write the mean over processes."""
        everywhere = self.processes.gather(losses)
        if not self.processes.is_first:
            return
        means: dict[str, float] = {}
        for found in everywhere:
            for name, value in found.items():
                means[name] = means.get(name, 0.0) + value / len(everywhere)
        means["rate"] = max(group["lr"] for group in self.optimizer.param_groups)
        if self.portions.steps_per_epoch is not None:
            means["epoch"] = self.step / self.portions.steps_per_epoch
        costs = {"seconds": seconds}
        if self.device.type == "cuda":
            costs["memory_bytes"] = torch.cuda.max_memory_allocated(self.device)
        for log in logs:
            log.write(self.step, means | costs)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        left = (self.portions.steps - self.step) * seconds
        logger.info(
            "step %d/%d  %s  %.2f s a step, about %s left",
            self.step,
            self.portions.steps,
            shown,
            seconds,
            time.strftime("%H:%M:%S", time.gmtime(left)),
        )

    def _validate(self, logs: list[ScalarLog]) -> None:
        with self.looking():
            scores = self.stage.validate(self.processes)
        if scores and self.processes.is_first:
            values = {f"validation/{name}": value for name, value in scores.items()}
            for log in logs:
                log.write(self.step, values)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
            logger.info("step %d/%d  validation: %s", self.step, self.portions.steps, shown)

    def _export(self) -> None:
        """Write the networks; nobody goes on before they are written."""
        with self.looking():
            if self.processes.is_first:
                self.stage.export()
        self.processes.sum(0.0)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Averaged weights, all of them in every process, eval mode, no gradients; for all."""
        with torch.no_grad(), averaged(self.average), gathered(self.network), self.autocast():
            self.stage.modules.eval()
            yield
            self.stage.modules.train()

    def _sample_folder(self) -> Path:
        folder = self.folder / "samples" / f"{self.step:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _open_logs(self) -> list[ScalarLog]:
        if not self.processes.is_first:
            return []
        self.folder.mkdir(parents=True, exist_ok=True)
        return open_logs(self.config.log, self.folder, self.step, plain(self.config))

    # ---- resume --------------------------------------------------------------------------------

    def save(self) -> None:
        """Write everything that the next step depends on, from the first process."""
        state = self.state.collect(self.step, whole_in_first) | {"examples": self._examples()}
        if self.processes.is_first:
            write_state(state, self.folder / CHECKPOINT)

    def _examples(self) -> dict[str, int | None]:
        """Say what the step's number stands for among the examples."""
        batch, seed = self.portions.batch, self.config.seed
        return {"batch": batch, "seed": seed, "number of examples": self.stage.num_examples}

    def resume(self) -> None:
        """Go on from `checkpoint.pt`; lines of `metrics.jsonl` after it are dropped.

        Raises:
            ValueError: there is no checkpoint, it belongs to another model, or its step stands for
                other examples: batch, seed or number of examples changed.
        """
        place = torch.device("cpu") if is_sharded(self.network) else self.device
        state, path = read_state(self.folder, place)
        expect_examples(state, path, self._examples())
        self.step = self.state.restore(state, path)


class _Losses(nn.Module):
    """The losses of a stage as a module, which DistributedDataParallel can wrap."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.networks = stage.modules

    def forward(self, batch: Any, count: float) -> dict[str, Tensor]:
        return self.stage.shared_losses(batch, count)
