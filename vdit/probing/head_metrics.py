"""Metrics of several heads put together: means, their errors, and what chance is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from vdit.probing.learned_folds import FoldExamples
from vdit.probing.probe_task import ProbeTask

Metrics = dict[str, float]


def blind_metrics(task: ProbeTask, fold: FoldExamples) -> Metrics:
    """Score the task's answers without features on one fold."""
    rule = task.blind_rule(task.targets(each.video, each.view, True) for each in fold.train)
    records = []
    for views in fold.test:
        targets = [task.targets(each.video, each.view, False) for each in views]
        records.append(task.score([rule(each) for each in targets], targets))
    return task.summarize(records)


def mean_metrics(found: Sequence[Mapping[str, float]]) -> Metrics:
    """Average metrics, leaving out where one is not a number."""
    means = {}
    for name in found[0]:
        values = [each[name] for each in found if not math.isnan(each[name])]
        means[name] = mean(values) if values else math.nan
    return means


def standard_errors(found: Sequence[Mapping[str, float]]) -> Metrics:
    """Give the standard error of what `mean_metrics` gives; NaN for a single value."""
    errors = {}
    for name in found[0]:
        values = [each[name] for each in found if not math.isnan(each[name])]
        errors[name] = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return errors


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Put None in place of NaN, which JSON does not have."""
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}
