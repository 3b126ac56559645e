"""Fourier features against a loop, and what they tell apart."""

import math

import torch

from vdit.models.probes.fourier import append_places, fourier_features


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


def test_places_are_those_of_the_middles_of_cells():
    features = torch.randn(2, 3, 5, 4, 6)
    placed = append_places(features, num_bases=3)
    assert placed.shape == (2, 3, 5 + 12, 4, 6)
    assert torch.equal(placed[:, :, :5], features)
    for row in range(4):
        for column in range(6):
            middle = torch.tensor([(2 * column + 1) / 6 - 1, (2 * row + 1) / 4 - 1])
            expected = fourier_features(middle, 3)
            assert torch.allclose(placed[1, 2, 5:, row, column], expected, atol=1e-6)
