"""Boxes: layouts, areas, overlaps by hand, gradients and errors."""

import pytest
import torch

from vdit.boxes import (
    box_area,
    box_iou,
    cxcywh_to_xyxy,
    generalized_box_iou,
    xyxy_to_cxcywh,
)

EPSILON = 1e-6


def random_boxes(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    boxes = torch.rand(*shape, 4, generator=generator, dtype=torch.float64)
    return cxcywh_to_xyxy(boxes)


def test_layouts():
    boxes = torch.tensor([[2.0, 3.0, 2.0, 4.0]])
    assert cxcywh_to_xyxy(boxes).tolist() == [[1.0, 1.0, 3.0, 5.0]]
    assert xyxy_to_cxcywh(torch.tensor([[1.0, 1.0, 3.0, 5.0]])).tolist() == boxes.tolist()
    many = random_boxes(2, 3, 5)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(many)), many)


def test_area():
    assert box_area(torch.tensor([[1.0, 1.0, 3.0, 5.0], [2.0, 2.0, 2.0, 9.0]])).tolist() == [8, 0]


def test_overlap_by_hand():
    first = torch.tensor([[0.0, 0.0, 2.0, 2.0]], dtype=torch.float64)
    second = torch.tensor(
        [[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [4.0, 0.0, 5.0, 2.0]], dtype=torch.float64
    )
    iou = [1.0, (1 + EPSILON) / (7 + EPSILON), EPSILON / (6 + EPSILON)]
    gap = [EPSILON / (4 + EPSILON), (2 + EPSILON) / (9 + EPSILON), (4 + EPSILON) / (10 + EPSILON)]
    expected = torch.tensor([iou, gap], dtype=torch.float64)
    torch.testing.assert_close(box_iou(first, second)[0], expected[0], rtol=0, atol=1e-12)
    found = generalized_box_iou(first, second)[0]
    torch.testing.assert_close(found, expected[0] - expected[1], rtol=0, atol=1e-12)


def test_boxes_without_area():
    dot, box = torch.zeros(1, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert box_iou(dot, dot).item() == 1
    assert generalized_box_iou(dot, dot).item() == 0
    assert generalized_box_iou(dot, box).isfinite().all()


@pytest.mark.parametrize("overlap", [box_iou, generalized_box_iou])
def test_pairs_and_leading_axes(overlap):
    first, second = random_boxes(2, 3), random_boxes(2, 4)
    table = overlap(first, second)
    assert table.shape == (2, 3, 4)
    torch.testing.assert_close(table, overlap(second, first).transpose(1, 2))
    for b, n, m in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        alone = overlap(first[b, n : n + 1], second[b, m : m + 1])
        torch.testing.assert_close(table[b, n, m], alone[0, 0])
    assert overlap(first, second[:1]).shape == (2, 3, 4)
    assert overlap(first[0, :0], second[0]).shape == (0, 4)


def test_range():
    boxes = random_boxes(50)
    assert box_iou(boxes, boxes).min() >= 0
    assert box_iou(boxes, boxes).max() <= 1 + 1e-12
    assert generalized_box_iou(boxes, boxes).min() >= -1
    assert (generalized_box_iou(boxes, boxes) <= box_iou(boxes, boxes)).all()


def test_gradients():
    first, second = random_boxes(2).requires_grad_(), random_boxes(3).requires_grad_()
    assert torch.autograd.gradcheck(generalized_box_iou, (first, second))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"boxes_cxcywh \[..., 4\], got \[2, 5\]"):
        cxcywh_to_xyxy(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"boxes_xyxy \[..., 4\], got \[\]"):
        xyxy_to_cxcywh(torch.tensor(1.0))
    with pytest.raises(ValueError, match="add an axis to a single box"):
        box_iou(torch.zeros(4), torch.zeros(1, 4))
