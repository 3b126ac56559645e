"""The five-tensor signature of Deformable-DETR and mmcv, and mmcv's layer."""

from __future__ import annotations

import pytest
import torch

from vdit.models.deformable_attention import DeformableAttention
from vdit.ops import ms_deform_attn
from vdit.ops.hosts import MultiScaleDeformableAttention, multi_scale_deform_attn

SHAPES = torch.tensor([[4, 5], [2, 3]])


@pytest.mark.parametrize("step", [1, 64])
def test_equals_the_operator(make_inputs, step):
    value, shapes, *rest = make_inputs(batch=3)
    out = multi_scale_deform_attn(value, SHAPES, torch.tensor([0, 20]), *rest, step)
    assert torch.equal(out, ms_deform_attn(value, shapes, *rest))


def test_takes_locations_in_half_precision(make_inputs):
    value, shapes, locations, weights = make_inputs()
    low = [tensor.half() for tensor in (value, locations, weights)]
    out = multi_scale_deform_attn(low[0], SHAPES, torch.tensor([0, 20]), *low[1:])
    assert torch.equal(out, ms_deform_attn(low[0], shapes, low[1].float(), low[2].float()))


def test_start_indices_must_follow_from_the_shapes(make_inputs):
    value, _, *rest = make_inputs()
    message = r"^value_level_start_index: expected \[0, 20\] .*, got \[0, 6\]$"
    with pytest.raises(ValueError, match=message):
        multi_scale_deform_attn(value, SHAPES, torch.tensor([0, 6]), *rest)


def layer_inputs(num_queries=7, boxes=False):
    torch.manual_seed(1)
    query, value = torch.randn(num_queries, 2, 32), torch.randn(26, 2, 32)
    points = torch.rand(2, num_queries, 2, 4 if boxes else 2)
    return query, value, points


def randomized(layer):
    torch.manual_seed(2)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.eval()


@pytest.mark.parametrize("boxes", [False, True])
def test_layer_equals_ours_by_the_keys_of_its_parameters(boxes):
    layer = randomized(MultiScaleDeformableAttention(32, num_heads=4, num_levels=2))
    ours = DeformableAttention(32, num_levels=2, num_heads=4)
    ours.load_state_dict(layer.state_dict())
    query, value, points = layer_inputs(boxes=boxes)
    out = layer(
        query,
        value=value,
        reference_points=points,
        spatial_shapes=SHAPES,
        level_start_index=torch.tensor([0, 20]),
    )
    mask = torch.zeros(2, 26, dtype=torch.bool)
    expected = ours(query.transpose(0, 1), points, value.transpose(0, 1), [(4, 5), (2, 3)], mask)
    torch.testing.assert_close(out, query + expected.transpose(0, 1))


def test_layer_options():
    layer = randomized(MultiScaleDeformableAttention(32, 4, 2, batch_first=True, dropout=0.9))
    query, value, points = layer_inputs()
    query, value = query.transpose(0, 1), value.transpose(0, 1)
    geometry = {
        "reference_points": points,
        "spatial_shapes": SHAPES,
        "level_start_index": torch.tensor([0, 20]),
    }
    plain = layer(query, value=value, **geometry) - query
    shifted = layer(query - 1, query_pos=torch.ones_like(query), value=value, **geometry)
    torch.testing.assert_close(shifted, plain + query - 1)
    identity = torch.randn_like(query)
    torch.testing.assert_close(
        layer(query, value=value, identity=identity, **geometry), plain + identity
    )
    mask = torch.zeros(2, 26, dtype=torch.bool)
    mask[:, :20] = True
    masked = layer(query, value=value, key_padding_mask=mask, **geometry)
    torch.testing.assert_close(
        masked, layer(query, value=value, key_padding_mask=mask, **geometry, key=None, spare=1)
    )
    assert not torch.allclose(masked, plain + query)


def test_layer_starts_as_ours_does():
    layer = MultiScaleDeformableAttention(32, 4, 2)
    ours = DeformableAttention(32, num_levels=2, num_heads=4).state_dict()
    for key in ("sampling_offsets.weight", "sampling_offsets.bias", "attention_weights.bias"):
        torch.testing.assert_close(layer.state_dict()[key], ours[key])


def test_layer_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="multiples of num_heads"):
        MultiScaleDeformableAttention(32, 5)
    with pytest.raises(ValueError, match="init_cfg to be None"):
        MultiScaleDeformableAttention(init_cfg={})
    with pytest.raises(ValueError, match="pass all three"):
        MultiScaleDeformableAttention()(torch.zeros(1, 1, 256))


def test_layer_equals_mmcv():
    theirs_module = pytest.importorskip("mmcv.ops", reason="needs mmcv with its operators")
    theirs = randomized(theirs_module.MultiScaleDeformableAttention(32, 4, 2))
    layer = MultiScaleDeformableAttention(32, 4, 2).eval()
    layer.load_state_dict(theirs.state_dict())
    query, value, points = layer_inputs()
    geometry = (points, SHAPES, torch.tensor([0, 20]))
    out = [each(query, None, value, None, None, None, *geometry) for each in (layer, theirs)]
    torch.testing.assert_close(*out)
