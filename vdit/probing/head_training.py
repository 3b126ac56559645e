"""One head of a learned probe: trained on a fold with a seed, then scored; resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vdit.atomic import replace_when_complete
from vdit.datasets.annotation_files import read_json
from vdit.probing.backbone_training import BackboneTraining
from vdit.probing.clip_features import (
    ClipFrames,
    HeldFeatures,
    KeptFeatures,
    RandomFeatures,
    shape_of,
)
from vdit.probing.feature_sources import Backbones
from vdit.probing.learned_config import LearnedProbeConfig
from vdit.probing.learned_folds import FoldExamples
from vdit.probing.live_features import LiveFeatures
from vdit.probing.probe_stage import Inputs, ProbeStage
from vdit.probing.probe_task import DrawingTask, FeatureShape, ProbeTask
from vdit.probing.step_costs import StepCost, compare_costs, measure_steps
from vdit.training.distributed import Processes
from vdit.training.engine import CHECKPOINT, Trainer
from vdit.training.run_config import RunConfig, divide

SCORES_FILE = "scores.json"
PICTURES_FOLDER = "pictures"
HELD_BYTES = 1 << 30
"""Features of a training that are held in memory; those beyond are read in every epoch."""

Scores = dict[str, Any]


@dataclass(frozen=True)
class HeadTraining:
    """How heads of one configuration are trained.

    Attributes:
        config: of the probe.
        task: of the probe.
        kept: features that were computed before, where the configuration keeps them.
        backbones: builds the networks.
        processes: that share the batches.
    """

    config: LearnedProbeConfig
    task: ProbeTask
    kept: KeptFeatures
    backbones: Backbones
    processes: Processes

    def __post_init__(self) -> None:
        if self.config.pictures and not isinstance(self.task, DrawingTask):
            raise ValueError(
                f"expected pictures=0, got {self.config.pictures}: this task draws nothing"
            )
        if self.config.place_bases and self.task.is_pooled:
            raise ValueError(
                f"expected place_bases=0, got {self.config.place_bases}: this head sees no cells"
            )

    def scores(self, fold: FoldExamples, seed: int, folder: Path) -> Scores:
        """Train a head and score it; what was done before is kept.

        Args:
            fold: the clips.
            seed: of the head and its batches.
            folder: gets the checkpoint, metrics, `head.safetensors` and, at the end, `scores.json`
                and pictures, where the configuration wants them.

        Raises:
            ValueError: a loss or a gradient is not finite, or features cannot be read.
        """
        run = replace(self.config.run, seed=seed)

        def train() -> Scores:
            stage = self._stage(fold, seed, folder)
            scores = self._train(stage, run, fold)
            if self.processes.is_first:
                for views in fold.test[: self.config.pictures]:
                    stage.draw(views, folder / PICTURES_FOLDER)
            return scores

        return self._once(folder, train)

    def control(self, fold: FoldExamples, folder: Path) -> Scores:
        """Train the head on random numbers: `scores` of it should be those of chance."""
        steps, seed = self.config.control_steps, self.config.seeds[0]
        warmup = min(self.config.run.warmup, steps // 10)
        run = replace(self.config.run, seed=seed, steps=steps, epochs=None, warmup=warmup)

        def train() -> Scores:
            num_frames = len(fold.train[0].view.indices)
            shape = self._shape(fold, self._live())
            inputs = RandomFeatures(shape, seed, num_frames)
            head = self._head(shape, seed)
            bases = self.config.place_bases
            stage = ProbeStage(self.task, head, inputs, fold.train, None, folder, bases)
            return self._train(stage, run, fold)

        return self._once(folder, train)

    def _once(self, folder: Path, train: Callable[[], Scores]) -> Scores:
        """Read the scores of an earlier run, or train and write them."""
        path = folder / SCORES_FILE
        if path.is_file():
            return read_json(path, dict)
        scores = train()
        if self.processes.is_first:
            with replace_when_complete(path) as partial:
                partial.write_text(json.dumps(scores) + "\n")
        return scores

    def _stage(self, fold: FoldExamples, seed: int, folder: Path) -> ProbeStage:
        live = self._live()
        shape = self._shape(fold, live)
        inputs: Inputs = self._held() if live is None else self._frames(live)
        bases = self.config.place_bases
        head = self._head(shape, seed)
        return ProbeStage(self.task, head, inputs, fold.train, live, folder, bases)

    def _head(self, shape: FeatureShape, seed: int) -> nn.Module:
        """Make a head for features of a shape, with the channels that tell their places."""
        channels = shape.channels + 4 * self.config.place_bases
        torch.manual_seed(seed)
        return self.task.build_head(replace(shape, channels=channels))

    def _live(self) -> LiveFeatures | None:
        """Give a frozen backbone that computes features in every step, if one has to."""
        if self.config.features.cached:
            return None
        backbone = self.backbones.network(self.config.source, is_new=self._learns)
        if not self._learns:
            backbone.use_checkpointing(self.config.finetuning.checkpointing)
        return LiveFeatures(backbone, self.config.source)

    @property
    def _learns(self) -> bool:
        return self.config.finetuning.mode != "frozen"

    def _let_learn(self, stage: ProbeStage, live: LiveFeatures, run: RunConfig) -> StepCost:
        """Let the backbone of a stage learn; what a step costs while it is frozen still."""
        micro = divide(run, self.processes.world_size, stage.num_examples).micro_batch
        alone = replace(
            run, batch=micro, micro_batch=micro, groups=[], sharding="none", compile=None
        )
        twin = Trainer(stage, alone, stage.folder, Processes(device=self.processes.device))
        cost = measure_steps(twin)
        torch.manual_seed(run.seed)
        stage.learning = BackboneTraining(
            live.backbone,
            self.config.finetuning,
            self.config.source.block,
            lambda: live(stage.inputs.read(stage.data.examples[0])[None].to(stage.device)),
            remembers=self.processes.is_first,
        )
        return cost

    def _held(self) -> HeldFeatures:
        """Hold features for one training; each of its workers holds its own."""
        return HeldFeatures(self.kept, HELD_BYTES // max(self.config.run.workers, 1))

    def _frames(self, live: LiveFeatures) -> ClipFrames:
        return ClipFrames(self.config.source, live.backbone.size_multiple)

    def _shape(self, fold: FoldExamples, live: LiveFeatures | None) -> FeatureShape:
        """Look at the features of one clip."""
        if live is None:
            return self.kept.shape(fold.train[0])
        live.to(self.processes.device)
        inputs = self._frames(live).read(fold.train[0])[None].to(self.processes.device)
        with torch.no_grad():
            return shape_of(live(inputs), live.spans(inputs.shape[1]))

    def _train(self, stage: ProbeStage, run: RunConfig, fold: FoldExamples) -> Scores:
        """Train to the end and score the videos of the test, shared out over the processes."""
        frozen, cost = None, None
        if stage.live is not None and self._learns:
            frozen = self._let_learn(stage, stage.live, run)
        trainer = Trainer(stage, run, stage.folder, self.processes)
        if frozen is not None:
            cost = measure_steps(trainer)
        if (stage.folder / CHECKPOINT).is_file():
            trainer.resume()
        first_step, begin = trainer.step, time.perf_counter()
        try:
            is_complete = trainer.run()
        except FloatingPointError as error:
            raise ValueError(str(error)) from error
        if not is_complete:
            raise KeyboardInterrupt  # a SIGTERM; the next run resumes
        seconds = (time.perf_counter() - begin) / max(trainer.step - first_step, 1)
        mine = fold.test[self.processes.rank :: self.processes.world_size]
        with trainer.looking():
            shares = self.processes.gather([stage.score(views) for views in mine])
            learning = stage.learning if self.processes.is_first else None
            moved = None if learning is None else learning.describe()
        if moved is not None and frozen is not None and cost is not None:
            moved |= compare_costs(cost, frozen)
        return {
            "metrics": self.task.summarize([record for share in shares for record in share]),
            "steps": trainer.portions.steps,
            "seconds_per_step": round(seconds, 5),
            "head_parameters": sum(each.numel() for each in stage.head.parameters()),
            "finetuning": moved,
        }
