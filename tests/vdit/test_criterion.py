"""The training loss: values by hand, what must not matter, gradients, errors, processes."""

from dataclasses import astuple

import pytest
import torch
import torch.distributed as dist

from vdit.structures import LayerOutput, Match, Target
from vdit.training.criterion import Criterion, LossWeights

LAYERS, CLIPS, FRAMES, QUERIES, SIZE = 3, 3, 4, 5, (16, 24)
NAMES = ("ce", "bbox", "giou", "mask", "dice", "mask_low", "dice_low")


def random_batch(counts=(2, 0, 1), seed=0):
    """Leaf predictions of all layers, matches in a row, and targets with unseen frames."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    shape, cells = (len(counts), FRAMES, QUERIES), (16, SIZE[0] // 8, SIZE[1] // 8)
    pairs = [
        (b, (2 * b + n + 1) % QUERIES, n) for b, count in enumerate(counts) for n in range(count)
    ]
    match = Match(*torch.tensor(pairs, dtype=torch.long).reshape(-1, 3).T)
    layers = [
        LayerOutput(normal(*shape), normal(*shape, 4).sigmoid(), normal(*shape, *cells))
        for _ in range(LAYERS)
    ]
    masks = [normal(len(pairs), FRAMES, *SIZE) for _ in range(LAYERS)]
    for value in [*masks, *(value for layer in layers for value in vars(layer).values())]:
        value.requires_grad_()
    targets = []
    for count in counts:
        valid = torch.rand(count, FRAMES, generator=generator) < 0.7
        valid[:, 0] = True
        boxes = normal(count, FRAMES, 4).sigmoid() * valid[..., None]
        true = (normal(count, FRAMES, *SIZE) > 0.5) & valid[..., None, None]
        targets.append(Target(boxes, true, valid, SIZE))
    return layers, [match] * LAYERS, masks, targets


def total(batch):
    criterion = Criterion()
    return criterion.total(criterion(*batch))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=lambda m, name=name: f"{name}: {m}")


def test_names():
    losses = Criterion()(*random_batch())
    suffixes = ("", *(f"_{index}" for index in range(LAYERS - 1)))
    assert set(losses) == {f"loss_{name}{suffix}" for name in NAMES for suffix in suffixes}
    layers, matches, masks, targets = random_batch()
    assert len(Criterion()(layers[:1], matches[:1], masks[:1], targets)) == len(NAMES)


def test_layers_keep_their_names():
    layers, matches, masks, targets = random_batch()
    losses = Criterion()(layers, matches, masks, targets)
    for index, suffix in enumerate(("_0", "_1", "")):
        alone = Criterion()([layers[index]], [matches[index]], [masks[index]], targets)
        assert_same({f"loss_{name}": losses[f"loss_{name}{suffix}"] for name in NAMES}, alone)


def slow_focal(logits, target):
    prob = logits.sigmoid()
    yes, no = -0.25 * (1 - prob) ** 2 * prob.log(), -0.75 * prob**2 * (1 - prob).log()
    return torch.where(target.bool(), yes, no)


def slow_dice(logits, target):
    prob = logits.sigmoid()
    return 1 - (2 * (prob * target).sum() + 1) / (prob.sum() + target.sum() + 1)


def test_terms_pair_by_pair():
    layers, matches, masks, targets = random_batch()
    layer, match, refined = layers[-1], matches[-1], masks[-1]
    expected = dict.fromkeys(NAMES, 0.0)
    classes = torch.zeros(CLIPS, FRAMES, QUERIES)
    indices = zip(match.clips.tolist(), match.queries.tolist(), match.objects.tolist(), strict=True)
    for k, (b, q, n) in enumerate(indices):
        target = targets[b]
        true, low = target.masks[n], layer.mask_logits_low[b, :, q]
        classes[b, :, q] = target.valid[n].float()
        boxes, true_boxes = layer.boxes_cxcywh[b, :, q], target.boxes_cxcywh[n]
        for box, true_box in zip(boxes, true_boxes, strict=True):
            expected["bbox"] += (box - true_box).abs().sum()
            expected["giou"] += 1 - slow_giou(box, true_box)
        expected["mask"] += slow_focal(refined[k], true).mean()
        expected["dice"] += slow_dice(refined[k], true)
        expected["mask_low"] += slow_focal(low, true[:, 1::2, 1::2]).mean()
        expected["dice_low"] += slow_dice(low, true[:, 1::2, 1::2])
    expected["ce"] = slow_focal(layer.class_logits, classes).sum()
    num_boxes = sum(target.valid.sum() for target in targets)
    losses = Criterion()(layers, matches, masks, targets)
    for name, value in expected.items():
        torch.testing.assert_close(losses[f"loss_{name}"], value / num_boxes, msg=name)


def slow_giou(box, true_box):
    low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
    true_low, true_high = true_box[:2] - true_box[2:] / 2, true_box[:2] + true_box[2:] / 2
    inter = (torch.min(high, true_high) - torch.max(low, true_low)).clamp(min=0).prod()
    union = box[2:].prod() + true_box[2:].prod() - inter
    area = (torch.max(high, true_high) - torch.min(low, true_low)).prod()
    return (inter + 1e-6) / (union + 1e-6) - (area - union + 1e-6) / (area + 1e-6)


def test_total_has_the_released_weights():
    losses = Criterion()(*random_batch())
    weights = dict(zip(NAMES, (2, 5, 2, 2, 5, 2, 5), strict=True))
    expected = sum(
        weight * losses[f"loss_{name}{suffix}"]
        for name, weight in weights.items()
        for suffix in ("", "_0", "_1")
    )
    torch.testing.assert_close(Criterion().total(losses), expected)
    only_boxes = Criterion(LossWeights(ce=0, bbox=1, giou=0, mask=0, dice=0)).total(losses)
    assert only_boxes == sum(losses[f"loss_bbox{suffix}"] for suffix in ("", "_0", "_1"))


def test_order_of_clips_does_not_matter():
    layers, matches, masks, targets = random_batch()
    order = [2, 0, 1]
    place = torch.tensor([order.index(b) for b in range(CLIPS)])
    shuffled = [LayerOutput(*(value[order] for value in vars(layer).values())) for layer in layers]
    moved = [Match(place[match.clips], match.queries, match.objects) for match in matches]
    losses = Criterion()(shuffled, moved, masks, [targets[b] for b in order])
    assert_same(losses, Criterion()(layers, matches, masks, targets))


def test_order_of_pairs_does_not_matter():
    layers, matches, masks, targets = random_batch()
    order = torch.tensor([2, 0, 1])
    moved = [Match(*(value[order] for value in astuple(match))) for match in matches]
    losses = Criterion()(layers, moved, [mask[order] for mask in masks], targets)
    assert_same(losses, Criterion()(layers, matches, masks, targets))


def test_unpadded_masks_give_the_same():
    layers, matches, masks, targets = random_batch()
    for target in targets:
        target.masks[..., 13:, :] = False
        target.masks[..., 18:] = False
    smaller = [Target(t.boxes_cxcywh, t.masks[..., :13, :18], t.valid, (13, 18)) for t in targets]
    losses = Criterion()(layers, matches, masks, smaller)
    assert_same(losses, Criterion()(layers, matches, masks, targets))


def test_padded_area_of_the_video_reaches_only_the_masks():
    layers, matches, masks, targets = random_batch()
    before = Criterion()(layers, matches, masks, targets)
    wider = [torch.nn.functional.pad(mask, (0, 8)) for mask in masks]
    padded = [
        LayerOutput(
            layer.class_logits,
            layer.boxes_cxcywh,
            torch.nn.functional.pad(layer.mask_maps, (0, 1)),
        )
        for layer in layers
    ]
    after = Criterion()(padded, matches, wider, targets)
    for name, value in after.items():
        reached = "mask" in name or "dice" in name
        assert torch.equal(value, before[name]) != reached, name


def test_gradients_reach_matched_queries_only():
    layers, matches, masks, targets = random_batch()
    total((layers, matches, masks, targets)).backward()
    for layer, match, mask in zip(layers, matches, masks, strict=True):
        matched = torch.zeros(CLIPS, QUERIES, dtype=torch.bool)
        matched[match.clips, match.queries] = True
        for value in (layer.boxes_cxcywh, layer.mask_maps):
            reached = (value.grad != 0).transpose(1, 2).flatten(2).any(dim=2)
            assert torch.equal(reached, matched)
        assert (layer.class_logits.grad != 0).all()
        assert (mask.grad != 0).all()


def test_unseen_frames_pull_the_class_down_and_the_box_to_zero():
    batch = random_batch((1,))
    layers, (match, *_), _, (target,) = batch
    target.valid[:], target.boxes_cxcywh[:, 1] = torch.tensor([True, False, True, True]), 0
    target.masks[:, 1] = False
    total(batch).backward()
    query = match.queries[0]
    signs = layers[-1].class_logits.grad[0, :, query].sign()
    assert signs.tolist() == [-1, 1, -1, -1]
    assert (layers[-1].boxes_cxcywh.grad[0, 1, query] != 0).all()


def test_clips_without_objects():
    batch = random_batch((0, 0))
    layers, _, masks, _ = batch
    losses = Criterion()(*batch)
    for name, value in losses.items():
        assert (value != 0) == name.startswith("loss_ce"), name
    # no object: divided by 1
    expected = slow_focal(layers[-1].class_logits, torch.zeros(2, FRAMES, QUERIES)).sum()
    torch.testing.assert_close(losses["loss_ce"], expected)
    Criterion().total(losses).backward()
    for layer, mask in zip(layers, masks, strict=True):
        assert (layer.class_logits.grad != 0).all()
        assert layer.mask_maps.grad is None or (layer.mask_maps.grad == 0).all()
        assert mask.grad.numel() == 0


def test_perfect_predictions_cost_nothing():
    (layer, *_), (match, *_), _, targets = random_batch((1,))
    (target,) = targets
    target.valid[:] = True
    true = target.masks[0].double() * 200 - 100
    low = true[:, 1::2, 1::2]
    query = match.queries[0]
    with torch.no_grad():
        layer.class_logits[:] = -100
        layer.class_logits[..., query] = 100
        layer.boxes_cxcywh[0, :, query] = target.boxes_cxcywh[0].double()
        layer.mask_maps[0, :, query] = torch.nn.functional.pixel_unshuffle(low[:, None], 4)
    losses = Criterion()([layer], [match], [true[None]], targets)
    for name, value in losses.items():
        assert value.item() == pytest.approx(0, abs=1e-3), name


def test_half_precision_predictions():
    layers, matches, masks, targets = random_batch()
    half = [LayerOutput(*(value.bfloat16() for value in vars(layer).values())) for layer in layers]
    losses = Criterion()(half, matches, [mask.bfloat16() for mask in masks], targets)
    for name, value in Criterion()(layers, matches, masks, targets).items():
        assert losses[name].item() == pytest.approx(value.item(), rel=0.02), name


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_broken_terms_are_named(value):
    layers, matches, masks, targets = random_batch()
    with torch.no_grad():
        layers[1].boxes_cxcywh[0, 0, matches[1].queries[0]] = value
    with pytest.raises(FloatingPointError, match=r"^loss_bbox_1.* not finite") as error:
        Criterion()(layers, matches, masks, targets)
    assert "loss_ce" not in str(error.value)


def test_numbers_that_disagree_are_refused():
    layers, matches, masks, targets = random_batch()
    with pytest.raises(ValueError, match="got 3 layers, 2 matches and 3 masks"):
        Criterion()(layers, matches[:2], masks, targets)
    with pytest.raises(ValueError, match="got 0 layers"):
        Criterion()([], [], [], targets)
    with pytest.raises(ValueError, match="expected 3 targets, one per clip, got 2"):
        Criterion()(layers, matches, masks, targets[:2])
    with pytest.raises(ValueError, match="masks of the 3 matched pairs, got 2"):
        Criterion()(layers, matches, [mask[:2] for mask in masks], targets)
    small = [mask[..., :8] for mask in masks]
    with pytest.raises(ValueError, match="exceed the 16 x 8 pixels"):
        Criterion()(layers, matches, small, targets)


def test_processes_share_one_normalizer(monkeypatch):
    batch = random_batch()
    alone = Criterion()(*batch)
    count = sum(target.valid.sum().item() for target in batch[-1])

    def add_the_other_process(value):
        value += 3 * count

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", add_the_other_process)
    for name, value in Criterion()(*batch).items():
        torch.testing.assert_close(value, alone[name] / 2)
