"""Mask and class losses: definitions entry by entry, pairs, precision and errors."""

import math

import pytest
import torch

from vdit.training.losses import (
    dice_loss,
    pad_masks,
    pairwise_dice,
    pairwise_focal,
    sigmoid_focal_loss,
)


@pytest.fixture
def logits():
    return torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def targets():
    return torch.rand(3, 2, 5, generator=torch.Generator().manual_seed(1)) < 0.4


def slow_focal(logit, target, alpha=0.25, gamma=2.0):
    prob = 1 / (1 + math.exp(-logit))
    if target:
        return -alpha * (1 - prob) ** gamma * math.log(prob)
    return -(1 - alpha) * prob**gamma * math.log(1 - prob)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 1.0), (0.5, 0.0)])
def test_focal_loss_entry_by_entry(logits, targets, alpha, gamma):
    found = sigmoid_focal_loss(logits, targets, alpha, gamma)
    pairs = zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    expected = [slow_focal(x, y, alpha, gamma) for x, y in pairs]
    torch.testing.assert_close(found.flatten().tolist(), expected)


def test_dice_loss_entry_by_entry(logits, targets):
    for k, found in enumerate(dice_loss(logits, targets)):
        probs = [1 / (1 + math.exp(-x)) for x in logits[k].flatten().tolist()]
        true = targets[k].flatten().tolist()
        overlap = sum(p * y for p, y in zip(probs, true, strict=True))
        assert found.item() == pytest.approx(1 - (2 * overlap + 1) / (sum(probs) + sum(true) + 1))


def test_certain_masks():
    target = torch.tensor([[1, 1, 0, 0]])
    certain = torch.tensor([[60.0, 60.0, -60.0, -60.0]])
    assert dice_loss(certain, target).item() == pytest.approx(0)
    assert dice_loss(-certain, target).item() == pytest.approx(1 - 1 / 5)
    assert sigmoid_focal_loss(certain, target).sum().item() == pytest.approx(0)
    # an empty mask that is predicted empty costs nothing
    assert dice_loss(torch.full((1, 4), -60.0), torch.zeros(1, 4)).item() == pytest.approx(0)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([[1, 0, 1]])).sum() + dice_loss(
        logits, torch.tensor([[1, 0, 1]])
    )
    loss.backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_pairs_equal_the_losses(logits, targets):
    logits, targets = logits.flatten(1), targets.flatten(1)[:2]
    focal, dice = pairwise_focal(logits, targets), pairwise_dice(logits, targets)
    assert focal.shape == dice.shape == (3, 2)
    for q in range(3):
        for n in range(2):
            alone = logits[q : q + 1], targets[n : n + 1]
            torch.testing.assert_close(focal[q, n], sigmoid_focal_loss(*alone).mean())
            torch.testing.assert_close(dice[q, n], 1 - dice_loss(*alone)[0])


def test_no_masks(logits):
    none = logits[:0]
    assert dice_loss(none, none).shape == (0,)
    assert sigmoid_focal_loss(none, none).sum() == 0
    flat = logits.flatten(1)
    assert pairwise_dice(flat, flat[:0]).shape == pairwise_focal(flat, flat[:0]).shape == (3, 0)


def test_half_precision_is_computed_in_single(logits, targets):
    half = logits.to(torch.bfloat16)
    for loss in (sigmoid_focal_loss, dice_loss):
        assert loss(half, targets).dtype == torch.float32
        torch.testing.assert_close(loss(half, targets), loss(half.float(), targets))


def test_gradients(logits, targets):
    inputs = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, targets), inputs)
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, targets), inputs)


def test_padding():
    masks = torch.ones(2, 1, 3, 4, dtype=torch.bool)
    padded = pad_masks(masks, (5, 4))
    assert padded.shape == (2, 1, 5, 4)
    assert padded.dtype == torch.bool
    assert padded[..., :3, :].all()
    assert not padded[..., 3:, :].any()
    assert pad_masks(masks, (3, 4)) is masks
    with pytest.raises(ValueError, match="masks of 3 x 4 pixels exceed the 3 x 2 pixels"):
        pad_masks(masks, (3, 2))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="of one shape"):
        sigmoid_focal_loss(torch.zeros(2, 3), torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"masks \[K, ...\], got \[3\]"):
        dice_loss(torch.zeros(3), torch.zeros(3))
