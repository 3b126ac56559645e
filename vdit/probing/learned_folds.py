"""What each head of a learned probe is trained on and tested on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.datasets.videos import VideoDataset
from vdit.probing.clip_features import Example, list_examples
from vdit.probing.learned_config import Fold, LearnedData
from vdit.probing.probe_task import ProbeTask


@dataclass(frozen=True)
class FoldExamples:
    """Clips of one fold.

    Attributes:
        train: clips, in the order of the data set.
        test: clips of each video.
    """

    train: tuple[Example, ...]
    test: tuple[tuple[Example, ...], ...]

    def all(self) -> Iterator[Example]:
        """Every clip, also where it is there twice."""
        yield from self.train
        for views in self.test:
            yield from views


class LearnedSplits:
    """The splits that a configuration names, each read once.

    Args:
        data: the configuration.

    Raises:
        ValueError: the data set is unknown, an option does not fit its reader, a split cannot be
            read, or nothing is left of it.
    """

    def __init__(self, data: LearnedData) -> None:
        if not data.folds:
            raise ValueError("expected at least one fold in data.folds, got none; add one")
        names = [
            name
            for fold in data.folds
            for name in ((fold.test,) if data.leave_one_out else (fold.train, fold.test))
        ]
        self.data = data
        self.splits = {name: _read(data, name) for name in dict.fromkeys(names)}

    @property
    def first(self) -> VideoDataset[Any]:
        """One of the splits, for what all of them share."""
        return next(iter(self.splits.values()))

    @property
    def note(self) -> str:
        """How videos were chosen, where that is not the choice of the owners."""
        return "; ".join(dict.fromkeys(each.note for each in self.splits.values() if each.note))

    def folds(self, task: ProbeTask) -> list[FoldExamples]:
        """Cut all videos into the clips of a task.

        Raises:
            ValueError: the videos do not have the truth that the task asks for, splits number their
                classes differently, a fold trains on a video that it tests, or it has no clip to
                train or to test on.
        """
        for dataset in self.splits.values():
            task.check(dataset)
        _expect_equal_classes(self.splits)
        data = self.data
        if data.leave_one_out:
            dataset = self.splits[data.folds[0].test]
            folds = _leave_one_out(
                list_examples(task, dataset, is_training=True),
                list_examples(task, dataset, is_training=False),
            )
        else:
            for pair in data.folds:
                _expect_apart(pair, self.splits[pair.train], self.splits[pair.test])
            folds = [
                FoldExamples(
                    _joined(list_examples(task, self.splits[fold.train], is_training=True)),
                    _views(list_examples(task, self.splits[fold.test], is_training=False)),
                )
                for fold in data.folds
            ]
        for fold in folds:
            if not fold.train or not fold.test:
                raise ValueError(
                    f"expected clips to train and to test on in {data.dataset}, found "
                    f"{len(fold.train)} and {len(fold.test)}; look at `view` and the splits"
                )
        return folds


def _expect_equal_classes(splits: Mapping[str, VideoDataset[Any]]) -> None:
    """Check that a number means the same class in all splits."""
    (first, known), *others = ((name, each.classes) for name, each in splits.items())
    for name, classes in others:
        if classes != known:
            different = sorted(set(known) ^ set(classes)) or ["their order"]
            raise ValueError(
                f"expected the same classes in {first} and {name}, found {len(known)} and "
                f"{len(classes)}, which differ in {different[0]}; take all lists from one release"
            )


def _expect_apart(fold: Fold, train: VideoDataset[Any], test: VideoDataset[Any]) -> None:
    """Check that nothing is tested that was trained on."""
    tested = {(video.split, video.name) for video in test}
    shared = [video.name for video in train if (video.split, video.name) in tested]
    if shared:
        raise ValueError(
            f"expected other videos in the test {fold.test} than in the training {fold.train}, "
            f"found {len(shared)} in both, such as {shared[0]}; choose other splits, or "
            "data.leave_one_out=true"
        )


def _leave_one_out(train: list[list[Example]], test: list[list[Example]]) -> list[FoldExamples]:
    return [
        FoldExamples(_joined(train[:k] + train[k + 1 :]), _views([views]))
        for k, views in enumerate(test)
    ]


def _joined(videos: list[list[Example]]) -> tuple[Example, ...]:
    return tuple(example for views in videos for example in views)


def _views(videos: list[list[Example]]) -> tuple[tuple[Example, ...], ...]:
    return tuple(tuple(views) for views in videos if views)


def _read(data: LearnedData, split: str) -> VideoDataset[Any]:
    if data.dataset not in PROBE_DATASETS:
        raise ValueError(
            f"expected data.dataset among {', '.join(PROBE_DATASETS)}; got {data.dataset!r}"
        )
    benchmark = PROBE_DATASETS[data.dataset]
    arguments = (Path(data.root), split)
    try:
        inspect.signature(benchmark.read).bind(*arguments, **data.options)
    except TypeError as error:
        raise ValueError(f"data.options do not fit {data.dataset}: {error}") from error
    dataset = benchmark.read(*arguments, **data.options)
    if not len(dataset):
        raise ValueError(f"{data.dataset} {split} holds no video, expected one or more")
    if data.max_videos is None or len(dataset) <= data.max_videos:
        return dataset
    chosen = np.linspace(0, len(dataset) - 1, data.max_videos).round().astype(int)
    return replace(dataset, videos=tuple(dataset[int(k)] for k in chosen))
