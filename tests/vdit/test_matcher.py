"""Matching of queries and objects: cost term by term, choice against all permutations."""

import itertools

import numpy as np
import pytest
import torch

from vdit.structures import LayerOutput, Target
from vdit.training.matcher import MatcherWeights, TemporalMatcher

FRAMES, QUERIES, SIZE = 3, 4, (16, 24)
NO_WEIGHT = dict.fromkeys(("classes", "box_l1", "box_giou", "mask_focal", "mask_dice"), 0.0)


def random_layer(num_clips: int = 1, seed: int = 0, queries: int = QUERIES) -> LayerOutput:
    generator = torch.Generator().manual_seed(seed)
    shape, cells = (num_clips, FRAMES, queries), (16, SIZE[0] // 8, SIZE[1] // 8)
    return LayerOutput(
        class_logits=2 * torch.randn(shape, generator=generator),
        boxes_cxcywh=torch.rand(*shape, 4, generator=generator),
        mask_maps=torch.randn(*shape, *cells, generator=generator),
    )


def random_target(num_objects: int, seed: int = 1) -> Target:
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(num_objects, FRAMES, generator=generator) < 0.6
    valid[:, 0] = True
    boxes = torch.rand(num_objects, FRAMES, 4, generator=generator) * valid[..., None]
    masks = torch.rand(num_objects, FRAMES, *SIZE, generator=generator) < 0.3
    return Target(boxes, masks & valid[..., None, None], valid, SIZE)


def subset(target: Target, objects: slice | list[int]) -> Target:
    return Target(
        target.boxes_cxcywh[objects], target.masks[objects], target.valid[objects], target.size
    )


def single_term(name: str) -> TemporalMatcher:
    return TemporalMatcher(MatcherWeights(**NO_WEIGHT | {name: 1.0}))


def slow_class_cost(prob, valid):
    costs = [
        0.25 * (1 - p) ** 2 * -np.log(p + 1e-8) - 0.75 * p**2 * -np.log(1 - p + 1e-8)
        for p, seen in zip(prob, valid, strict=True)
        if seen
    ]
    return np.mean(costs)


def slow_giou(first, second):
    (x1, y1, w1, h1), (x2, y2, w2, h2) = first, second
    low = [min(a - s / 2, b - r / 2) for a, s, b, r in ((x1, w1, x2, w2), (y1, h1, y2, h2))]
    high = [max(a + s / 2, b + r / 2) for a, s, b, r in ((x1, w1, x2, w2), (y1, h1, y2, h2))]
    sides = [
        max(0, min(a + s / 2, b + r / 2) - max(a - s / 2, b - r / 2))
        for a, s, b, r in ((x1, w1, x2, w2), (y1, h1, y2, h2))
    ]
    inter = sides[0] * sides[1]
    union = w1 * h1 + w2 * h2 - inter
    area = (high[0] - low[0]) * (high[1] - low[1])
    return (inter + 1e-6) / (union + 1e-6) - (area - union + 1e-6) / (area + 1e-6)


@pytest.mark.parametrize("name", list(NO_WEIGHT))
def test_terms_one_by_one(name):
    layer, target = random_layer(), random_target(3)
    (found,) = single_term(name).cost_matrix(layer, [target])
    low, true = layer.mask_logits_low[0].double(), target.masks[:, :, 1::2, 1::2].double()
    for q, n in itertools.product(range(QUERIES), range(3)):
        probs, mask = low[:, q].sigmoid().flatten(), true[n].flatten()
        boxes = layer.boxes_cxcywh[0, :, q].tolist()
        pairs = list(zip(boxes, target.boxes_cxcywh[n].tolist(), strict=True))
        expected = {
            "classes": lambda q=q, n=n: slow_class_cost(
                layer.class_logits[0, :, q].sigmoid().numpy(), target.valid[n]
            ),
            "box_l1": lambda pairs=pairs: np.mean([np.abs(np.subtract(*p)).sum() for p in pairs]),
            "box_giou": lambda pairs=pairs: -np.mean([slow_giou(*p) for p in pairs]),
            "mask_focal": lambda p=probs, m=mask: torch.where(
                m > 0, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log()
            ).mean(),
            "mask_dice": lambda p=probs, m=mask: -(2 * (p * m).sum() + 1) / (p.sum() + m.sum() + 1),
        }[name]()
        assert found[q, n].item() == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


def test_released_weights():
    weights = {"classes": 2, "box_l1": 5, "box_giou": 2, "mask_focal": 2, "mask_dice": 5}
    layer, target = random_layer(), random_target(2)
    expected = sum(
        weight * single_term(name).cost_matrix(layer, [target])[0]
        for name, weight in weights.items()
    )
    torch.testing.assert_close(TemporalMatcher().cost_matrix(layer, [target])[0], expected)


@pytest.mark.parametrize("num_objects", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_least_total_of_all_permutations(num_objects, seed):
    layer, target = random_layer(seed=seed), random_target(num_objects, seed + 100)
    matcher = TemporalMatcher()
    (cost,) = matcher.cost_matrix(layer, [target])
    best = min(
        itertools.permutations(range(QUERIES), num_objects),
        key=lambda queries: sum(cost[q, n].item() for n, q in enumerate(queries)),
    )
    match = matcher(layer, [target])
    assert match.objects.tolist() == list(range(num_objects))
    assert match.queries.tolist() == list(best)
    assert match.clips.tolist() == [0] * num_objects


@pytest.mark.parametrize("seed", range(5))
def test_one_object_takes_the_cheapest_query(seed):
    layer, target = random_layer(seed=seed), random_target(1, seed)
    matcher = TemporalMatcher()
    (cost,) = matcher.cost_matrix(layer, [target])
    assert matcher(layer, [target]).queries.tolist() == [cost[:, 0].argmin().item()]


def test_equal_queries_give_the_first(monkeypatch):
    matcher = TemporalMatcher()
    monkeypatch.setattr(matcher, "cost_matrix", lambda *_: [torch.tensor([[3.0], [1], [1], [1]])])
    assert matcher(random_layer(), []).queries.tolist() == [1]


def test_more_objects_than_queries():
    layer, target = random_layer(queries=2), random_target(5)
    match = TemporalMatcher()(layer, [target])
    assert sorted(match.queries.tolist()) == [0, 1]
    assert len(set(match.objects.tolist())) == 2


def test_clips_are_matched_apart():
    layer, targets = random_layer(3), [random_target(2), random_target(0), random_target(3, 5)]
    match = TemporalMatcher()(layer, targets)
    assert match.clips.tolist() == [0, 0, 2, 2, 2]
    assert match.objects.tolist() == [0, 1, 0, 1, 2]
    for b in (0, 2):
        alone = LayerOutput(*(value[b : b + 1] for value in vars(layer).values()))
        expected = TemporalMatcher()(alone, [targets[b]]).queries
        assert match.queries[match.clips == b].tolist() == expected.tolist()


def test_no_objects_at_all():
    match = TemporalMatcher()(random_layer(2), [random_target(0), random_target(0)])
    for indices in (match.clips, match.queries, match.objects):
        assert indices.shape == (0,)
        assert indices.dtype == torch.long


def test_objects_do_not_see_each_other():
    layer, target = random_layer(), random_target(3)
    (together,) = TemporalMatcher().cost_matrix(layer, [target])
    (alone,) = TemporalMatcher().cost_matrix(layer, [subset(target, [2])])
    torch.testing.assert_close(together[:, 2:], alone)


def test_class_counts_in_valid_frames_and_boxes_in_all():
    layer, target = random_layer(), random_target(1)
    target.valid[:] = torch.tensor([[True, False, True]])
    before = {name: single_term(name).cost_matrix(layer, [target])[0] for name in NO_WEIGHT}
    layer.class_logits[:, 1] += 3
    layer.boxes_cxcywh[:, 1] *= 0.5
    after = {name: single_term(name).cost_matrix(layer, [target])[0] for name in NO_WEIGHT}
    assert torch.equal(before["classes"], after["classes"])
    assert (before["box_l1"] != after["box_l1"]).all()
    assert (before["box_giou"] != after["box_giou"]).all()


def test_object_that_is_never_seen_costs_no_class():
    target = random_target(1)
    target.valid[:] = False
    cost = single_term("classes").cost_matrix(random_layer(), [target])[0]
    assert torch.equal(cost, torch.zeros(QUERIES, 1))


def test_unpadded_masks_cost_the_same():
    layer, target = random_layer(), random_target(2)
    target.masks[..., 11:, :] = False
    target.masks[..., 20:] = False
    smaller = Target(target.boxes_cxcywh, target.masks[..., :11, :20], target.valid, (11, 20))
    (padded,) = TemporalMatcher().cost_matrix(layer, [target])
    torch.testing.assert_close(TemporalMatcher().cost_matrix(layer, [smaller])[0], padded)


def test_no_gradient_and_half_precision():
    layer, target = random_layer(), random_target(1)
    layer.class_logits.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (cost,) = TemporalMatcher().cost_matrix(layer, [target])
    assert not cost.requires_grad
    torch.testing.assert_close(cost, TemporalMatcher().cost_matrix(layer, [target])[0])
    half = LayerOutput(*(value.detach().bfloat16() for value in vars(layer).values()))
    assert TemporalMatcher().cost_matrix(half, [target])[0].dtype == torch.float32


def test_broken_input_is_refused():
    layer, target = random_layer(), random_target(1)
    with pytest.raises(ValueError, match="expected 1 targets, one per clip, got 2"):
        TemporalMatcher()(layer, [target, target])
    short = Target(target.boxes_cxcywh[:, :2], target.masks[:, :2], target.valid[:, :2], SIZE)
    with pytest.raises(ValueError, match="targets of 3 frames, got 2"):
        TemporalMatcher()(layer, [short])
    large = Target(target.boxes_cxcywh, torch.zeros(1, 3, 17, 24).bool(), target.valid, SIZE)
    with pytest.raises(ValueError, match="exceed the 16 x 24 pixels"):
        TemporalMatcher()(layer, [large])
    layer.boxes_cxcywh[0, 0, 2] = torch.nan
    with pytest.raises(FloatingPointError, match="cost of clip 0 is not finite"):
        TemporalMatcher()(layer, [target])
