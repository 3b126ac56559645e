"""Key points and their score against the numbers of the codes that define them."""

import numpy as np
import torch

from vdit.metrics import keypoints as metric
from vdit.propagation import PropagationSettings, stream_labels
from vdit.propagation.keypoints import draw_gaussian, keypoints_from_labels

GRID = (40, 40)  # of the protocol


def test_gaussians(golden):
    arrays = golden("probing/label_propagation_crw")
    rows = zip(arrays["gauss/points_sigma"], arrays["gauss/maps"], strict=True)
    for (x, y, sigma), expected in rows:
        drawn = draw_gaussian(float(x), float(y), expected.shape, float(sigma))
        np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-12, err_msg=f"{x} {y} {sigma}")


def test_reading(golden):
    arrays = golden("probing/label_propagation_crw")
    labels = torch.from_numpy(arrays["process_pose/in"]).permute(2, 0, 1)
    found = keypoints_from_labels(labels)
    np.testing.assert_allclose(found.T, arrays["process_pose/out"], rtol=0, atol=1e-5)


def test_reading_of_propagated_labels(golden):
    arrays = golden("probing/label_propagation_crw")
    for name in {key.split("/")[0] for key in arrays if key.endswith("/keypoints")}:
        labels = torch.from_numpy(arrays[f"{name}/pred"]).permute(0, 3, 1, 2)
        found = keypoints_from_labels(labels).permute(2, 1, 0)
        np.testing.assert_allclose(found, arrays[f"{name}/keypoints"], rtol=0, atol=1e-5)


def test_propagated_keypoints(golden):
    arrays = golden("probing/label_propagation_crw")
    for name in {key.split("/")[0] for key in arrays if key.endswith("/keypoints")}:
        num_context, radius, topk, temperature, _ = arrays[f"{name}/params"].tolist()
        settings = PropagationSettings.crw(int(num_context), radius, int(topk), temperature)
        features = torch.from_numpy(arrays[f"{name}/feats"])
        first = torch.from_numpy(arrays[f"{name}/first_label"]).permute(2, 0, 1)
        labels = torch.stack([first, *stream_labels(features, first, settings)])
        found = keypoints_from_labels(labels).permute(2, 1, 0).numpy()
        # Rounding may swap nearly equal cells at the edge of the three largest.
        differing = np.abs(found - arrays[f"{name}/keypoints"]) > 1e-4
        assert differing.mean() <= 0.02, name


def test_pck(golden):
    arrays = golden("probing/jhmdb_pck")
    names = sorted({key.split("/")[0] for key in arrays if key.endswith("/pred_grid")})
    distances = []
    for name in sorted(names, key=lambda name: int(name[1:])):
        size = tuple(arrays[f"{name}/size_hw"].tolist())
        target = arrays[f"{name}/gt_pos_img"] - 1
        prediction = metric.points_from_grid(arrays[f"{name}/pred_grid"], GRID, size)
        body = metric.body_size(target, prediction[0] >= 0)
        np.testing.assert_allclose(body, arrays[f"{name}/human_box"], rtol=1e-12)
        distances.append(metric.keypoint_distances(target, prediction))
    for j, joint in enumerate(np.concatenate(distances, axis=1)):
        np.testing.assert_allclose(joint[~np.isnan(joint)], arrays[f"dist/joint{j}"], rtol=1e-9)
    found = metric.keypoint_accuracy(distances, arrays["thresholds"].tolist())
    np.testing.assert_allclose(found, arrays["pck_per_joint_and_mean"], rtol=0, atol=1e-9)
