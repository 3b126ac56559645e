"""Errors of predicted depth, in metres and relative to the truth.

Axes: any shape `...` of pixels, as [H, W] of an image or [T, H, W] of a clip.

Reference: Eigen et al., NeurIPS 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

DELTA_BASE = 1.25

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DepthSums:
    """Sums over the pixels that count, with true depths d* and predicted depths d in metres.

    Two of them add up to that of all their pixels.

    Attributes:
        num_pixels: pixels that count.
        absolute: of |d - d*|.
        squared: of (d - d*)^2.
        squared_log: of (ln d - ln d*)^2.
        absolute_relative: of |d - d*| / d*.
        squared_relative: of (d - d*)^2 / d*.
        below_1: pixels with max(d / d*, d* / d) < 1.25.
        below_2: the same with 1.25^2.
        below_3: the same with 1.25^3.
    """

    num_pixels: int
    absolute: float
    squared: float
    squared_log: float
    absolute_relative: float
    squared_relative: float
    below_1: int
    below_2: int
    below_3: int

    def __add__(self, other: DepthSums) -> DepthSums:
        """Pool the pixels of both."""
        names = [field.name for field in fields(self)]
        return DepthSums(*(getattr(self, name) + getattr(other, name) for name in names))

    def errors(self) -> dict[str, float]:
        """Average over the pixels.

        Returns:
            MeanError and RMSE in metres, AbsRel, SqRel in metres, RMSElog (natural logarithm), and
            delta_1, delta_2, delta_3 as fractions. NaN where no pixel counts.
        """
        count = float(self.num_pixels) if self.num_pixels else float("nan")
        return {
            "MeanError": self.absolute / count,
            "AbsRel": self.absolute_relative / count,
            "SqRel": self.squared_relative / count,
            "RMSE": float(np.sqrt(self.squared / count)),
            "RMSElog": float(np.sqrt(self.squared_log / count)),
            "delta_1": self.below_1 / count,
            "delta_2": self.below_2 / count,
            "delta_3": self.below_3 / count,
        }


def depth_sums(
    target: ArrayLike,
    prediction: ArrayLike,
    valid: ArrayLike | None = None,
    max_depth: float | None = None,
    prediction_range: tuple[float, float] | None = None,
) -> DepthSums:
    """Sum the errors of one image or clip over the pixels whose depth is known.

    A pixel counts where the true depth is finite and above 0, at most `max_depth`, and `valid`.
    Scale and shift of the prediction stay as they are.

    Args:
        target: [...] true depths in metres; 0, negative, infinite or NaN where unknown.
        prediction: [...] predicted depths in metres.
        valid: [...] bool, False where pixels do not count; None counts all.
        max_depth: largest true depth that counts, in metres; None sets no limit.
        prediction_range: (least, largest) depth in metres to which predictions are clipped first;
            None clips nothing.

    Returns:
        The sums; `errors` of them averages over the pixels of this image or clip.

    Raises:
        ValueError: shapes differ, valid is not bool, a limit is not positive, or a prediction that
            counts is not finite and above 0.
    """
    true, predicted = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    _check_limits(max_depth, prediction_range)
    counted = np.isfinite(true) & (true > 0)
    for name, array in {"prediction": predicted, "valid": valid}.items():
        if array is not None and np.shape(array) != true.shape:
            raise ValueError(
                f"expected {name} {list(true.shape)} as target, got {list(np.shape(array))}"
            )
    if valid is not None:
        flags = np.asarray(valid)
        if flags.dtype != np.bool_:
            raise ValueError(f"expected valid of dtype bool, got {flags.dtype}")
        counted &= flags
    if max_depth is not None:
        counted &= true <= max_depth
    true, predicted = true[counted], predicted[counted]
    if prediction_range is not None:
        predicted = np.clip(predicted, *prediction_range)
    wrong = predicted[~(np.isfinite(predicted) & (predicted > 0))]
    if len(wrong):
        raise ValueError(
            f"expected finite predicted depths above 0 m, got {wrong[0]}; give prediction_range"
        )
    return _sums(true, predicted)


def mean_over_images(images: Sequence[DepthSums]) -> dict[str, float]:
    """Average the errors of all images, each image with the same weight.

    The errors over all pixels of all images are instead those of the sum of `images`.

    Args:
        images: the sums of every image of a split.

    Returns:
        The entries of `DepthSums.errors`. Images in which no pixel counts are left out; NaN where
        that leaves none.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("expected at least one image, got none")
    rows = [image.errors() for image in images if image.num_pixels]
    if not rows:
        return images[0].errors()
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _sums(true: Floats, predicted: Floats) -> DepthSums:
    error = predicted - true
    ratio = np.maximum(predicted / true, true / predicted)
    below = [int(np.count_nonzero(ratio < DELTA_BASE**k)) for k in (1, 2, 3)]
    return DepthSums(
        num_pixels=len(true),
        absolute=float(np.abs(error).sum()),
        squared=float((error**2).sum()),
        squared_log=float(((np.log(predicted) - np.log(true)) ** 2).sum()),
        absolute_relative=float((np.abs(error) / true).sum()),
        squared_relative=float((error**2 / true).sum()),
        below_1=below[0],
        below_2=below[1],
        below_3=below[2],
    )


def _check_limits(max_depth: float | None, prediction_range: tuple[float, float] | None) -> None:
    if max_depth is not None and not max_depth > 0:
        raise ValueError(f"expected max_depth above 0 m, got {max_depth}")
    if prediction_range is not None and not 0 < prediction_range[0] <= prediction_range[1]:
        raise ValueError(f"expected prediction_range 0 < least <= largest, got {prediction_range}")
