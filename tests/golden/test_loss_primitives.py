"""Losses, overlaps, matching costs and the training loss against the released VD-IT."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vdit.boxes import box_iou, cxcywh_to_xyxy, generalized_box_iou
from vdit.structures import LayerOutput, Match, Target
from vdit.training.criterion import Criterion
from vdit.training.losses import dice_loss, pairwise_dice, pairwise_focal, sigmoid_focal_loss
from vdit.training.matcher import TemporalMatcher

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def primitives(golden: Callable) -> dict[str, torch.Tensor]:
    return tensors(golden("vdit/loss_primitives"))


@pytest.fixture
def trained(golden: Callable) -> dict[str, torch.Tensor]:
    return tensors(golden("vdit/head_train"))


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}


def read_targets(arrays: dict[str, torch.Tensor]) -> list[Target]:
    return [
        Target(
            boxes_cxcywh=arrays[f"tgt{i}_boxes"][None],
            masks=arrays[f"tgt{i}_masks"][None],
            valid=arrays[f"tgt{i}_valid"][None].bool(),
            size=tuple(arrays[f"tgt{i}_size"].tolist()),
        )
        for i in range(len(arrays["main_idx"]))
    ]


def read_last_layer(arrays: dict[str, torch.Tensor]) -> tuple[LayerOutput, Match]:
    """The last layer; stored are the masks of matched queries only, the others are zero here."""
    class_logits, low = arrays["pred_logits"][..., 0], arrays["pred_masks_low"]
    clips, queries = torch.arange(len(low)), arrays["main_idx"]
    maps = F.pixel_unshuffle(low[:, :, None], 4)
    mask_maps = torch.zeros(*class_logits.shape, *maps.shape[2:])
    mask_maps[clips, :, queries] = maps
    layer = LayerOutput(class_logits, arrays["pred_boxes"], mask_maps)
    return layer, Match(clips, queries, torch.zeros_like(clips))


def test_mask_losses(primitives):
    logits, target = primitives["logits"], primitives["target"]
    dice = dice_loss(logits, target).sum() / 5
    focal = sigmoid_focal_loss(logits, target).mean(dim=1).sum() / 5
    torch.testing.assert_close(dice, primitives["dice_nb5"], **TOLERANCE)
    torch.testing.assert_close(focal, primitives["focal_nb5"], **TOLERANCE)


def test_pairwise_mask_costs(primitives):
    logits, target = primitives["logits"], primitives["target"]
    dice, focal = pairwise_dice(logits, target), pairwise_focal(logits, target)
    torch.testing.assert_close(dice, primitives["dice_coef"], **TOLERANCE)
    torch.testing.assert_close(focal, primitives["focal_coef"], **TOLERANCE)


def test_box_overlaps(primitives):
    boxes = cxcywh_to_xyxy(primitives["boxes1"]), cxcywh_to_xyxy(primitives["boxes2"])
    torch.testing.assert_close(box_iou(*boxes), primitives["iou"], **TOLERANCE)
    torch.testing.assert_close(generalized_box_iou(*boxes), primitives["giou"], **TOLERANCE)


def test_cost_of_the_matched_queries(trained):
    layer, match = read_last_layer(trained)
    costs = TemporalMatcher().cost_matrix(layer, read_targets(trained))
    for b, cost in enumerate(costs):
        expected = trained["cost_matrices"][b][match.queries[b]]
        torch.testing.assert_close(cost[match.queries[b]], expected, **TOLERANCE)


def test_choice_from_the_stored_costs(trained, monkeypatch):
    indices = torch.cat([trained["main_idx"][None], trained["aux_idx"]])
    costs = trained["cost_matrices"].unflatten(0, indices.shape)
    layer, _ = read_last_layer(trained)
    for stored, expected in zip(costs, indices, strict=True):
        matcher = TemporalMatcher()
        monkeypatch.setattr(matcher, "cost_matrix", lambda *_, stored=stored: list(stored))
        match = matcher(layer, read_targets(trained))
        assert match.clips.tolist() == list(range(len(expected)))
        assert match.queries.tolist() == expected.tolist()


def test_terms_of_the_last_layer(trained):
    layer, match = read_last_layer(trained)
    losses = Criterion()([layer], [match], [trained["pred_masks"]], read_targets(trained))
    for name, value in losses.items():
        torch.testing.assert_close(value, trained[f"loss/{name}"], **TOLERANCE)


def test_names_and_total(trained):
    layer, match = read_last_layer(trained)
    num_layers = 1 + len(trained["aux_idx"])
    repeated = [[value] * num_layers for value in (layer, match, trained["pred_masks"])]
    names = Criterion()(*repeated, read_targets(trained)).keys()
    stored = {key.removeprefix("loss/") for key in trained if key.startswith("loss/")}
    assert set(names) == stored
    total = Criterion().total({name: trained[f"loss/{name}"] for name in names})
    torch.testing.assert_close(total, trained["total"], **TOLERANCE)
