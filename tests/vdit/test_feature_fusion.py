"""Fused features: similarities, grids, weights."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, interpolate

from vdit.propagation.fusion import fuse_features


@pytest.mark.parametrize("weights", [(0.4, 0.6), (1, 1), (0.3, 2), (0.2, 0.5, 0.3)])
def test_similarity_is_the_mean_by_squared_weights(weights, generator):
    maps = [
        torch.randn(2, 5 + i, 4, 6, generator=generator, dtype=torch.float64) * 10**i
        for i in range(len(weights))
    ]
    one, other = fuse_features(maps, weights)
    squares = [weight**2 for weight in weights]
    expected = sum(
        square * cosine_similarity(each[0], each[1], dim=0)
        for square, each in zip(squares, maps, strict=True)
    ) / sum(squares)
    torch.testing.assert_close(cosine_similarity(one, other, dim=0), expected)


def test_weight_one_is_the_video_model_alone(generator):
    video, image = torch.randn(2, 3, 8, 4, 6, generator=generator)
    fused = fuse_features([video, image], (1.0, 0.0))
    torch.testing.assert_close(fused, video / video.norm(dim=1, keepdim=True))


def test_video_map_is_brought_to_the_grid_of_the_image_map(generator):
    video = torch.randn(3, 8, 4, 6, generator=generator)
    image = torch.randn(3, 5, 7, 9, generator=generator)
    fused = fuse_features([video, image], (0.5, 0.5))
    assert fused.shape == (3, 13, 7, 9)
    resized = interpolate(video, size=(7, 9), mode="bilinear")
    torch.testing.assert_close(fused, fuse_features([resized, image], (0.5, 0.5)))
    assert fuse_features([video, image], (0.5, 0.5), size=(2, 3)).shape == (3, 13, 2, 3)
    frame = fuse_features([video[1], image[1]], (0.5, 0.5))
    torch.testing.assert_close(frame, fused[1])


@pytest.mark.parametrize("weights", [(0.5,), (0, 0), (-1, 1), (float("nan"), 1)])
def test_weights_are_checked(weights):
    with pytest.raises(ValueError, match="weight"):
        fuse_features([torch.ones(2, 3, 3), torch.ones(2, 3, 3)], weights)
