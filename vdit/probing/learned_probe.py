"""Learned probes: configurations in, rows of a table out; resumable by head and by clip.

    <output>/results.jsonl                        a row for every finished configuration
    <output>/<run>/config.json                    the resolved configuration
    <output>/<run>/<fold>-<seed>/                 training and scores of one head
    <output>/<run>/control/                       the same head on random numbers
    <output>/<run>/row.json                       the row
    <output>/features/<data>/<pass>/<clip>.safetensors    features, shared by configurations

Under torchrun every process computes its share of the features; then the processes train heads side
by side, or all of them one head.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from tqdm import tqdm

from vdit.atomic import replace_when_complete
from vdit.datasets.annotation_files import read_json
from vdit.datasets.videos import VideoDataset
from vdit.measure import peak_memory
from vdit.probing.backbone_training import mean_over_heads
from vdit.probing.clip_features import Example, KeptFeatures
from vdit.probing.feature_sources import Backbones
from vdit.probing.head_metrics import (
    Metrics,
    blind_metrics,
    finite,
    mean_metrics,
    standard_errors,
)
from vdit.probing.head_training import HeadTraining, Scores
from vdit.probing.label_propagation import ROW_FILE
from vdit.probing.learned_config import LearnedProbeConfig
from vdit.probing.learned_folds import LearnedSplits
from vdit.probing.paper_tables import find_paper_row
from vdit.probing.probe_task import ProbeTask, SeesFrames
from vdit.probing.propagation_config import describe
from vdit.probing.results import RESULTS_FILE, Row, append_row, provenance, read_rows
from vdit.training.distributed import Processes, join_processes
from vdit.training.run_config import divide

BuildTask = Callable[[Any, VideoDataset[Any]], ProbeTask]

logger = logging.getLogger(__name__)


def run_learned_probes(
    name: str,
    build_task: BuildTask,
    configs: Sequence[LearnedProbeConfig],
    output: Path,
    device: str = "cpu",
    backbones: Backbones | None = None,
) -> list[Row] | None:
    """Train and score the heads of configurations on one data set; what is done is kept.

    Features of a clip that several configurations need are computed once.

    Args:
        name: of the task.
        build_task: (configuration, one of its splits) -> task.
        configs: that differ in anything but the data.
        output: folder of results.
        device: where networks and heads run.
        backbones: builds the networks; None = `vdit.build.build_backbone`.

    Returns:
        A row a configuration; None in all processes but the first.

    Raises:
        ValueError: the configurations name different data, or one of them does not work out.
    """
    if any(config.data != configs[0].data for config in configs):
        raise ValueError("expected configurations of equal data, got several; run them one by one")
    facts = provenance()
    splits = LearnedSplits(configs[0].data)
    with _join(device) as processes:
        networks = backbones or Backbones(str(processes.device))
        blocks = _blocks_by_pass(configs)
        runs = [
            _LearnedRun(name, build_task, config, splits, output, networks, blocks)
            for config in configs
        ]
        for run in runs:
            run.prepare(processes)
        processes.sum(0.0)  # all features are there
        units = [(run, fold, seed) for run in runs for fold, seed in run.units()]
        alone = Processes(device=processes.device)
        for number, (run, fold, seed) in enumerate(units):
            if run.config.share == "batches":
                run.train(fold, seed, processes)
            elif number % processes.world_size == processes.rank:
                run.train(fold, seed, alone)
        processes.sum(0.0)  # all scores are there
        if not processes.is_first:
            return None
        rows = [run.finished_row(output / RESULTS_FILE, facts) for run in runs]
        for run in runs:
            run.remove_features()
        return rows


class _LearnedRun:
    """One configuration and what is done of it."""

    def __init__(
        self,
        name: str,
        build_task: BuildTask,
        config: LearnedProbeConfig,
        splits: LearnedSplits,
        output: Path,
        backbones: Backbones,
        blocks: Mapping[str, Sequence[str]],
    ) -> None:
        paper = config.paper
        self.name, self.config, self.splits = name, config, splits
        self.backbones = backbones
        self.paper_row = find_paper_row(paper.table, config.data.dataset, paper.method)
        self.task = build_task(config, splits.first)
        self.folds = splits.folds(self.task)
        self.folder = output / f"{config.data.dataset}-{name}-{config.run_key}"
        self.kept = KeptFeatures(
            backbones,
            config.source,
            blocks[config.source.pass_key],
            output / "features" / config.data.key,
            config.features.dtype,
            self.task.is_pooled,
            self.task.frames_seen if isinstance(self.task, SeesFrames) else None,
        )

    # ---- work ----------------------------------------------------------------------------------

    def prepare(self, processes: Processes) -> None:
        """Compute this process's share of the features, chance and the control."""
        if (self.folder / ROW_FILE).is_file():
            return
        if processes.is_first:
            with replace_when_complete(self.folder / "config.json") as partial:
                partial.write_text(json.dumps(self._described(), indent=1) + "\n")
        self._check_training(processes)
        if self.config.features.cached:
            mine = self._clips()[processes.rank :: processes.world_size]
            self.kept.compute(tqdm(mine, unit="clip", disable=None, desc=self._label()))
        processes.sum(0.0)
        if processes.is_first:
            logger.info("%s: chance is %s", self._label(), self._blind())
            if self.config.control_steps:
                control = self._training(Processes(device=processes.device)).control(
                    self.folds[0], self.folder / "control"
                )
                logger.info("%s: on random numbers %s", self._label(), control["metrics"])

    def _check_training(self, processes: Processes) -> None:
        """Raise what the training would raise of the configuration, before hours of features."""
        sharing = processes.world_size if self.config.share == "batches" else 1
        self._training(processes)
        for fold in self.folds:
            divide(self.config.run, sharing, len(fold.train))

    def units(self) -> list[tuple[int, int]]:
        """Heads that are trained: number of the fold, seed."""
        return [(k, seed) for k in range(len(self.folds)) for seed in self.config.seeds]

    def train(self, fold: int, seed: int, processes: Processes) -> Scores:
        """Train and score one head, or read its scores."""
        folder = self.folder / f"fold{fold}-seed{seed}"
        return self._training(processes).scores(self.folds[fold], seed, folder)

    def remove_features(self) -> None:
        """Delete the features, unless they are to be kept."""
        if not self.config.features.keep:
            self.kept.remove(self._clips())

    def _training(self, processes: Processes) -> HeadTraining:
        return HeadTraining(self.config, self.task, self.kept, self.backbones, processes)

    def _clips(self) -> list[Example]:
        """All clips once."""
        return list(
            {example.key: example for fold in self.folds for example in fold.all()}.values()
        )

    def _blind(self) -> Metrics:
        """Score answers that see no features; mean over folds."""
        path = self.folder / "chance.json"
        if not path.is_file():
            metrics = mean_metrics([blind_metrics(self.task, fold) for fold in self.folds])
            with replace_when_complete(path) as partial:
                partial.write_text(json.dumps(metrics) + "\n")
        return read_json(path, dict)

    # ---- the row -------------------------------------------------------------------------------

    def finished_row(self, results: Path, facts: Row) -> Row:
        """Give the row; the first call writes it and adds it to the table."""
        path = self.folder / ROW_FILE
        if path.is_file():
            return read_json(path, dict)
        row = json.loads(json.dumps(self._row() | facts))
        name = (row["task"], row["run"])
        known = [each for each in read_rows(results) if (each.get("task"), each.get("run")) == name]
        if known:  # an earlier process was stopped here
            row = known[-1]
        else:
            append_row(results, row)
        with replace_when_complete(path) as partial:
            partial.write_text(json.dumps(row) + "\n")
        return row

    def _row(self) -> Row:
        config, data = self.config, self.config.data
        alone = Processes()
        heads = [(k, seed, self.train(k, seed, alone)) for k, seed in self.units()]
        by_seed = [
            mean_metrics([scores["metrics"] for _, own, scores in heads if own == seed])
            for seed in config.seeds
        ]
        tested = [example for fold in self.folds for views in fold.test for example in views]
        control = None
        if config.control_steps:
            control = self._training(alone).control(self.folds[0], self.folder / "control")
        clips = self._clips()
        num_frames = sum(len(example.view.indices) for example in clips)
        seconds = self.kept.seconds(clips) if config.features.cached else math.nan
        return {
            "task": self.name,
            "run": config.run_key,
            "label": self._label(),
            "dataset": data.dataset,
            "split": data.split,
            "note": self._note(),
            "num_videos": len({(each.video.split, each.video.name) for each in tested}),
            "num_training_clips": len(self.folds[0].train),
            "num_frames": num_frames,
            "shown": list(self.task.metrics),
            "more_is_better": dict(self.task.metrics),
            "unit": self.task.unit,
            "metrics": finite(mean_metrics(by_seed)),
            "standard_errors": finite(standard_errors(by_seed)),
            "seeds": [finite(each) for each in by_seed],
            "chance": finite(self._blind()),
            "control": None if control is None else finite(control["metrics"]),
            "paper": None if self.paper_row is None else asdict(self.paper_row),
            "seconds_per_frame": None if math.isnan(seconds) else round(seconds / num_frames, 5),
            "seconds_per_step": mean(scores["seconds_per_step"] for _, _, scores in heads),
            "head_parameters": heads[0][2]["head_parameters"],
            "steps": heads[0][2]["steps"],
            "finetuning": mean_over_heads([scores["finetuning"] for _, _, scores in heads]),
            "peak_memory_bytes": peak_memory(),
            **_device_memory(self.backbones.device),
            "config": self._described(),
        }

    def _label(self) -> str:
        return describe(self.config.source)

    def _note(self) -> str:
        notes = [self.splits.note]
        if self.config.features.cached and self.config.source.timestep is not None:
            notes.append("the noise of a clip is the same in all epochs")
        return "; ".join(note for note in notes if note)

    def _described(self) -> dict[str, Any]:
        return {"task": self.name, **asdict(self.config)}


def _blocks_by_pass(configs: Sequence[LearnedProbeConfig]) -> dict[str, list[str]]:
    blocks: dict[str, list[str]] = {}
    for config in configs:
        known = blocks.setdefault(config.source.pass_key, [])
        if config.source.block not in known:
            known.append(config.source.block)
    return blocks


def _device_memory(device: str) -> dict[str, int]:
    if not device.startswith("cuda"):
        return {}
    return {"peak_device_memory_bytes": torch.cuda.max_memory_allocated(device)}


def _join(device: str) -> AbstractContextManager[Processes]:
    """Join the processes of torchrun, or be alone on any device."""
    if "RANK" in os.environ:
        return join_processes(device)
    return nullcontext(Processes(device=torch.device(device)))
