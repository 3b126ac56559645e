"""Point and box readouts: order of queries, tiles, visibility, learning."""

import pytest
import torch
from torch.nn import functional as F

from tests.models.probes.learning import clips, overfit, silent_parameters
from vdit.models.probes.query_readout import (
    BoxReadout,
    BoxReadoutConfig,
    PointReadout,
    PointReadoutConfig,
)
from vdit.models.probes.readout import ReadoutConfig
from vdit.models.probes.tracks import PointTracks

SIZES = ReadoutConfig(channels=16, time_steps=2, width=32, num_heads=4)
POINTS = PointReadoutConfig(SIZES, num_frames=6, frames_per_tile=2, embedding_width=24)
BOXES = BoxReadoutConfig(SIZES, num_frames=6, embedding_width=24)


def numbers(tracks):
    """All outputs of the point readout, side by side."""
    logits = torch.stack([tracks.visible_logits, tracks.certain_logits], dim=-1)
    return torch.cat([tracks.points, logits], dim=-1)


def test_points_shape_and_gradients():
    torch.manual_seed(0)
    head = PointReadout(POINTS)
    tracks = head(clips(batch=2), torch.rand(2, 3, 2))
    assert tracks.points.shape == (2, 3, 6, 2)
    assert tracks.visible_logits.shape == tracks.certain_logits.shape == (2, 3, 6)
    assert tracks.visible.dtype == torch.bool
    assert 0 < tracks.points.min()
    assert tracks.points.max() < 1
    assert silent_parameters(head, numbers(tracks)) == []


def test_boxes_shape_and_gradients():
    torch.manual_seed(0)
    head = BoxReadout(BOXES)
    boxes = head(clips(batch=2), torch.rand(2, 3, 4))
    assert boxes.shape == (2, 3, 6, 4)
    assert silent_parameters(head, boxes) == []


@pytest.mark.parametrize("kind", ["points", "boxes"])
def test_queries_do_not_see_each_other(kind):
    torch.manual_seed(0)
    points = kind == "points"
    head = PointReadout(POINTS) if points else BoxReadout(BOXES)
    features, queries = clips(batch=2), torch.rand(2, 5, 2 if points else 4)

    def answer(queries):
        return numbers(head(features, queries)) if points else head(features, queries)

    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(answer(queries[:, order]), answer(queries)[:, order])
    torch.testing.assert_close(answer(queries[:, :1]), answer(queries)[:, :1])


def test_published_sizes():
    with torch.device("meta"):
        points = PointReadout(PointReadoutConfig(ReadoutConfig(1024, 8, num_heads=8)))
        boxes = BoxReadout(BoxReadoutConfig(ReadoutConfig(1024, 8, num_heads=4)))
    assert points.tile_encoding.shape == (8, 1024)
    assert points.readout.output.out_features == 8
    assert boxes.readout.output.out_features == 64
    assert points.embed.hidden.in_features == 2 * 16 * 2


@torch.no_grad()
def test_each_tile_answers_for_its_frames():
    torch.manual_seed(0)
    head, features, queries = PointReadout(POINTS), clips(batch=1), torch.rand(1, 3, 2)
    before = numbers(head(features, queries))
    head.tile_encoding[1] += 1
    changed = (numbers(head(features, queries)) != before).any(-1)
    assert changed[:, :, 2:4].all()
    assert changed.sum() == 3 * 2


def test_points_overfit():
    torch.manual_seed(0)
    head, features = PointReadout(POINTS), clips(batch=3)
    points, visible = torch.rand(3, 4, 6, 2), torch.rand(3, 4, 6) > 0.5

    def loss():
        tracks = head(features, points[:, :, 0])
        return F.huber_loss(
            tracks.points, points, delta=0.1
        ) + 0.1 * F.binary_cross_entropy_with_logits(tracks.visible_logits, visible.float())

    overfit(head, loss, steps=300)
    tracks = head(features, points[:, :, 0])
    assert (tracks.points - points).abs().mean() < 0.03
    assert ((tracks.visible_logits > 0) == visible).float().mean() > 0.95


def test_boxes_overfit():
    torch.manual_seed(0)
    head, features, boxes = BoxReadout(BOXES), clips(batch=3), torch.rand(3, 4, 6, 4)
    overfit(head, lambda: F.l1_loss(head(features, boxes[:, :, 0]), boxes), steps=300)
    assert (head(features, boxes[:, :, 0]) - boxes).abs().mean() < 0.03


def test_visible_needs_both_to_be_likely():
    high, low = torch.tensor([[[4.0, 4.0, -4.0, 0.5]]]), torch.tensor([[[4.0, -4.0, 4.0, 0.5]]])
    tracks = PointTracks(torch.zeros(1, 1, 4, 2), high, low)
    assert tracks.visible[0, 0].tolist() == [True, False, False, False]


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="expected 4 coordinates"):
        BoxReadout(BOXES)(clips(batch=2), torch.rand(2, 3, 2))
    with pytest.raises(ValueError, match="tiles divide"):
        PointReadout(PointReadoutConfig(SIZES, num_frames=7))
