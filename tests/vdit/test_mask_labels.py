"""Masks to label maps on a grid and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vdit.propagation.mask_labels import (
    labels_from_mask,
    mask_from_labels,
    resize_nearest,
    shares_from_mask,
    stretch_each_cell,
    stretch_each_label,
)

SIDES = st.integers(1, 300)


@given(old=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES))
def test_nearest_is_that_of_pillow(old, new):
    mask = np.arange(old[0] * old[1], dtype=np.int32).reshape(old)
    expected = np.asarray(Image.fromarray(mask).resize(new[::-1], Image.Resampling.NEAREST))
    np.testing.assert_array_equal(resize_nearest(torch.from_numpy(mask), new), expected)


def mask_with_a_small_object(number):
    mask = torch.zeros(40, 48, dtype=torch.uint8)
    mask[:, 24:] = 1
    mask[17, 9] = number
    return mask


@pytest.mark.parametrize("number", [2, 5])
def test_vanished_object_is_kept(number):
    mask = mask_with_a_small_object(number)
    labels = labels_from_mask(mask, (5, 6))
    assert labels.shape == (number + 1, 5, 6)
    assert labels[number].nonzero().tolist() == [[2, 1]]
    torch.testing.assert_close(labels.sum(dim=0), torch.ones(5, 6))
    lost = labels_from_mask(mask, (5, 6), keep_vanished=False)
    assert lost.shape == (2, 5, 6)


def test_vanished_ring_keeps_a_pixel_of_its_own():
    mask = torch.zeros(80, 80, dtype=torch.long)
    mask[8:16, 8:16] = 2
    mask[9:15, 9:15] = 0
    labels = labels_from_mask(mask, (10, 10))
    assert labels[2].nonzero().tolist() == [[1, 1]]


def test_vanished_objects_share_a_cell():
    mask = torch.zeros(40, 40, dtype=torch.long)
    mask[0, 0], mask[0, 1] = 1, 2
    labels = labels_from_mask(mask, (4, 4))
    assert labels[:, 0, 0].tolist() == [0, 0.5, 0.5]
    assert labels.sum(dim=(1, 2)).tolist() == [15, 0.5, 0.5]


def test_vanished_object_spares_the_only_cell_of_another():
    mask = torch.zeros(40, 40, dtype=torch.long)
    mask[2:8, 2:8] = 1
    mask[1, 1] = 2
    assert labels_from_mask(mask, (4, 4))[:, 0, 0].tolist() == [0, 0.5, 0.5]
    mask[2:8, 2:18] = 1  # two cells: one may go
    assert labels_from_mask(mask, (4, 4))[:, 0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("stride", [None, 8])
def test_mask_comes_back(stride):
    mask = torch.zeros(40, 48, dtype=torch.long)
    mask[8:24, 16:32] = 1
    mask[24:, :16] = 2
    labels = labels_from_mask(mask, (5, 6))
    found = mask_from_labels(labels, (40, 48), stride=stride)
    assert (found == mask).float().mean() > 0.95
    assert found.dtype == torch.int64


@pytest.mark.parametrize("size", [(5, 6), (7, 11), (1, 1)])
def test_shares_of_a_cell(size):
    mask = torch.zeros(40, 48, dtype=torch.uint8)
    mask[8:24, 16:32] = 1
    mask[3, 3] = 3  # as small as can be; there is no object 2
    labels = shares_from_mask(mask, size)
    assert labels.shape == (4, *size)
    torch.testing.assert_close(labels.sum(dim=0), torch.ones(size))
    assert labels[3, 0, 0] > 0
    assert not labels[2].any()
    if size == (5, 6):  # cells of 8 x 8 pixels
        torch.testing.assert_close(labels[1], labels_from_mask(mask, size)[1])
        assert labels[3, 0, 0] == 1 / 64


def test_lost_objects_leave_the_background():
    labels = torch.zeros(3, 4, 5)
    labels[0] = 1
    assert not stretch_each_label(labels).isnan().any()
    assert not mask_from_labels(labels, (32, 40), stride=8).any()


def test_stretching_each_cell():
    labels = torch.tensor([[[0.5, 0.2]], [[0.5, 0.6]]])
    torch.testing.assert_close(
        stretch_each_cell(labels), torch.tensor([[[0.5, 0.0]], [[0.5, 1.0]]])
    )


@pytest.mark.parametrize(
    "mask", [torch.zeros(3, 3), torch.full((3, 3), -1), torch.zeros(1, 3, 3, dtype=torch.long)]
)
def test_mask_is_checked(mask):
    for convert in (labels_from_mask, shares_from_mask):
        with pytest.raises(ValueError, match="expected a mask"):
            convert(mask, (2, 2))
