"""Frechet distance, PSNR and divergence against independent forms."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from vdit.metrics.frechet import frechet_distance
from vdit.stages.reconstruction import normal_divergence, peak_signal_to_noise


def test_frechet_distance_against_matrix_roots():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))
    second = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6)
    covariances = [np.cov(each, rowvar=False) for each in (first, second)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    means = first.mean(0) - second.mean(0)
    wanted = means @ means + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(wanted, rel=1e-6)
    assert frechet_distance(second, first) == pytest.approx(wanted, rel=1e-6)


def test_frechet_distance_of_equal_and_moved_sets():
    features = np.random.default_rng(1).normal(size=(3, 8))  # fewer rows than columns
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + 2) == pytest.approx(32, rel=1e-6)
    with pytest.raises(ValueError, match="expected two sets"):
        frechet_distance(features, features[:, :2])
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        frechet_distance(features, features[:1])


def test_divergence_against_distributions(generator):
    mean, logvar = (torch.randn(3, 2, 4, generator=generator) for _ in range(2))
    normal = torch.distributions.Normal
    each = torch.distributions.kl_divergence(normal(mean, (0.5 * logvar).exp()), normal(0.0, 1.0))
    torch.testing.assert_close(normal_divergence(mean, logvar), each.sum() / 3)


def test_psnr_counts_the_range_of_two():
    pixels = torch.zeros(2, 3, 3, 4, 4)
    other = pixels.clone()
    other[0] += 0.2
    other[1] += 2.0  # cut at 1
    found = peak_signal_to_noise(other, pixels)
    torch.testing.assert_close(found, torch.tensor([20.0, 20 * np.log10(2.0)]).float())
