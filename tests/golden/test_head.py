"""The whole head of VD-IT against the released code: evaluation, training, post-processing."""

from functools import partial

import numpy as np
import pytest
import torch

from vdit.masks import encode_rle
from vdit.models.referring_head import HeadConfig, ReferringHead
from vdit.models.vdit import all_queries, best_query
from vdit.postprocess import full_size_boxes, full_size_masks
from vdit.released_names import released_name
from vdit.structures import Target
from vdit.training.criterion import Criterion
from vdit.training.matcher import TemporalMatcher

STRIDES = (4, 8, 16, 32)


@pytest.fixture
def head(fill_from_formula):
    module = ReferringHead(HeadConfig())
    fill_from_formula(module, lambda name: released_name(f"head.{name}"))
    return module.eval()


@pytest.fixture
def load(golden):
    def read(name):
        return {
            key: torch.from_numpy(np.asarray(value)) if value.dtype.kind in "fiub" else value
            for key, value in golden(name).items()
        }

    return read


def run(head, arrays, sizes, frames=None):
    """Give the maps, shaped [B, T, C, h, w], and the outputs of all layers."""
    B = len(sizes)
    features = [arrays[f"feat{stride}"].unflatten(0, (B, -1)) for stride in STRIDES]
    if frames is not None:
        features = [x[:, frames] for x in features]
    H, W = (4 * side for side in features[0].shape[-2:])
    padding_mask = torch.ones(B, H, W, dtype=torch.bool)
    for b, (height, width) in enumerate(sizes):
        padding_mask[b, :height, :width] = False
    words_padding = arrays.get("text_mask", torch.zeros(arrays["text"].shape[:2]))
    layers = head(features, padding_mask, sizes, arrays["text"], words_padding.bool())
    return features, layers


def close(actual, expected, rtol=1e-5):
    scale = expected.abs().max().clamp(min=1e-6).item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * scale)


def pair(values):
    return tuple(int(value) for value in values.tolist())


@torch.no_grad()
def test_video_evaluation(head, load):
    arrays = load("vdit/head_eval")
    sizes = [pair(arrays["size"])]
    features, layers = run(head, arrays, sizes)
    close(layers[0].mask_maps.flatten(1, 2), arrays["mask_logits16_lvl0"])
    close(layers[-1].mask_maps.flatten(1, 2), arrays["mask_logits16_last"])
    boxes = torch.stack([layer.boxes_cxcywh.flatten(0, 1) for layer in layers])
    close(boxes, arrays["inter_references"])
    best = best_query(layers)[-1]
    close(layers[-1].class_logits[best.clips, :, best.queries], arrays["pred_logits"][..., 0, 0])
    close(layers[-1].boxes_cxcywh[best.clips, :, best.queries], arrays["pred_boxes"][:, :, 0])
    masks = head.refine(layers[-1], features, best.clips, best.queries)
    close(masks, arrays["pred_masks"][:, :, 0])


@torch.no_grad()
def test_steps_of_the_head(head, load):
    arrays = load("vdit/head_eval")
    features = [arrays[f"feat{stride}"] for stride in STRIDES]
    H, W = (4 * side for side in features[0].shape[-2:])
    height, width = pair(arrays["size"])
    padding_mask = torch.ones(1, H, W, dtype=torch.bool)
    padding_mask[:, :height, :width] = False
    T = len(features[0])
    pyramid = head.pyramid(features[1:], padding_mask, T)
    for level, tokens in enumerate(pyramid.maps(pyramid.tokens)):
        close(tokens, arrays[f"src{level}"])
    masks = pyramid.maps(pyramid.padding_mask[..., None].float())
    for level, mask in enumerate(masks):
        assert torch.equal(mask[:, 0].bool(), arrays[f"mask{level}"])
    words = head.text_resizer(arrays["text"])
    queries = head.query_fusion(words, torch.zeros(words.shape[:2], dtype=torch.bool))
    close(queries, arrays["fused_queries"].transpose(0, 1))
    decoded = head.transformer(
        pyramid, queries.repeat_interleave(T, 0), head.query_position.weight, head.box_heads
    )
    close(decoded.states, arrays["hs"])
    close(decoded.references[0], arrays["init_reference"])
    for level in range(3):
        close(decoded.memory[level], arrays[f"memory{level}"])


@torch.no_grad()
def test_one_annotated_frame(head, load):
    arrays = load("vdit/head_a2d")
    size, original = pair(arrays["size"]), pair(arrays["orig_size"])
    features, layers = run(head, arrays, [size], arrays["valid_indices"])
    every = all_queries(layers)[-1]
    masks = head.refine(layers[-1], features, every.clips, every.queries)
    close(layers[-1].class_logits, arrays["pred_logits"][..., 0])
    close(layers[-1].boxes_cxcywh, arrays["pred_boxes"])
    close(masks.transpose(0, 1), arrays["pred_masks"][0])
    close(layers[-1].class_logits[0, 0].sigmoid(), arrays["pp_scores"])
    decided = full_size_masks(masks[:, 0], size, original, 0.5)
    assert torch.equal(decided, arrays["pp_masks"][:, 0].bool())
    for mask, counts in zip(decided.numpy(), arrays["rle_counts"].tolist(), strict=True):
        rle = encode_rle(mask)
        assert rle["counts"].encode() == counts
        assert rle["size"] == arrays["rle_size"].tolist()


@torch.no_grad()
def test_images(head, load):
    arrays = load("vdit/head_refcoco")
    sizes = [pair(size) for size in arrays["sizes"]]
    features, layers = run(head, arrays, sizes)
    every = all_queries(layers)[-1]
    masks = head.refine(layers[-1], features, every.clips, every.queries)
    close(layers[-1].class_logits, arrays["pred_logits"][..., 0])
    close(masks[:, 0].view(arrays["pred_masks"].shape), arrays["pred_masks"])
    for b, original in enumerate(pair(size) for size in arrays["orig_sizes"]):
        scores, order = layers[-1].class_logits[b, 0].sigmoid().sort(descending=True)
        close(scores, arrays[f"scores{b}"])
        boxes = full_size_boxes(layers[-1].boxes_cxcywh[b, 0], original)
        close(boxes[order], arrays[f"boxes{b}"])
        decided = full_size_masks(masks[every.clips == b, 0], sizes[b], original, 0.5)
        assert torch.equal(decided[order], arrays[f"masks{b}"][:, 0].bool())


def test_training_step(head, load):
    arrays = load("vdit/head_train")
    targets = [
        Target(
            arrays[f"tgt{i}_boxes"][None],
            arrays[f"tgt{i}_masks"][None],
            arrays[f"tgt{i}_valid"][None].bool(),
            pair(arrays[f"tgt{i}_size"]),
        )
        for i in range(len(arrays["main_idx"]))
    ]
    features, layers = run(head, arrays, [target.size for target in targets])
    matcher, criterion = TemporalMatcher(), Criterion()
    order = [len(layers) - 1, *range(len(layers) - 1)]
    costs = [cost for i in order for cost in matcher.cost_matrix(layers[i], targets)]
    close(torch.stack(costs), arrays["cost_matrices"])
    matches = list(map(partial(matcher, targets=targets), layers))
    queries = torch.stack([match.queries for match in matches])
    assert torch.equal(queries[-1], arrays["main_idx"])
    assert torch.equal(queries[:-1], arrays["aux_idx"])
    masks = [
        head.refine(layer, features, match.clips, match.queries)
        for layer, match in zip(layers, matches, strict=True)
    ]
    close(masks[-1], arrays["pred_masks"])
    losses = criterion(layers, matches, masks, targets)
    stored = {key[5:] for key in arrays if key.startswith("loss/")}
    assert set(losses) == stored
    for name in stored:
        close(losses[name], arrays[f"loss/{name}"])
    total = criterion.total(losses)
    close(total, arrays["total"])
    total.backward()
    gradients = {
        released_name(f"head.{name}"): parameter.grad for name, parameter in head.named_parameters()
    }
    for key in (key for key in arrays if key.startswith("gradnorm/")):
        close(gradients[key.removeprefix("gradnorm/")].norm(), arrays[key].float(), rtol=2e-4)
