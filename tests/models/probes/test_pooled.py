"""The linear probe: what it sees is the mean, and it learns."""

import pytest
import torch
from torch.nn import functional as F

from tests.models.probes.learning import accuracy, clips, overfit, silent_parameters
from vdit.models.probes.pooled import PooledProbe

NORMS = ["none", "layer", "batch"]


@pytest.mark.parametrize("norm", NORMS)
def test_shape_and_gradients(norm):
    head = PooledProbe(16, 5, norm)
    logits = head(clips())
    assert logits.shape == (12, 5)
    assert silent_parameters(head, logits) == []


def test_published_probe_has_a_linear_layer_only():
    names = [name for name, _ in PooledProbe(16, 5).named_parameters()]
    assert names == ["linear.weight", "linear.bias"]


def test_equal_to_the_mean_over_tokens():
    head, features = PooledProbe(16, 5), clips()
    tokens = features.permute(0, 1, 3, 4, 2).reshape(12, -1, 16)
    expected = torch.stack([head.linear(clip.mean(0)) for clip in tokens])
    torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize("norm", NORMS)
def test_order_of_tokens_does_not_matter(norm):
    head, features = PooledProbe(16, 5, norm).eval(), clips()
    shuffled = features.flatten(3)[..., torch.randperm(12)].unflatten(3, (3, 4)).flip(1)
    torch.testing.assert_close(head(shuffled), head(features))


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_norms_do_not_see_the_scale_of_features(norm):
    head, features = PooledProbe(16, 5, norm), clips()
    torch.testing.assert_close(head(50 * features), head(features), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("norm", NORMS)
def test_overfits(norm):
    torch.manual_seed(0)
    head, features, labels = PooledProbe(16, 4, norm), clips(), torch.arange(12) % 4
    overfit(head, lambda: F.cross_entropy(head(features), labels), steps=200, rate=3e-2)
    assert accuracy(head(features), labels) > 0.95


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="got 'group'"):
        PooledProbe(16, 5, "group")
