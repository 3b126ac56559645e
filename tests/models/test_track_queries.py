"""Track queries: invariances of the network, padding, gradients, and what it learns in a minute."""

import pytest
import torch

from vdit.models.deformable_transformer import TransformerConfig
from vdit.models.position_encoding import sine_encoding_boxes
from vdit.models.track_queries import TrackQueries, TrackQueryConfig, TrackQueryModel

CONFIG = TrackQueryConfig(
    channels=(6, 10),
    num_queries=7,
    transformer=TransformerConfig(
        dim=32, num_heads=4, num_encoder_layers=1, num_decoder_layers=2, feed_forward_dim=32
    ),
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = TrackQueryModel(CONFIG).eval()
    for head in model.box_heads:  # else every box stays where it is
        torch.nn.init.normal_(head.linears()[-1].weight, std=0.1)
    return model


def inputs(N=2, K=3):
    torch.manual_seed(1)
    maps = [torch.randn(N, 6, 8, 12), torch.randn(N, 10, 4, 6)]
    boxes = torch.rand(N, K, 4) * 0.5 + 0.25
    return maps, TrackQueries(torch.randn(N, K, 32), boxes)


def test_the_scale_of_a_block_does_not_matter_once_measured(model):
    maps, tracks = inputs()
    model.measure([[each[0] for each in maps], [each[1, :, 1:] for each in maps]])
    expected = model(maps, tracks=tracks)
    louder = [maps[0] * torch.linspace(0.1, 30, 6)[:, None, None] + 5, maps[1]]
    assert not torch.allclose(model(louder, tracks=tracks).logits, expected.logits, atol=1e-2)
    model.measure([[each[0] for each in louder], [each[1, :, 1:] for each in louder]])
    torch.testing.assert_close(
        model(louder, tracks=tracks).logits, expected.logits, atol=1e-4, rtol=1e-4
    )


def test_shapes_and_levels(model):
    maps, tracks = inputs()
    output = model(maps, tracks=tracks)
    assert output.logits.shape == (2, 2, 10)
    assert output.boxes.shape == (2, 2, 10, 4)
    assert output.states.shape == (2, 10, 32)
    assert output.num_tracks == 3
    assert model(maps).num_tracks == 0
    shapes = model.pyramid(maps, None).spatial_shapes
    assert shapes == [(8, 12), (4, 6), (2, 3), (1, 2)]


@torch.no_grad()
def test_batch_equals_singles(model):
    maps, tracks = inputs()
    both = model(maps, tracks=tracks)
    one = model([x[1:] for x in maps], tracks=TrackQueries(tracks.states[1:], tracks.boxes[1:]))
    torch.testing.assert_close(both.boxes[:, 1:], one.boxes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.logits[:, 1:], one.logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_padded_queries_change_nothing(model):
    maps, tracks = inputs(K=3)
    padded = TrackQueries.collate(
        [tracks.states[0], tracks.states[1, :1]], [tracks.boxes[0], tracks.boxes[1, :1]]
    )
    assert padded.padding.tolist() == [[False] * 3, [False, True, True]]
    padded.states[1, 1:] = 100.0
    output = model(maps, tracks=padded)
    alone = model(
        [x[1:] for x in maps], tracks=TrackQueries(tracks.states[1:, :1], tracks.boxes[1:, :1])
    )
    kept = [0, *range(3, 10)]
    torch.testing.assert_close(output.boxes[:, 1:, kept], alone.boxes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.states[1:, kept], alone.states, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_padded_cells_change_nothing(model):
    maps, tracks = inputs(N=1)
    wide = [torch.nn.functional.pad(x, (0, x.shape[-1]), value=50.0) for x in maps]
    masks = [torch.arange(x.shape[-1]).expand(1, x.shape[-2], -1) >= x.shape[-1] // 2 for x in wide]
    model.further_levels = torch.nn.ModuleList()  # convolutions and norms see the padding
    model.projections = torch.nn.ModuleList(torch.nn.Conv2d(c, 32, 1) for c in CONFIG.channels)
    transformer = model.transformer
    transformer.level_embed = torch.nn.Parameter(transformer.level_embed[:2])
    for module in transformer.modules():
        if hasattr(module, "sampling_offsets"):
            module.num_levels = 2
            module.sampling_offsets = torch.nn.Linear(32, 4 * 2 * 4 * 2)
            module.attention_weights = torch.nn.Linear(32, 4 * 2 * 4)
    narrow = model(maps, tracks=tracks)
    padded = model(wide, masks, tracks)
    torch.testing.assert_close(padded.boxes, narrow.boxes, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_order_of_tracks_does_not_matter(model):
    maps, tracks = inputs()
    order = [2, 0, 1]
    output = model(maps, tracks=tracks)
    turned = model(maps, tracks=TrackQueries(tracks.states[:, order], tracks.boxes[:, order]))
    torch.testing.assert_close(turned.boxes[:, :, :3], output.boxes[:, :, order])
    torch.testing.assert_close(turned.boxes[:, :, 3:], output.boxes[:, :, 3:])


@torch.no_grad()
def test_the_first_layer_looks_around_centers_and_the_others_in_boxes(model):
    maps, tracks = inputs()
    seen = []
    for layer in model.transformer.decoder:
        layer.cross_attn.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    model(maps, tracks=tracks)
    assert [reference.shape[-1] for reference in seen] == [2, 4]
    torch.testing.assert_close(seen[0][:, :3, 0], tracks.boxes[..., :2])


@torch.no_grad()
def test_before_training_boxes_stay_where_they_start():
    torch.manual_seed(0)
    model = TrackQueryModel(CONFIG).eval()
    maps, tracks = inputs()
    output = model(maps, tracks=tracks)
    start = model.object_boxes.sigmoid().expand(2, -1, -1)
    expected = torch.cat([tracks.boxes, start], dim=1)
    torch.testing.assert_close(output.boxes[-1], expected, rtol=1e-4, atol=1e-4)
    assert output.logits.sigmoid().mean() < 0.1
    centers = start[0, :, :2]
    assert torch.pdist(centers).min() > 0.1  # all over the frame


def test_gradients_reach_everything_that_learns_and_the_frame_before(model):
    maps, tracks = inputs()
    tracks.states.requires_grad_()
    output = model(maps, tracks=tracks)
    (output.logits.sum() + output.boxes.sum()).backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    assert tracks.states.grad.abs().sum() > 0


def test_no_track_queries_are_as_none(model):
    maps, tracks = inputs()
    empty = TrackQueries.collate([tracks.states[0, :0]] * 2, [tracks.boxes[0, :0]] * 2)
    output = model(maps, tracks=empty)
    torch.testing.assert_close(output.boxes, model(maps).boxes)
    (output.logits.sum() + output.boxes.sum()).backward()
    assert torch.equal(model.track_mark.grad, torch.zeros(32))


def test_box_encoding_is_that_of_each_number():
    boxes = torch.rand(5, 4)
    found = sine_encoding_boxes(boxes, 32)
    assert found.shape == (5, 32)
    swapped = sine_encoding_boxes(boxes.flip(-1), 32)
    torch.testing.assert_close(found[:, :8], swapped[:, 24:])
    torch.testing.assert_close(found[:, 0], (boxes[:, 0] * 2 * torch.pi).sin())


def test_errors(model):
    with pytest.raises(ValueError, match="expected 2 feature maps, got 1"):
        model(inputs()[0][:1])
    with pytest.raises(ValueError, match=r"expected 1\.\.4 feature maps for 4 levels, got 5"):
        TrackQueryConfig(channels=(8,) * 5)
    with pytest.raises(ValueError, match="expected num_queries >= 1, got 0"):
        TrackQueryConfig(num_queries=0)
