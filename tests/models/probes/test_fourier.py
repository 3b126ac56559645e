"""Fourier features against a loop, and what they tell apart."""

import math

import torch

from vdit.models.probes.fourier import fourier_features


def test_equal_to_a_loop():
    coordinates = torch.rand(5, 2) * 2 - 1
    features = fourier_features(coordinates, num_bases=4)
    for row, (x, y) in zip(features, coordinates.tolist(), strict=True):
        angles = [math.pi * 2**i * c for c in (x, y) for i in range(4)]
        expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=0, atol=1e-5)


def test_half_precision_is_encoded_in_single():
    coordinates = torch.tensor([[0.5, -0.25]], dtype=torch.bfloat16)
    assert torch.equal(fourier_features(coordinates), fourier_features(coordinates.float()))
