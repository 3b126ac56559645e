"""Label propagation against the numbers of the codes that define its two variants."""

import numpy as np
import pytest
import torch

from vdit.propagation import PropagationSettings, stream_labels
from vdit.propagation.mask_labels import (
    labels_from_mask,
    mask_from_labels,
    stretch_each_cell,
    stretch_each_label,
)
from vdit.propagation.reference import _window, propagate_labels_dense

TOLERANCE = {"rtol": 0, "atol": 1e-5}
IMPLEMENTATIONS = {
    "dense": propagate_labels_dense,
    "windowed": lambda *arguments: torch.stack(list(stream_labels(*arguments))),
}


def cases(arrays):
    names = {key.split("/")[0] for key in arrays if key.startswith("case")}
    assert names
    return sorted(names)


def named_params(arrays, name):
    return dict(zip(arrays["param_names"].tolist(), arrays[f"{name}/params"].tolist(), strict=True))


@pytest.fixture(params=IMPLEMENTATIONS)
def propagate(request):
    return IMPLEMENTATIONS[request.param]


def test_dino_and_dift(golden, propagate):
    arrays = golden("probing/label_propagation_dift_dino")
    for name in cases(arrays):
        params = named_params(arrays, name)
        settings = PropagationSettings.dino(
            num_context=int(params["n_last_frames"]),
            radius=params["size_mask_neighborhood"],
            topk=int(params["topk"]),
            temperature=params["temperature"],
        )
        features = torch.from_numpy(arrays[f"{name}/feats"])
        first = torch.from_numpy(arrays[f"{name}/first_onehot"])
        soft = propagate(features, first, settings)
        for variant in ("dift", "dino"):
            if f"{name}/{variant}/soft" in arrays:
                np.testing.assert_allclose(
                    soft, arrays[f"{name}/{variant}/soft"], **TOLERANCE, err_msg=name
                )


def test_crw(golden, propagate):
    arrays = golden("probing/label_propagation_crw")
    for name in cases(arrays):
        params = named_params(arrays, name)
        settings = PropagationSettings.crw(
            num_context=int(params["videoLen(n_context)"]),
            radius=params["radius"],
            topk=int(params["topk"]),
            temperature=params["temperature"],
        )
        features = torch.from_numpy(arrays[f"{name}/feats"])
        first = torch.from_numpy(arrays[f"{name}/first_label"]).permute(2, 0, 1)
        soft = torch.cat([first[None], propagate(features, first, settings)])
        if params["norm_mask"]:
            soft = stretch_each_cell(soft)
        expected = arrays[f"{name}/pred"]
        np.testing.assert_allclose(soft.permute(0, 2, 3, 1), expected, **TOLERANCE, err_msg=name)


def test_masks_of_the_first_frame(golden):
    arrays = golden("probing/label_propagation_dift_dino")
    for name in cases(arrays):
        mask = torch.from_numpy(arrays[f"{name}/first_seg"])
        expected = arrays[f"{name}/first_onehot"]
        labels = labels_from_mask(mask, expected.shape[1:], keep_vanished=False)
        np.testing.assert_array_equal(labels, expected, err_msg=name)


def test_masks_of_later_frames(golden):
    arrays = golden("probing/label_propagation_dift_dino")
    for name in cases(arrays):
        stride = int(named_params(arrays, name)["stride"])
        soft = torch.from_numpy(arrays[f"{name}/dift/soft"])
        first, *later = arrays[f"{name}/dift/hard"]
        for labels, expected in zip(soft, later, strict=True):
            found = mask_from_labels(labels, first.shape, stride=stride)
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_masks_from_features(golden, propagate):
    """The whole way: the first mask and features in, every pixel of the later masks out."""
    arrays = golden("probing/label_propagation_dift_dino")
    for name in cases(arrays):
        params = named_params(arrays, name)
        settings = PropagationSettings.dino(
            num_context=int(params["n_last_frames"]),
            radius=params["size_mask_neighborhood"],
            topk=int(params["topk"]),
            temperature=params["temperature"],
        )
        features = torch.from_numpy(arrays[f"{name}/feats"])
        mask = torch.from_numpy(arrays[f"{name}/first_seg"])
        first = labels_from_mask(mask, features.shape[-2:], keep_vanished=False)
        soft = propagate(features, first, settings)
        for variant in ("dift", "dino"):
            if f"{name}/{variant}/hard" not in arrays:
                continue
            for labels, expected in zip(soft, arrays[f"{name}/{variant}/hard"][1:], strict=True):
                found = mask_from_labels(labels, mask.shape, stride=int(params["stride"]))
                np.testing.assert_array_equal(found, expected, err_msg=f"{name}/{variant}")


def test_windows(golden):
    square = golden("probing/label_propagation_dift_dino")["restrict_neighborhood/h5w7r2"]
    settings = PropagationSettings.dino(1, 2, 1, 1)
    np.testing.assert_array_equal(_window(5, 7, settings), square)
    disc = golden("probing/label_propagation_crw")["radius_mask/H5W7r2"].reshape(35, 35)
    settings = PropagationSettings.crw(1, 2, 1, 1)
    np.testing.assert_array_equal(_window(5, 7, settings), disc)


def test_stretched_labels(golden):
    arrays = golden("probing/label_propagation_dift_dino")
    stretched = stretch_each_label(torch.from_numpy(arrays["norm_mask/in"]))
    np.testing.assert_allclose(stretched, arrays["norm_mask/out"], rtol=0, atol=1e-6)
