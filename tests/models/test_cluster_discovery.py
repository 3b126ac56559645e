"""Object discovery by slots that stand for the cells they win."""

import math
from dataclasses import replace

import pytest
import torch

from tests.models.moving_squares import CHANNELS, foreground_rand_index, moving_squares
from vdit.models.probes.cluster_discovery import (
    ClusterDiscovery,
    ClusterDiscoveryConfig,
    distortion,
)
from vdit.models.probes.slot_attention import SlotAttentionConfig

pytestmark = pytest.mark.usefixtures("seeded")

B, T, K, N = 2, 3, 4, 20
TINY = ClusterDiscoveryConfig(
    channels=6,
    size=(4, 5),
    hidden_dim=24,
    attention=SlotAttentionConfig(num_slots=K, dim=16, hidden_dim=24, num_heads=2),
)


@pytest.fixture
def head():
    return ClusterDiscovery(TINY)


@pytest.fixture
def features(generator):
    return torch.randn(B, T, 6, 4, 5, generator=generator)


@torch.no_grad()
def test_shapes_and_shares(head, features):
    output = head(features)
    assert output.masks.shape == (B, T, K, 4, 5)
    assert output.slots.shape == (B, T, K, 16)
    assert output.points.shape == (B, T, K, 8)
    assert output.target.shape == (B, T, N, 8)
    torch.testing.assert_close(output.masks.sum(2), torch.ones(B, T, 4, 5))
    assert torch.equal(head.segment(features)[0], output.masks)
    alone = ClusterDiscovery(replace(TINY, place_weight=0.0))(features)
    assert alone.target.shape == (B, T, N, 6)


@torch.no_grad()
def test_channels_are_standardized_over_what_is_trained_on(head, features):
    loud = features * torch.linspace(0.1, 40, 6)[:, None, None] + 7
    for _ in range(3):
        content = head(loud).target[..., :6]
    torch.testing.assert_close(content.mean(dim=(0, 1, 2)), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(content.std(dim=(0, 1, 2)), torch.ones(6), atol=1e-2, rtol=0)
    learned = head.eval()(loud).target[..., :6]
    torch.testing.assert_close(learned, content, atol=2e-2, rtol=0)
    changed = head(loud[:, :, :, :2].repeat(1, 1, 1, 2, 1)).target[..., :6]
    torch.testing.assert_close(changed[:, :, :10], learned[:, :, :10])  # other frames, same scale


@torch.no_grad()
def test_places_are_on_the_scale_of_all_channels_together(head, features):
    rows, columns = head(features).target[0, 0, :, 6:].view(4, 5, 2).unbind(-1)
    width = 2 * math.sqrt(6)
    torch.testing.assert_close(columns[2], width * torch.tensor([-0.4, -0.2, 0, 0.2, 0.4]))
    torch.testing.assert_close(rows[:, 1], width * torch.tensor([-0.3, -0.1, 0.1, 0.3]))
    with pytest.raises(ValueError, match="place_weight >= 0"):
        replace(TINY, place_weight=-1.0)


@torch.no_grad()
def test_distortion_equals_its_definition(head, features):
    output = head(features)
    total = 0.0
    for b in range(B):
        for t in range(T):
            shares, cells = output.masks[b, t].flatten(1), output.target[b, t]
            for k in range(K):
                errors = ((cells - output.points[b, t, k]) ** 2).mean(dim=1)
                total += (shares[k] * errors).sum().item() / (B * T * N)
    assert distortion(output).item() == pytest.approx(total, rel=1e-5)


@torch.no_grad()
def test_sharing_a_cell_costs_more_than_giving_it_to_the_nearest(head, features):
    output = head(features)
    distances = torch.cdist(output.points, output.target)
    hard = torch.zeros_like(distances).scatter_(2, distances.argmin(2, keepdim=True), 1.0)
    nearest = distances.min(dim=2).values.square().mean().item() / output.points.shape[-1]
    given = distortion(output._replace(masks=hard.unflatten(-1, (4, 5)))).item()
    assert given == pytest.approx(nearest, rel=1e-5)
    assert given < distortion(output).item()


@torch.no_grad()
def test_a_batch_equals_its_clips_and_a_video_its_parts(head, features):
    head.eval()
    whole, state = head.segment(features)
    for i in range(B):
        torch.testing.assert_close(head.segment(features[i : i + 1])[0][0], whole[i])
    first, carried = head.segment(features[:, :2])
    second, last = head.segment(features[:, 2:], carried)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(last, state)


def test_gradients_reach_every_parameter(head, features):
    output = head(features.requires_grad_())
    assert not output.target.requires_grad  # a backbone cannot make its features easy to predict
    distortion(output).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_objects_of_new_clips_are_told_apart(generator):
    features, _, labels = moving_squares(torch.Generator().manual_seed(99), 32, 3)
    config = ClusterDiscoveryConfig(
        channels=CHANNELS,
        size=(8, 8),
        place_weight=1.0,
        hidden_dim=64,
        attention=SlotAttentionConfig(4, 32, 64, 4, "trained", 2),
    )
    head = ClusterDiscovery(config)
    with torch.no_grad():
        before = foreground_rand_index(labels, head.eval().segment(features)[0])
    head.train()
    optimizer = torch.optim.Adam(head.parameters(), 2e-3)
    for _ in range(150):
        loss = distortion(head(moving_squares(generator, 8, 3)[0]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 0.1)
        optimizer.step()
    with torch.no_grad():
        masks = head.eval().segment(features)[0]
    assert before < 0.2
    assert foreground_rand_index(labels, masks) > 0.6
    assert masks.amax(dim=2).mean() > 0.9  # shares are hard
