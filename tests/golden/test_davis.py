"""DAVIS metrics against the numbers of the benchmark's own code."""

import numpy as np
import pytest

from vdit.metrics import contours, davis

TOLERANCE = {"rtol": 0, "atol": 1e-12, "equal_nan": True}
COLUMNS = ("J_M", "J_R", "J_D", "F_M", "F_R", "F_D")


def prefixes(arrays, start):
    return sorted({key.split("/")[0] for key in arrays if key.startswith(start) and "/" in key})


def without_void(labels):
    return np.where(labels == davis.VOID_LABEL, 0, labels)


def test_clip_with_and_without_void(golden):
    case = golden("vdit/davis_metrics")
    for void, suffix in ((case["void"], ""), (None, "_novoid")):
        region = davis.region_similarity(case["gt"], case["seg"], void)
        contour = davis.contour_accuracy(case["gt"], case["seg"], void)
        np.testing.assert_allclose(region, case[f"J{suffix}"], **TOLERANCE)
        np.testing.assert_allclose(contour, case[f"F{suffix}"], **TOLERANCE)


@pytest.mark.parametrize("name", ["J", "F"])
def test_statistics_of_a_clip(golden, name):
    case = golden("vdit/davis_metrics")
    np.testing.assert_allclose(davis.statistics(case[name]), case[f"{name}stat"], **TOLERANCE)


def test_unit_cases(golden):
    arrays = golden("probing/davis_unit_cases")
    for name in prefixes(arrays, "c"):
        target, prediction = arrays[f"{name}/gt"][None], arrays[f"{name}/pred"][None]
        void = arrays[f"{name}/void"][None] if f"{name}/void" in arrays else None
        bound_th = float(arrays[f"{name}/bound_th"])
        region = davis.region_similarity(target, prediction, void)
        contour = davis.contour_accuracy(target, prediction, void, bound_th)
        np.testing.assert_allclose(region, arrays[f"{name}/J"], **TOLERANCE, err_msg=name)
        np.testing.assert_allclose(contour, arrays[f"{name}/F"], **TOLERANCE, err_msg=name)


def test_contours_of_unit_cases(golden):
    arrays = golden("probing/davis_unit_cases")
    for name in prefixes(arrays, "c"):
        mask = arrays[f"{name}/gt"]
        expected = arrays[f"{name}/bmap_gt"].astype(bool)
        np.testing.assert_array_equal(contours.boundary_map(mask), expected, err_msg=name)
        (outline,) = contours.draw_outlines([mask], radius=1)
        assert outline.length == expected.sum(), name


def test_statistics(golden):
    arrays = golden("probing/davis_unit_cases")
    for name in prefixes(arrays, "stats"):
        values, expected = arrays[f"{name}/x"], arrays[f"{name}/MRD"]
        found = davis.statistics(values, eight_bit_bins=True)
        np.testing.assert_allclose(found, expected, **TOLERANCE, err_msg=name)
        if len(values) <= 255:
            np.testing.assert_allclose(davis.statistics(values), expected, **TOLERANCE)


def test_scores_per_frame(golden):
    arrays = golden("probing/davis_sequences")
    for name in prefixes(arrays, "seq"):
        target = without_void(arrays[f"{name}/gt"])
        prediction = without_void(arrays[f"{name}/pred"])
        expected = zip(arrays[f"{name}/J_frames"], arrays[f"{name}/F_frames"], strict=True)
        for k, (region, contour) in enumerate(expected, start=1):
            masks = target == k, prediction == k
            np.testing.assert_allclose(davis.region_similarity(*masks), region, **TOLERANCE)
            np.testing.assert_allclose(davis.contour_accuracy(*masks), contour, **TOLERANCE)


@pytest.mark.parametrize(
    ("task", "score"),
    [("semi", davis.score_semi_supervised), ("unsup", davis.score_unsupervised)],
)
def test_protocols(golden, task, score):
    arrays = golden("probing/davis_sequences")
    names = prefixes(arrays, "seq")
    scores = [score(arrays[f"{name}/gt"], arrays[f"{name}/pred"]) for name in names]

    summary = davis.summarize(scores)
    found = [summary[name] for name in arrays["global_names"]]
    np.testing.assert_allclose(found, arrays[f"{task}/global"], **TOLERANCE)

    by_proposal = [each.object_statistics()[np.argsort(each.predicted_ids)] for each in scores]
    rows = {
        f"{name}_{k}": row
        for name, table in zip(names, by_proposal, strict=True)
        for k, row in enumerate(table, start=1)
    }
    assert set(rows) == set(arrays[f"{task}/objects"])
    found = np.stack([rows[name] for name in arrays[f"{task}/objects"]], axis=1)
    expected = np.stack([arrays[f"{task}/{column}"] for column in COLUMNS])
    np.testing.assert_allclose(found, expected, **TOLERANCE)
