"""Features of objects along a video, on a backbone whose features are known."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.vdit.evaluation.prediction_trees import read_tree
from vdit.evaluation.region_features import cell_weights, mean_similarities, region_similarities
from vdit.frame_fit import plan_fit
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded

STRIDE = 4


class Colors(Backbone):
    """Features are the mean colors of cells, with the position of the frame beside them."""

    temporal = True

    def __init__(self, with_time=0.0, frame_multiple=1):
        super().__init__()
        self.blocks = {"colors": BlockInfo(4, STRIDE), "empty": BlockInfo(4, STRIDE)}
        self.frame_multiple, self.with_time = frame_multiple, with_time
        self.size_multiple = STRIDE

    def encode(self, video):
        return Encoded(tuple(video.shape[-2:]), video)

    def extract(self, encoded, *, blocks, **_):
        video = encoded.latent_mean
        pooled = functional.avg_pool2d(video.flatten(0, 1), STRIDE).unflatten(0, video.shape[:2])
        time = torch.arange(video.shape[1]).view(1, -1, 1, 1, 1) * self.with_time
        time = time.expand(len(video), -1, 1, *pooled.shape[-2:])
        return {name: torch.cat([pooled, time], dim=2) for name in blocks}


@pytest.fixture
def samples(trees):
    return read_tree("ref-youtube-vos", trees("ref-youtube-vos"))


def test_features_that_do_not_change_are_alike(samples):
    found = region_similarities(Colors(), samples, "colors", num_frames=4)
    assert all(each.shape == (3,) for each in found)
    assert np.nanmin(mean_similarities(found)) > 0.95  # shading changes a little
    ids = {(s.video, k) for s in samples for k in s.object_ids}
    assert 1 <= len(found) <= len(ids)


def test_features_of_time_alone_drift(samples):
    curve = mean_similarities(region_similarities(Colors(1.0), samples, "colors", num_frames=4))
    assert (np.diff(curve) < 0).all()


def test_fewer_videos_are_fewer_objects(samples):
    seen = []
    found = region_similarities(
        Colors(), samples, "colors", num_frames=2, max_videos=1,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(1, 1)]
    video = samples[0].video
    assert len(found) <= len({k for s in samples if s.video == video for k in s.object_ids})


@pytest.mark.parametrize(
    ("backbone", "block", "num_frames", "sentence"),
    [
        (Colors(), "colors", 1, "at least two frames"),
        (Colors(frame_multiple=4), "colors", 4, "spans 4 frames"),
        (Colors(), "shapes", 4, "shapes"),
        (Colors(), "colors", 99, "no video of 99 frames with masks"),
    ],
)
def test_mistakes(backbone, block, num_frames, sentence, samples):
    with pytest.raises(ValueError, match=sentence):
        region_similarities(backbone, samples, block, num_frames=num_frames)


@pytest.mark.parametrize("size", [(40, 56), (37, 51)])
def test_weights_of_cells_are_shares_of_the_mask(size):
    rng = np.random.default_rng(0)
    masks = np.zeros((2, *size), dtype=bool)
    masks[0, 3:20, 7:31] = True
    masks[1] = rng.random(size) < 0.5
    fit = plan_fit(*size, STRIDE, fit="pad")
    weights = cell_weights(masks, fit, STRIDE)
    cells = -(-size[0] // STRIDE), -(-size[1] // STRIDE)
    assert weights.shape == (2, *cells)
    padded = np.pad(masks, ((0, 0), (0, -size[0] % STRIDE), (0, -size[1] % STRIDE)))
    expected = padded.reshape(2, cells[0], STRIDE, cells[1], STRIDE).mean(axis=(2, 4))
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_objects_out_of_sight_are_left_out_of_the_mean():
    nan = np.nan
    found = mean_similarities([np.array([1.0, nan, nan]), np.array([0.5, 0.5, nan])])
    np.testing.assert_array_equal(found, [0.75, 0.5, nan])
