"""Heads for object discovery learn: a clip by heart, and objects of clips never seen."""

import pytest
import torch

from tests.models.moving_squares import CELL, CHANNELS, foreground_rand_index, moving_squares
from vdit.models.probes.code_discovery import (
    CodeDiscovery,
    CodeDiscoveryConfig,
    CodeLossWeights,
    code_discovery_losses,
    weighted_sum,
)
from vdit.models.probes.similarity_discovery import (
    SimilarityDiscovery,
    SimilarityDiscoveryConfig,
    SimilarityLossWeights,
    similarity_discovery_losses,
    temporal_similarity,
)
from vdit.models.probes.slot_attention import SlotAttentionConfig
from vdit.models.probes.slot_decoder import SlotDecoderConfig
from vdit.models.probes.slot_mixer import SlotMixerConfig
from vdit.models.probes.vector_quantizer import VectorQuantizerConfig

pytestmark = pytest.mark.usefixtures("seeded")


def code_head(dim, heads, layers):
    return CodeDiscovery(
        CodeDiscoveryConfig(
            channels=CHANNELS,
            size=(8, 8),
            num_recurrent_layers=layers,
            attention=SlotAttentionConfig(4, dim, 2 * dim, heads),
            decoder=SlotDecoderConfig(num_heads=heads, head_dim=16),
            quantizer=VectorQuantizerConfig(dim // 2, dim, CELL),
        )
    )


def similarity_head(dim, heads, layers):
    return SimilarityDiscovery(
        SimilarityDiscoveryConfig(
            channels=CHANNELS,
            size=(8, 8),
            num_recurrent_layers=layers,
            attention=SlotAttentionConfig(4, dim, 2 * dim, heads),
            decoder=SlotMixerConfig(num_heads=heads, render_dims=(2 * dim, 2 * dim)),
        )
    )


def step_of(head, learning_rate, max_norm):
    """A function that takes a step on features and frames and gives output and losses."""
    optimizer = torch.optim.Adam(head.parameters(), learning_rate)

    def step(features, frames):
        if isinstance(head, CodeDiscovery):
            output = head(features, frames)
            losses = code_discovery_losses(output, head.quantizer.codebook.entries)
            total = weighted_sum(losses, CodeLossWeights())
        else:
            output = head(features)
            losses = similarity_discovery_losses(output, head.config.temperature)
            total = weighted_sum(losses, SimilarityLossWeights())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), max_norm)
        optimizer.step()
        return output, {name: loss.item() for name, loss in losses.items()}

    return step


def test_codes_of_a_clip_are_learned_by_heart(generator):
    features, frames, _ = moving_squares(generator, 1, 2)
    step = step_of(code_head(16, 2, 1), 5e-3, 1.0)
    for _ in range(130):
        output, losses = step(features, frames)
    assert losses["image"] < 0.02
    spread = output.quantized.codes.var(dim=(0, 2, 3)).mean().item()
    assert losses["decoded"] < 0.7 * spread


def test_similarity_of_a_clip_is_learned_by_heart(generator):
    features, frames, _ = moving_squares(generator, 1, 2)
    head = similarity_head(16, 2, 1)
    step = step_of(head, 5e-3, 1.0)
    for _ in range(160):
        output, losses = step(features, frames)
    target = temporal_similarity(output.target, head.config.temperature)
    assert losses["similarity"] < torch.special.entr(target).sum(-1).mean().item() + 0.2
    assert losses["features"] < 0.15


@pytest.mark.slow
@pytest.mark.parametrize(("make", "steps"), [(code_head, 250), (similarity_head, 600)])
def test_objects_of_new_clips_are_told_apart(make, steps, generator):
    features, _, labels = moving_squares(torch.Generator().manual_seed(99), 32, 3)
    head = make(32, 4, 2)
    step = step_of(head, 2e-3, 0.1)
    with torch.no_grad():
        before = foreground_rand_index(labels, head.eval().segment(features)[0])
    head.train()
    for _ in range(steps):
        step(*moving_squares(generator, 8, 3)[:2])
    with torch.no_grad():
        after = foreground_rand_index(labels, head.eval().segment(features)[0])
    assert before < 0.2
    assert after > 0.45, after
