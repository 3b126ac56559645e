"""Label propagation as a probe: configurations in, rows of a table out; resumable by video.

    <output>/results.jsonl                       a row for every finished configuration
    <output>/<run>/config.json                   the resolved configuration
    <output>/<run>/masks/<video>/<frame>.png     predicted labels
    <output>/<run>/videos/<video>.json           scores of one video
    <output>/<run>/row.json                      the row
    <output>/features/<configurations>/          features that several of them share

Under torchrun every process takes its share of the videos; the last one to finish writes the rows.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import torch
from torch import Tensor
from tqdm import tqdm

from vdit.atomic import replace_when_complete
from vdit.datasets.labelled_videos import LabelledVideo
from vdit.feature_store import rank_and_world_size
from vdit.measure import peak_memory
from vdit.metrics.motion import MotionGroup
from vdit.probing.feature_sources import Backbones
from vdit.probing.fused_features import SharedFeatures, fused_features
from vdit.probing.keypoint_propagation import KeypointPropagation
from vdit.probing.mask_propagation import MaskPropagation
from vdit.probing.paper_tables import find_paper_row
from vdit.probing.propagation_config import (
    LabelPropagationConfig,
    PropagationOptions,
    describe,
)
from vdit.probing.results import RESULTS_FILE, Row, append_row, provenance, read_rows
from vdit.probing.video_clips import Clip, ProbeData, read_clips

TASK = "label_propagation"
"""Name in configurations and rows."""

ROW_FILE = "row.json"


class Truth(Protocol):
    """What the labels of a data set are: masks or key points."""

    main_metrics: tuple[str, ...]
    motion_metric: str

    def run(
        self,
        clip: Clip,
        maps: Iterable[Tensor],
        options: PropagationOptions,
        folder: Path,
        device: str,
    ) -> dict[str, Any]:
        """Predict and score one clip; what is predicted lies in `folder`."""

    def summarize(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Metric -> value over all videos."""

    def by_motion(self, records: Sequence[Mapping[str, Any]], num_groups: int) -> list[MotionGroup]:
        """Scores in groups by motion."""


class PropagationRun:
    """One configuration and what is done of it.

    Args:
        config: the configuration.
        data: the clips that it names.
        folder: of its predictions and scores.

    Raises:
        ValueError: no source has a weight, or an option of the propagation is out of range.
    """

    def __init__(self, config: LabelPropagationConfig, data: ProbeData, folder: Path) -> None:
        self.config, self.data, self.folder = config, data, folder
        self.sources = config.weighted_sources()
        if not self.sources:
            raise ValueError("expected a source of a weight > 0, got none; add one to `sources`")
        config.propagation.settings()
        paper = config.paper
        self.paper_row = find_paper_row(paper.table, data.dataset, paper.method)
        masks = isinstance(data.clips[0].video, LabelledVideo)
        self.truth: Truth = MaskPropagation() if masks else KeypointPropagation()

    @property
    def is_complete(self) -> bool:
        """Whether the scores of all videos are there."""
        return all(self.is_done(clip) for clip in self.data.clips)

    def is_done(self, clip: Clip) -> bool:
        """Tell whether the scores of a clip are there."""
        return self._record_path(clip).is_file()

    def run(self, clip: Clip, maps: Iterable[Tensor], device: str) -> None:
        """Predict and score one clip.

        Args:
            clip: of the data set.
            maps: features [C, h, w] of its frames, one by one.
            device: where similarities are computed.
        """
        begin = time.perf_counter()
        record = self.truth.run(clip, maps, self.config.propagation, self.folder, device)
        cost = {
            "seconds": round(time.perf_counter() - begin, 3),
            "peak_memory_bytes": peak_memory(),
        }
        if device.startswith("cuda"):
            cost["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated(device)
        with replace_when_complete(self._record_path(clip)) as partial:
            partial.write_text(json.dumps({"video": clip.name, **record, **cost}) + "\n")

    def write_config(self) -> None:
        """Keep the resolved configuration beside the results; `vdit probe` takes it."""
        with replace_when_complete(self.folder / "config.json") as partial:
            partial.write_text(json.dumps(self._described(), indent=1) + "\n")

    def row(self) -> Row:
        """Put the scores of all videos together; see `provenance` for the rest of a row."""
        records = [json.loads(self._record_path(clip).read_text()) for clip in self.data.clips]
        frames = sum(record["num_frames"] for record in records)
        seconds = sum(record["seconds"] for record in records)
        groups = self.truth.by_motion(records, self.config.motion_groups)
        peaks = {
            name: max(record[name] for record in records)
            for name in ("peak_memory_bytes", "peak_device_memory_bytes")
            if all(name in record for record in records)
        }
        return {
            "task": TASK,
            "run": self.config.run_key,
            "label": " + ".join(describe(source) for source in self.sources),
            "dataset": self.data.dataset,
            "split": self.data.split,
            "note": self.data.note,
            "num_videos": len(records),
            "num_objects": sum(record["num_objects"] for record in records),
            "num_frames": frames,
            "shown": list(self.truth.main_metrics),
            "unit": "%",
            "metrics": {
                name: None if math.isnan(value) else value  # JSON has no NaN
                for name, value in self.truth.summarize(records).items()
            },
            "motion_metric": self.truth.motion_metric,
            "by_motion": [asdict(group) for group in groups],
            "paper": None if self.paper_row is None else asdict(self.paper_row),
            "seconds": round(seconds, 3),
            "seconds_per_frame": round(seconds / frames, 4),
            **peaks,
            "config": self._described(),
        }

    def finished_row(self, results: Path, facts: Row, is_alone: bool) -> Row:
        """Give the row; the first call writes it, and adds it to the table.

        Args:
            results: the file of all rows.
            facts: of `provenance`, for a new row.
            is_alone: no other process may be about to add the row.
        """
        path = self.folder / ROW_FILE
        row = _read_row(path) or json.loads(json.dumps(self.row() | facts))
        try:
            with path.open("x") as file:  # of several processes one creates it
                file.write(json.dumps(row) + "\n")
        except FileExistsError:
            is_known = any(known.get("run") == row["run"] for known in read_rows(results))
            if is_known or not is_alone:
                return row
            path.write_text(json.dumps(row) + "\n")  # an earlier process was stopped here
        append_row(results, row)
        return row

    def _described(self) -> dict[str, Any]:
        return {"task": TASK, **asdict(self.config)}

    def _record_path(self, clip: Clip) -> Path:
        return self.folder / "videos" / f"{quote(clip.name, safe='')}.json"


def run_label_propagation(
    configs: Sequence[LabelPropagationConfig],
    output: Path,
    device: str = "cpu",
    backbones: Backbones | None = None,
) -> list[Row] | None:
    """Run configurations on one data set, video by video; what is done already is kept.

    Features that several configurations need are computed once, kept on disk as long as a video
    is worked on, and removed.

    Args:
        configs: that differ in anything but the data.
        output: folder of results.
        device: where networks and propagation run.
        backbones: builds the networks; None = `vdit.build.build_backbone`.

    Returns:
        A row a configuration; None while shares of other processes are missing.

    Raises:
        ValueError: the configurations name different data, or one of them does not work out.
    """
    if any(config.data != configs[0].data for config in configs):
        raise ValueError("expected configurations of equal data, got several; run them one by one")
    facts = provenance()  # of the code that runs, whatever happens to the checkout meanwhile
    data = read_clips(configs[0].data)
    device = local_device(device, os.environ)
    backbones = backbones or Backbones(device)
    runs = [
        PropagationRun(config, data, output / f"{data.dataset}-{config.run_key}")
        for config in configs
    ]
    rank, world_size = rank_and_world_size(os.environ)
    shared = SharedFeatures(output / "features" / _joint_key(runs), _shared_passes(runs))
    for run in runs:
        run.write_config()
    with tqdm(unit="video", disable=not sys.stderr.isatty()) as progress:
        for clip in data.clips[rank::world_size]:
            for run in runs:
                if not run.is_done(clip):
                    maps = fused_features(
                        clip, run.sources, backbones, video_id=clip.name, shared=shared
                    )
                    run.run(clip, maps, device)
            shared.remove(clip.name)
            progress.update()
    if not all(run.is_complete for run in runs):
        return None
    shared.remove_all()
    return [run.finished_row(output / RESULTS_FILE, facts, world_size == 1) for run in runs]


def local_device(device: str, environment: Mapping[str, str]) -> str:
    """Give each process of a machine a device of its own, as torchrun numbers them.

    >>> local_device("cuda", {"LOCAL_RANK": "2"}), local_device("cuda", {}), local_device("cpu", {})
    ('cuda:2', 'cuda', 'cpu')
    """
    number = environment.get("LOCAL_RANK")
    return f"{device}:{number}" if device == "cuda" and number is not None else device


def _joint_key(runs: Sequence[PropagationRun]) -> str:
    """Name configurations that run together: no other probe may remove what they share."""
    names = "".join(run.folder.name for run in runs)
    return hashlib.sha256(names.encode()).hexdigest()[:12]


def _shared_passes(runs: Sequence[PropagationRun]) -> dict[str, list[str]]:
    """Find passes that are needed more than once, and the blocks that are taken from each."""
    needed = [source for run in runs for source in run.sources]
    times = Counter(source.pass_key for source in needed)
    blocks: dict[str, list[str]] = {}
    for source in needed:
        known = blocks.setdefault(source.pass_key, [])
        if times[source.pass_key] > 1 and source.block not in known:
            known.append(source.block)
    return {key: names for key, names in blocks.items() if names}


def _read_row(path: Path) -> Row | None:
    """Read a row; None if there is none, or a process stopped while writing it."""
    text = path.read_text() if path.is_file() else ""
    return json.loads(text) if text.endswith("\n") else None
