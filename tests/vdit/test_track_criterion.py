"""Who stands for whom, and what it costs: against brute force, and by properties."""

import itertools

import pytest
import torch

from vdit.boxes import cxcywh_to_xyxy, generalized_box_iou
from vdit.tracking.track_augmentation import AugmentationConfig, draw_followers
from vdit.training.losses import sigmoid_focal_loss
from vdit.training.track_criterion import (
    ABSENT,
    FrameTarget,
    TermWeights,
    TrackCriterion,
    match_frame,
)

WEIGHTS = TermWeights()


def boxes_of(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, 4, generator=generator) * 0.4 + 0.3


def pair_cost(logit, box, true):
    """What the formula says, for one query and one object."""
    p = logit.sigmoid()
    focal = 0.25 * (1 - p) ** 2 * -p.log() - 0.75 * p**2 * -(1 - p).log()
    overlap = generalized_box_iou(cxcywh_to_xyxy(box)[None], cxcywh_to_xyxy(true)[None])[0, 0]
    return 2 * focal + 5 * (box - true).abs().sum() - 2 * overlap


@pytest.mark.parametrize("seed", range(4))
def test_matching_is_the_cheapest_of_all(seed):
    torch.manual_seed(seed)
    logits, boxes, true = torch.randn(5), boxes_of(5, seed=seed), boxes_of(3, seed=seed + 9)
    followed = torch.tensor([2, ABSENT])
    queries, objects = match_frame(logits, boxes, FrameTarget(true, followed), WEIGHTS)
    pairs = dict(zip(queries.tolist(), objects.tolist(), strict=True))
    assert pairs.pop(0) == 2
    best = min(
        itertools.permutations([2, 3, 4], 2),
        key=lambda chosen: sum(
            pair_cost(logits[q], boxes[q], true[n]) for n, q in enumerate(chosen)
        ),
    )
    assert pairs == {best[0]: 0, best[1]: 1}


def test_a_frame_without_objects_matches_nothing():
    target = FrameTarget(torch.empty(0, 4), torch.tensor([ABSENT]))
    queries, objects = match_frame(torch.randn(4), boxes_of(4), target, WEIGHTS)
    assert len(queries) == len(objects) == 0
    losses = TrackCriterion()(
        torch.randn(2, 1, 4), boxes_of(2, 1, 4), [target], 0.0, torch.tensor([[False]])
    )
    assert losses["loss"].isfinite()
    assert losses["l1"] == losses["giou"] == 0


def test_terms_are_those_of_the_formula():
    logits, boxes, true = torch.randn(1, 1, 3), boxes_of(1, 1, 3), boxes_of(2, seed=5)
    target = FrameTarget(true, torch.tensor([1]))
    queries, objects = match_frame(logits[0, 0], boxes[0, 0], target, WEIGHTS)
    losses = TrackCriterion()(logits, boxes, [target], 2.0, torch.tensor([[False]]))
    wanted = torch.zeros(3)
    wanted[queries] = 1
    ce = sigmoid_focal_loss(logits[0, 0], wanted).sum() / 2
    found = boxes[0, 0, queries]
    l1 = (found - true[objects]).abs().sum() / 2
    overlap = generalized_box_iou(cxcywh_to_xyxy(found), cxcywh_to_xyxy(true[objects])).diagonal()
    giou = (1 - overlap).sum() / 2
    torch.testing.assert_close(losses["ce"], ce)
    torch.testing.assert_close(losses["l1"], l1)
    torch.testing.assert_close(losses["giou"], giou)
    torch.testing.assert_close(losses["loss"], 2 * ce + 5 * l1 + 2 * giou)


def test_padding_costs_nothing_and_layers_add_up():
    logits, boxes, true = torch.randn(2, 2, 5), boxes_of(2, 2, 5), boxes_of(2, seed=5)
    targets = [FrameTarget(true, torch.tensor([1, 0])), FrameTarget(true, torch.tensor([0]))]
    padding = torch.tensor([[False, False], [False, True]])
    criterion = TrackCriterion()
    both = criterion(logits, boxes, targets, 4.0, padding)
    changed = logits.clone()
    changed[:, 1, 1] = 50.0
    torch.testing.assert_close(criterion(changed, boxes, targets, 4.0, padding), both)
    kept = [0, 2, 3, 4]
    alone = [
        criterion(logits[d : d + 1, :1], boxes[d : d + 1, :1], targets[:1], 4.0, padding[:1])
        for d in range(2)
    ] + [
        criterion(
            logits[d : d + 1, 1:, kept],
            boxes[d : d + 1, 1:, kept],
            targets[1:],
            4.0,
            padding[1:, :1],
        )
        for d in range(2)
    ]
    torch.testing.assert_close(both["loss"], sum(each["loss"] for each in alone))


def test_not_finite_is_an_error():
    target = FrameTarget(boxes_of(1), torch.empty(0, dtype=torch.long))
    with pytest.raises(FloatingPointError, match="not finite"):
        match_frame(torch.tensor([float("nan")]), boxes_of(1), target, WEIGHTS)


# ---- track queries of training -----------------------------------------------------------------

QUERIES, IDENTITIES = torch.tensor([4, 1, 7]), torch.tensor([10, 20, 30])
NOW = torch.tensor([30, 10])


def test_perfect_track_queries():
    config = AugmentationConfig(0.0, 0.0)
    found = draw_followers(QUERIES, IDENTITIES, boxes_of(9), NOW, config)
    assert found.queries.tolist() == [4, 1, 7]
    assert found.followed.tolist() == [1, ABSENT, 0]
    found = draw_followers(QUERIES, IDENTITIES, boxes_of(9), NOW[:0], config)
    assert found.followed.tolist() == [ABSENT] * 3
    found = draw_followers(QUERIES[:0], IDENTITIES[:0], boxes_of(9), NOW, config)
    assert len(found.queries) == 0


def test_false_negatives_and_positives():
    torch.manual_seed(0)
    config = AugmentationConfig(false_negative=1.0)
    assert len(draw_followers(QUERIES, IDENTITIES, boxes_of(9), NOW, config).queries) == 0
    config = AugmentationConfig(0.0, 1.0)
    found = draw_followers(QUERIES, IDENTITIES, boxes_of(9), NOW, config)
    assert found.followed.tolist() == [1, ABSENT, 0, ABSENT, ABSENT, ABSENT]
    assert len(set(found.queries.tolist())) == 6
    few = draw_followers(QUERIES, IDENTITIES, boxes_of(9)[:8], NOW, config)
    assert set(few.queries.tolist()[3:]) <= {0, 2, 3, 5, 6}
    config = AugmentationConfig(0.4, 0.1)
    drawn = [draw_followers(QUERIES, IDENTITIES, boxes_of(9), NOW, config) for _ in range(600)]
    right = sum(len(set(each.queries.tolist()) & {4, 1, 7}) for each in drawn) / 1800
    wrong = sum(len(set(each.queries.tolist()) - {4, 1, 7}) for each in drawn) / 1800
    assert right == pytest.approx(0.6, abs=0.04)
    assert wrong == pytest.approx(0.06, abs=0.02)


def test_wrong_queries_overlap_right_ones():
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1]] * 2 + [[0.8, 0.8, 0.1, 0.1]] * 2)
    torch.manual_seed(0)
    config = AugmentationConfig(0.0, 1.0)
    one = torch.tensor([0])
    found = [draw_followers(one, one, boxes, one, config).queries[1].item() for _ in range(100)]
    assert found.count(1) > 95


def test_chances_are_checked():
    with pytest.raises(ValueError, match=r"expected false_positive in 0\.\.1, got 2"):
        AugmentationConfig(false_positive=2)
