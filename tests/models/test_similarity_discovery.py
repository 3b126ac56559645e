"""Object discovery from how cells of a frame resemble those of the next one."""

import math

import pytest
import torch

from vdit.models.probes.code_discovery import weighted_sum
from vdit.models.probes.similarity_discovery import (
    SimilarityDiscovery,
    SimilarityDiscoveryConfig,
    SimilarityLossWeights,
    similarity_discovery_losses,
    temporal_similarity,
)
from vdit.models.probes.slot_attention import SlotAttentionConfig
from vdit.models.probes.slot_mixer import SlotMixer, SlotMixerConfig

pytestmark = pytest.mark.usefixtures("seeded")

B, T, K, N = 2, 3, 4, 20
MIXER = SlotMixerConfig(num_heads=2, mlp_ratio=2, render_dims=(24, 24))
TINY = SimilarityDiscoveryConfig(
    channels=6,
    size=(4, 5),
    attention=SlotAttentionConfig(num_slots=K, dim=16, hidden_dim=24, num_heads=2),
    decoder=MIXER,
)


@pytest.fixture
def head():
    return SimilarityDiscovery(TINY)


@pytest.fixture
def features(generator):
    return torch.randn(B, T, 6, 4, 5, generator=generator)


@torch.no_grad()
def test_shapes_and_shares(head, features):
    output = head(features)
    assert output.masks.shape == (B, T, K, 4, 5)
    assert output.slots.shape == (B, T, K, 16)
    assert output.similarity.shape == (B, T, N, N)
    assert output.features.shape == output.target.shape == (B, T, N, 6)
    assert torch.equal(output.target, features.flatten(3).transpose(2, 3))
    torch.testing.assert_close(output.masks.sum(2), torch.ones(B, T, 4, 5))
    assert torch.equal(head.segment(features)[0], output.masks)


@torch.no_grad()
def test_mixer_follows_a_permutation_of_the_slots(generator):
    mixer = SlotMixer(N, 16, 7, MIXER)
    slots = torch.randn(B, K, 16, generator=generator)
    drawn, masks = mixer(slots)
    moved_drawn, moved_masks = mixer(slots.flip(1))
    torch.testing.assert_close(moved_drawn, drawn)
    torch.testing.assert_close(moved_masks, masks.flip(1))
    assert masks.std(dim=2).min() > 0  # cells differ


@torch.no_grad()
def test_a_batch_equals_its_clips_and_a_video_its_parts(head, features):
    whole, state = head.segment(features)
    for i in range(B):
        torch.testing.assert_close(head.segment(features[i : i + 1])[0][0], whole[i])
    first, carried = head.segment(features[:, :2])
    second, last = head.segment(features[:, 2:], carried)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(last, state)


def test_gradients_reach_every_parameter(head, features):
    losses = similarity_discovery_losses(head(features), TINY.temperature)
    assert set(losses) == set(vars(SimilarityLossWeights()))
    weighted_sum(losses, SimilarityLossWeights()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_features_are_predicted_only_where_asked_for(features):
    config = SimilarityDiscoveryConfig(
        channels=6, size=(4, 5), attention=TINY.attention, decoder=MIXER, predicts_features=False
    )
    output = SimilarityDiscovery(config)(features)
    assert output.features is None
    assert set(similarity_discovery_losses(output, 1.0)) == {"similarity"}


def test_similarity_equals_its_definition(generator):
    features = torch.randn(1, 2, 3, 4, generator=generator)
    actual = temporal_similarity(features, 0.5)[0, 0]
    for i in range(3):
        cosines = [
            torch.cosine_similarity(features[0, 0, i], features[0, 1, j], dim=0).item()
            for j in range(3)
        ]
        shares = [math.exp(c / 0.5) if c >= 0 else 0.0 for c in cosines]
        total = sum(shares)
        expected = [s / total for s in shares] if total else [1 / 3] * 3
        assert actual[i].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_cell_that_resembles_nothing_goes_everywhere():
    features = torch.ones(1, 2, 5, 3)
    features[0, 0, 2] = -1
    similarity = temporal_similarity(features, 0.1)
    torch.testing.assert_close(similarity, torch.full((1, 1, 5, 5), 0.2))
    features[0, 1, 0] = torch.tensor([-1.0, -1.0, 1.0])
    assert (temporal_similarity(features, 0.1)[0, 0, 0, 0]) == 0


def test_motion_is_where_cells_go():
    cells = torch.eye(5)
    moved = cells.roll(1, dims=0)  # cell i + 1 of the second frame shows what cell i showed
    similarity = temporal_similarity(torch.stack([cells, moved])[None], 0.01)[0, 0]
    torch.testing.assert_close(similarity, torch.eye(5).roll(1, dims=1))


def test_the_loss_is_least_at_the_target(head, features):
    output = head(features)
    target = temporal_similarity(output.target, TINY.temperature)
    perfect = torch.cat([target.clamp(min=1e-30).log(), target[:, :1]], dim=1)
    perfect_output = output._replace(similarity=perfect, features=output.target)
    losses = similarity_discovery_losses(perfect_output, TINY.temperature)
    entropy = torch.special.entr(target).sum(-1).mean()
    assert losses["similarity"].item() == pytest.approx(entropy.item(), abs=1e-5)
    assert losses["features"].item() == 0
    assert similarity_discovery_losses(output, TINY.temperature)["similarity"] > entropy


def test_single_frames_are_refused(head, features):
    with pytest.raises(ValueError, match="expected 2 frames or more, got 1"):
        similarity_discovery_losses(head(features[:, :1]), TINY.temperature)


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="expected temperature > 0, got 0"):
        SimilarityDiscoveryConfig(temperature=0)
