"""What MOTChallenge leaves out before it scores: people that are not asked for, and what they cost.

The truth also holds boxes that no tracker has to find: they are switched off by a flag, or are of
another class than pedestrian. A predicted box on a distractor, such as a person on a bicycle or in
a reflection, is no false alarm either.

Axes: R true boxes and R' predicted ones of a whole sequence.

References: Milan et al., arXiv:1603.00831 (MOT16 and 17); Dendorfer et al., arXiv:2003.09003
(MOT20).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from vdit.metrics.track_overlaps import ROUNDING, box_iou_xywh

__all__ = ["DISTRACTORS", "PEDESTRIAN", "keep_scored_boxes"]

PEDESTRIAN = 1
_PEOPLE = frozenset({2, 7, 8, 12})  # on a vehicle, static, distractor, reflection

DISTRACTORS: dict[str, frozenset[int]] = {
    "MOT15": frozenset(),
    "MOT16": _PEOPLE,
    "MOT17": _PEOPLE,
    "MOT20": _PEOPLE | {6},  # vehicle without a motor
}
"""Classes on which a predicted box is forgiven, by benchmark. MOT15 has only pedestrians."""

_LEAST_OVERLAP = 0.5

Floats = NDArray[np.float64]


def keep_scored_boxes(
    target: ArrayLike,
    counted: ArrayLike,
    classes: ArrayLike,
    prediction: ArrayLike,
    benchmark: str = "MOT17",
) -> tuple[Floats, Floats]:
    """Leave out true boxes that do not count and predicted boxes on distractors.

    In each frame all true boxes, also those that do not count, and the predicted boxes are paired
    one to one for the largest sum of IoU, of pairs with IoU >= 0.5. A predicted box that is paired
    with a distractor is left out. One on a pedestrian that does not count stays, and is a false
    alarm, as in the benchmark.

    Args:
        target: [R, 6] rows (frame, id, x, y, w, h).
        counted: [R] bool, the flag of each true box.
        classes: [R] whole numbers, the class of each true box.
        prediction: [R', 6] rows (frame, id, x, y, w, h) of pedestrians.
        benchmark: a key of `DISTRACTORS`.

    Returns:
        The rows of both that are scored, in their order.

    Raises:
        ValueError: the benchmark is unknown, or there are not as many flags and classes as true
            boxes.
    """
    if benchmark not in DISTRACTORS:
        raise ValueError(f"expected one of {', '.join(DISTRACTORS)}, got {benchmark!r}")
    true = np.asarray(target, np.float64).reshape(-1, 6)
    predicted = np.asarray(prediction, np.float64).reshape(-1, 6)
    flags, kinds = np.asarray(counted, dtype=bool), np.asarray(classes)
    if flags.shape != (len(true),) or kinds.shape != (len(true),):
        raise ValueError(
            f"expected a flag and a class for each of {len(true)} true boxes, got "
            f"{list(flags.shape)} and {list(kinds.shape)}"
        )
    forgiven = _on_distractors(true, kinds, predicted, DISTRACTORS[benchmark])
    return true[flags & (kinds == PEDESTRIAN)], predicted[~forgiven]


def _on_distractors(
    true: Floats, classes: NDArray[np.integer], predicted: Floats, distractors: Collection[int]
) -> NDArray[np.bool_]:
    """[R'] whether a predicted box is paired with a true one of these classes."""
    forgiven = np.zeros(len(predicted), dtype=bool)
    distracting = np.isin(classes, list(distractors))
    for frame in np.unique(true[distracting, 0]):
        ours, theirs = np.flatnonzero(true[:, 0] == frame), np.flatnonzero(predicted[:, 0] == frame)
        overlap = box_iou_xywh(true[ours, 2:], predicted[theirs, 2:])
        overlap[overlap < _LEAST_OVERLAP - ROUNDING] = 0.0
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        paired = (overlap[rows, columns] > ROUNDING) & distracting[ours[rows]]
        forgiven[theirs[columns[paired]]] = True
    return forgiven
