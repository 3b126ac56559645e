"""TED's features on tiny networks of the same classes: a video model and an image model, fused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.tiny_backbones import TINY
from vdit.probing.feature_sources import Backbones, FeatureSource
from vdit.probing.fused_features import fused_features

T, H, W = 7, 32, 72
VIDEO = FeatureSource(
    "i2vgen", "up2", timestep=300, weight=0.4, clip_length=4, long_multiple=32, fit="below"
)
IMAGE = FeatureSource("adm", "out0", timestep=51, weight=0.6, long_multiple=32, fit="below")


class Frames:
    height, width = H, W

    def __init__(self):
        self.frames = np.random.default_rng(0).integers(0, 256, (T, H, W, 3), dtype=np.uint8)

    def __iter__(self):
        return iter(self.frames)


@pytest.fixture(scope="module")
def backbones():
    return Backbones(build=lambda name, **_: TINY[name]())


def features(backbones, *sources):
    return torch.stack(list(fused_features(Frames(), sources, backbones, video_id="v")))


def test_similarity_is_the_mean_of_both_by_squared_weights(backbones):
    fused = features(backbones, VIDEO, IMAGE)
    video, image = features(backbones, VIDEO), features(backbones, IMAGE)
    assert fused.shape[-2:] == image.shape[-2:]  # the finer grid
    video = torch.nn.functional.interpolate(video, size=image.shape[-2:], mode="bilinear")

    def similarity(maps):
        return torch.cosine_similarity(maps[1:], maps[:1], dim=1)

    expected = (0.16 * similarity(video) + 0.36 * similarity(image)) / (0.16 + 0.36)
    torch.testing.assert_close(similarity(fused), expected, atol=1e-5, rtol=1e-4)


def test_every_frame_has_features_and_overlaps_change_only_shared_ones(backbones):
    plain = features(backbones, VIDEO)
    assert len(plain) == T  # clips of 0..3 and 3..6
    overlapping = features(backbones, replace(VIDEO, overlap=2))  # and of 2..5
    assert torch.equal(plain[:2], overlapping[:2])
    assert not torch.equal(plain[3], overlapping[3])


def test_ensembles_lessen_the_noise(backbones):
    def spread(ensemble):
        draws = [features(backbones, replace(IMAGE, ensemble=ensemble, seed=s)) for s in range(2)]
        return (draws[0] - draws[1]).square().mean()

    assert spread(3) < 0.6 * spread(1)


def test_image_of_the_video_leads_later_clips(backbones):
    by_clip, by_video = (
        features(backbones, replace(VIDEO, image=image, clip_length=4))
        for image in ("none", "first")
    )
    assert by_clip.shape == by_video.shape
    assert not torch.allclose(by_clip[-1], by_video[-1])
