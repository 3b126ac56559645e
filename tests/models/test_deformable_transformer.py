"""Properties of the deformable transformer that no stored number shows."""

import pytest
import torch

from vdit.models.deformable_transformer import (
    DeformableTransformer,
    TransformerConfig,
    inverse_sigmoid,
)
from vdit.models.mask_head import MLP
from vdit.models.position_encoding import sine_encoding_2d

CONFIG = TransformerConfig(
    dim=32,
    num_heads=4,
    num_levels=2,
    num_encoder_layers=2,
    num_decoder_layers=2,
    feed_forward_dim=64,
)
SIZES = [(6, 8), (3, 4)]


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return DeformableTransformer(CONFIG).eval()


@pytest.fixture
def box_heads():
    torch.manual_seed(1)
    return [MLP([32, 32, 4]) for _ in range(2)]


def decode(transformer, box_heads, maps, masks, queries, position):
    positions = [sine_encoding_2d(mask, 32) for mask in masks]
    with torch.no_grad():
        return transformer(
            transformer.flatten(maps, masks, positions), queries, position, box_heads
        )


def inputs(N=2):
    torch.manual_seed(2)
    maps = [torch.randn(N, 32, *size) for size in SIZES]
    masks = [torch.zeros(N, *size, dtype=torch.bool) for size in SIZES]
    return maps, masks, torch.randn(N, 5, 32), torch.randn(5, 32)


def test_batch_equals_singles(transformer, box_heads):
    maps, masks, queries, position = inputs()
    both = decode(transformer, box_heads, maps, masks, queries, position)
    one = decode(
        transformer, box_heads, [x[1:] for x in maps], [m[1:] for m in masks], queries[1:], position
    )
    torch.testing.assert_close(both.states[:, 1:], one.states, rtol=1e-4, atol=1e-5)


def test_queries_may_be_permuted(transformer, box_heads):
    maps, masks, queries, position = inputs()
    order = torch.tensor([3, 0, 4, 1, 2])
    before = decode(transformer, box_heads, maps, masks, queries, position)
    after = decode(transformer, box_heads, maps, masks, queries[:, order], position[order])
    torch.testing.assert_close(before.boxes[:, :, order], after.boxes, rtol=1e-4, atol=1e-5)


def test_what_is_padded_does_not_matter(transformer, box_heads):
    maps, masks, queries, position = inputs()
    for mask in masks:
        mask[:, :, mask.shape[2] // 2 :] = True
    before = decode(transformer, box_heads, maps, masks, queries, position)
    changed = [torch.where(mask[:, None], x + 100, x) for x, mask in zip(maps, masks, strict=True)]
    after = decode(transformer, box_heads, changed, masks, queries, position)
    torch.testing.assert_close(before.boxes, after.boxes, rtol=1e-4, atol=1e-5)


def test_a_box_starts_from_the_one_before(transformer):
    maps, masks, queries, position = inputs()
    still = [lambda x: x.new_zeros(*x.shape[:-1], 4)] * 2
    decoded = decode(transformer, still, maps, masks, queries, position)
    torch.testing.assert_close(decoded.boxes[0, ..., :2], decoded.references[0])
    assert (decoded.boxes[0, ..., 2:] == 0.5).all()
    torch.testing.assert_close(decoded.boxes[1], decoded.boxes[0])


def test_inverse_sigmoid():
    x = torch.tensor([0.0, 1e-7, 0.3, 0.999, 1.0])
    y = inverse_sigmoid(x)
    assert y.isfinite().all()
    torch.testing.assert_close(y[2:4].sigmoid(), x[2:4])
