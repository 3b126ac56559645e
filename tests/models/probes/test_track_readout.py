"""Recurrent track readouts: what a track may depend on, the loop written out, learning."""

import pytest
import torch
from torch.nn import functional as F

from tests.models.probes.learning import clips, overfit, silent_parameters
from vdit.models.probes.query_transformer import QueryTransformer, QueryTransformerConfig
from vdit.models.probes.track_readout import BoxTrackReadout, PointTrackReadout

SIZES = QueryTransformerConfig(channels=16, width=32, num_layers=2, num_heads=4, mlp_width=48)
FRAMES = torch.tensor([[0, 2, 4], [1, 0, 3]])


def numbers(tracks):
    """All outputs of the point readout, side by side."""
    logits = torch.stack([tracks.visible_logits, tracks.certain_logits], dim=-1)
    return torch.cat([tracks.points, logits], dim=-1)


@pytest.fixture(params=["points", "boxes"])
def case(request):
    """A function from features, queries and frames to numbers, the head and queries."""
    torch.manual_seed(0)
    if request.param == "boxes":
        head = BoxTrackReadout(SIZES)
        return head, head, torch.rand(2, 3, 4)
    points = PointTrackReadout(SIZES)
    return points, lambda *args: numbers(points(*args)), torch.rand(2, 3, 2)


def test_shape_and_gradients(case):
    head, answer, queries = case
    output = answer(clips(batch=2, steps=5), queries, FRAMES)
    assert output.shape == (2, 3, 5, 4)
    assert output[..., :2].min() > 0
    assert output[..., :2].max() < 1
    assert silent_parameters(head, output) == []


def test_queries_do_not_see_each_other(case):
    _, answer, queries = case
    features, order = clips(batch=2, steps=5), [2, 0, 1]
    tracks = answer(features, queries, FRAMES)
    shuffled = answer(features, queries[:, order], FRAMES[:, order])
    torch.testing.assert_close(shuffled, tracks[:, order])
    torch.testing.assert_close(answer(features, queries[:, :1], FRAMES[:, :1]), tracks[:, :1])


def test_order_of_tokens_in_a_frame_does_not_matter(case):
    _, answer, queries = case
    features = clips(batch=2, steps=5)
    shuffled = features.flatten(3)[..., torch.randperm(12)].unflatten(3, (3, 4))
    torch.testing.assert_close(answer(shuffled, queries), answer(features, queries))


def test_tracks_do_not_see_later_frames(case):
    _, answer, queries = case
    features = clips(batch=2, steps=5)
    changed = features.clone()
    changed[:, 3:] += 1
    before, after = answer(features, queries), answer(changed, queries)
    torch.testing.assert_close(after[:, :, :3], before[:, :, :3])
    assert (after[:, :, 3:] - before[:, :, 3:]).abs().max() > 1e-4


def test_nothing_before_the_query_reaches_its_track(case):
    _, answer, queries = case
    features = clips(batch=2, steps=5)
    frames = torch.full((2, 3), 2)
    tracks = answer(features, queries, frames)
    torch.testing.assert_close(tracks[:, :, 2:], answer(features[:, 2:], queries))


def test_without_frames_queries_are_of_the_first(case):
    _, answer, queries = case
    features = clips(batch=2, steps=5)
    zeros = torch.zeros(2, 3, dtype=torch.long)
    assert torch.equal(answer(features, queries), answer(features, queries, zeros))


@torch.no_grad()
def test_transformer_equal_to_one_written_out():
    torch.manual_seed(0)
    transformer = QueryTransformer(SIZES, query_width=6)
    for parameter in transformer.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    query, tokens = torch.randn(1, 1, 6), torch.randn(1, 7, 16)

    def rms(x, norm):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight

    x = transformer.input(query[0, 0])
    for layer in transformer.layers:
        attention = layer.attention
        q = attention.q(layer.norm1(x))
        k, v = attention.kv(tokens[0]).split(32, dim=1)
        parts = []
        for start in range(0, 32, 8):
            own = slice(start, start + 8)
            scores = rms(k[:, own], attention.k_norm) @ rms(q[own], attention.q_norm)
            parts.append(torch.softmax(scores / 8**0.5, dim=0) @ v[:, own])
        x = x + attention.proj(torch.cat(parts))
        x = x + layer.mlp(layer.norm2(x))
    expected = transformer.output(transformer.norm(x))
    found = transformer(query, tokens)[0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_states_equal_to_the_recurrence_of_one_point():
    torch.manual_seed(0)
    head, features = PointTrackReadout(SIZES), clips(batch=1, steps=4)
    points, inner = torch.rand(1, 1, 2), head.states
    state = inner.embed(points)
    tracks = head(features, points)
    for frame in range(4):
        state = state + inner.corrector(state, features[:, frame].flatten(2).mT)
        x, y = head.place(state)[0, 0].sigmoid()
        torch.testing.assert_close(tracks.points[0, 0, frame], torch.stack([x, y]))
        visible, certain = head.sight(state)[0, 0]
        torch.testing.assert_close(tracks.visible_logits[0, 0, frame], visible)
        torch.testing.assert_close(tracks.certain_logits[0, 0, frame], certain)
        state = inner.norm(state + inner.predictor(state))


def test_points_overfit():
    torch.manual_seed(0)
    head, features = PointTrackReadout(SIZES), clips(batch=2, steps=5)
    points, visible = torch.rand(2, 3, 5, 2), torch.rand(2, 3, 5) > 0.5
    queries = points.gather(2, FRAMES[:, :, None, None].expand(-1, -1, 1, 2))[:, :, 0]

    def loss():
        tracks = head(features, queries, FRAMES)
        return F.l1_loss(tracks.points, points) + 0.1 * F.binary_cross_entropy_with_logits(
            tracks.visible_logits, visible.float()
        )

    overfit(head, loss, steps=80, rate=5e-3)
    tracks = head(features, queries, FRAMES)
    assert (tracks.points - points).abs().mean() < 0.04
    assert ((tracks.visible_logits > 0) == visible).float().mean() > 0.95


def test_boxes_overfit():
    torch.manual_seed(0)
    head, features, boxes = BoxTrackReadout(SIZES), clips(batch=2, steps=4), torch.rand(2, 3, 4, 4)
    overfit(head, lambda: F.l1_loss(head(features, boxes[:, :, 0]), boxes), steps=80, rate=5e-3)
    assert (head(features, boxes[:, :, 0]) - boxes).abs().mean() < 0.04


def test_published_sizes():
    with torch.device("meta"):
        head = PointTrackReadout(QueryTransformerConfig(channels=1024))
    layers = head.states.corrector.layers
    assert len(layers) == 3
    assert layers[0].attention.kv.weight.shape == (2 * 512, 1024)
    assert layers[0].mlp.fc1.weight.shape == (2048, 512)


def test_frames_outside_the_clip_are_refused():
    head, features, points = PointTrackReadout(SIZES), clips(batch=2, steps=3), torch.rand(2, 3, 2)
    with pytest.raises(ValueError, match="within the clip of 3, got 0 to 4"):
        head(features, points, FRAMES)
    with pytest.raises(ValueError, match="a frame for each query"):
        head(features, points, FRAMES[0])
