"""Dense heads: every frame alone, every cell in its place, learning."""

import pytest
import torch
from torch.nn import functional as F

from tests.models.probes.learning import accuracy, clips, overfit, silent_parameters
from vdit.models.probes.dense import DenseConfig, DenseHead, LinearDenseHead

HEADS = {
    "batch": lambda num_outputs: DenseHead(DenseConfig(16, num_outputs, width=24)),
    "layer": lambda num_outputs: DenseHead(DenseConfig(16, num_outputs, width=24, norm="layer")),
    "linear": lambda num_outputs: LinearDenseHead(16, num_outputs),
}


@pytest.fixture(params=list(HEADS))
def build(request):
    torch.manual_seed(0)
    return HEADS[request.param]


@pytest.mark.parametrize("size", [(24, 32), (25, 33), (3, 4)])
def test_shape_and_gradients(build, size):
    head = build(5)
    output = head(clips(), size)
    assert output.shape == (12, 2, 5, *size)
    assert silent_parameters(head, output) == []


def test_frames_do_not_see_each_other(build):
    head, features = build(5), clips(steps=4)
    head(features, (24, 32))  # gathers the statistics
    head.eval()
    whole = head(features, (24, 32))
    torch.testing.assert_close(head(features[2:5, 1:2], (24, 32)), whole[2:5, 1:2])


def test_mirrored_features_give_mirrored_maps_of_a_linear_head():
    torch.manual_seed(0)
    head, features = LinearDenseHead(16, 5), clips()
    mirrored = head(features.flip(-1), (24, 32))
    torch.testing.assert_close(mirrored, head(features, (24, 32)).flip(-1), rtol=1e-4, atol=1e-5)


def test_linear_head_at_the_size_of_the_features_is_one_map_of_each_cell():
    torch.manual_seed(0)
    head, features = LinearDenseHead(16, 5), clips()
    output = head(features, (3, 4))
    tokens = features.movedim(2, -1).reshape(-1, 16)
    normed = (tokens - tokens.mean(0)) / (tokens.var(0, correction=0) + 1e-5).sqrt()
    expected = normed @ head.output.weight[:, :, 0, 0].T + head.output.bias
    torch.testing.assert_close(output.movedim(2, -1).reshape(-1, 5), expected)


@torch.no_grad()
def test_a_change_stays_in_its_place(build):
    """The cell at the right end reaches two cells by the convolution and upsampling, not more."""
    head, features = build(5), clips(batch=1, steps=1, h=4, w=12)
    head(features, (32, 96))
    head.eval()
    changed = features.clone()
    changed[..., -1] += 1
    difference = (head(changed, (32, 96)) - head(features, (32, 96))).abs().amax((0, 1, 2, 3))
    assert difference[-8:].min() > 0
    assert difference[: 96 - 3 * 8].max() == 0


def test_scale_of_features_does_not_matter(build):
    head, features = build(5), clips()
    expected = head(features, (12, 16))
    torch.testing.assert_close(head(50 * features, (12, 16)), expected, rtol=1e-3, atol=1e-4)


def test_only_the_maps_learn(build):
    assert not [name for name, _ in build(5).named_parameters() if "norm" in name]


def test_labels_overfit(build):
    head, features = build(3), clips(batch=4)
    labels = torch.randint(3, (4, 2, 3, 4))
    labels = labels.repeat_interleave(4, 2).repeat_interleave(4, 3)
    features[:, :, :3] += 4 * F.one_hot(labels[:, :, ::4, ::4], 3).movedim(-1, 2)
    ignored = labels.clone()
    ignored[:, :, ::2] = 255

    def loss():
        logits = head(features, (12, 16)).flatten(0, 1)
        return F.cross_entropy(logits, ignored.flatten(0, 1), ignore_index=255)

    overfit(head, loss, steps=60, rate=1e-2)
    centers = head(features, (12, 16))[..., 1::4, 1::4]
    assert accuracy(centers.flatten(0, 1), labels[:, :, ::4, ::4].flatten(0, 1)) > 0.95


def test_depth_overfits(build):
    head, features = build(1), clips(batch=2)
    depth = F.interpolate(features[:, :, 0] + 1, (12, 16), mode="bilinear")[:, :, None]
    overfit(head, lambda: F.l1_loss(head(features, (12, 16)), depth), steps=200, rate=1e-2)
    assert (head(features, (12, 16)) - depth).abs().mean() < 0.1


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="got 'group'"):
        DenseHead(DenseConfig(16, 5, norm="group"))
