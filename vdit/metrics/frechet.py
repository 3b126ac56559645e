"""Frechet distance between two sets of features, each taken for a normal distribution."""

from __future__ import annotations

import numpy as np


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """Compute |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    Finite sets are biased upward: compare distances of as many samples only.

    Args:
        features: [N, D].
        others: [M, D].

    Raises:
        ValueError: the sets have other widths, or fewer than two rows.

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium, NeurIPS 2017, Eq. 6.
    """
    if features.ndim != 2 or others.shape[1:] != features.shape[1:] or features.shape[0] < 2:
        raise ValueError(
            f"expected two sets [N, D] of at least 2 rows, got {list(features.shape)} and "
            f"{list(others.shape)}"
        )
    if others.shape[0] < 2:
        raise ValueError(f"expected at least 2 rows, got {others.shape[0]}")
    means = [np.mean(each, axis=0, dtype=np.float64) for each in (features, others)]
    first, second = (
        np.atleast_2d(np.cov(each.astype(np.float64), rowvar=False)) for each in (features, others)
    )
    # S1 S2 has the eigenvalues of the symmetric R S2 R with R = S1^(1/2)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ second @ root).clip(min=0)
    difference = np.asarray(means[0] - means[1])
    trace = np.trace(first) + np.trace(second) - 2 * np.sqrt(mixed).sum()
    return max(float(np.square(difference).sum() + trace), 0.0)
