"""Key points to label maps and back."""

import pytest
import torch

from vdit.propagation.keypoints import keypoints_from_labels, labels_from_keypoints


def test_background_is_where_nothing_is_drawn():
    labels = labels_from_keypoints(torch.tensor([[4.0, 5.0], [-20.0, 3.0]]), (12, 10))
    assert labels.shape == (3, 12, 10)
    assert labels[2].sum() == 0
    torch.testing.assert_close(labels[0], (labels[1] == 0).double())
    assert labels_from_keypoints(torch.zeros(0, 2), (3, 4)).equal(torch.ones(1, 3, 4).double())


def test_peak_is_at_the_cell_of_the_point():
    # 4 - 1.5 = 2.5 -> 2; the peak is the third cell of the patch.
    labels = labels_from_keypoints(torch.tensor([[4.0, 5.0]]), (12, 10))
    assert labels[1, 5, 4] == 1
    assert labels[1].max() == 1
    assert (labels[1] > 0).sum() == 16


def test_points_come_back():
    points = torch.tensor([[4.0, 5.0], [7.0, 3.0]])
    found = keypoints_from_labels(labels_from_keypoints(points, (12, 10)), num_cells=1)
    torch.testing.assert_close(found, points.double())


def test_mean_of_the_largest_cells():
    labels = torch.zeros(2, 4, 5)
    labels[1, 0, 1], labels[1, 2, 1], labels[1, 2, 3] = 1.0, 2.0, 1.0
    labels[1, 3, 4] = 0.5  # the fourth
    found = keypoints_from_labels(labels)
    torch.testing.assert_close(found, torch.tensor([[1.5, 1.5]]))


def test_missing_point():
    found = keypoints_from_labels(torch.zeros(6, 3, 4, 5))
    assert found.shape == (6, 2, 2)
    assert bool((found == -1).all())


def test_grid_is_checked():
    with pytest.raises(ValueError, match="expected 3 cells or more"):
        keypoints_from_labels(torch.ones(2, 1, 2))
