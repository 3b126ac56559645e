"""Scores of tracking against the numbers of the code that defines them."""

import numpy as np

from vdit.metrics.tracking import TrackingScores, overlap_boxes, score_tracking

CLEAR = {
    "MOTA": "mota",
    "MOTP": "motp",
    "MODA": "moda",
    "CLR_Re": "recall",
    "CLR_Pr": "precision",
    "MTR": "mostly_tracked_ratio",
    "PTR": "partly_tracked_ratio",
    "MLR": "mostly_lost_ratio",
    "sMOTA": "smota",
    "CLR_F1": "f1",
    "FP_per_frame": "false_alarms_per_frame",
    "MOTAL": "motal",
    "MOTP_sum": "overlap_sum",
    "CLR_TP": "hits",
    "CLR_FN": "misses",
    "CLR_FP": "false_alarms",
    "IDSW": "switches",
    "MT": "mostly_tracked",
    "PT": "partly_tracked",
    "ML": "mostly_lost",
    "Frag": "fragmentations",
    "CLR_Frames": "num_frames",
}
IDENTITY = {
    "IDF1": "idf1",
    "IDR": "idr",
    "IDP": "idp",
    "IDTP": "hits",
    "IDFN": "misses",
    "IDFP": "false_alarms",
}
HOTA = {
    "HOTA": "hota_by_alpha",
    "DetA": "deta_by_alpha",
    "AssA": "assa_by_alpha",
    "DetRe": "detection_recall_by_alpha",
    "DetPr": "detection_precision_by_alpha",
    "AssRe": "association_recall_by_alpha",
    "AssPr": "association_precision_by_alpha",
    "LocA": "loca_by_alpha",
    "OWTA": "owta_by_alpha",
    "HOTA_TP": "hits",
    "HOTA_FN": "misses",
    "HOTA_FP": "false_alarms",
}
COUNTS = {"hits", "misses", "false_alarms", "switches", "fragmentations", "num_frames"}
COUNTS |= {"mostly_tracked", "partly_tracked", "mostly_lost"}


def names_of_sequences(arrays):
    names = {key.split("/")[0] for key in arrays if key.endswith("/T")}
    return sorted(names, key=lambda name: int(name[1:]))


def score(arrays, name):
    """Scores of a sequence; the frames of the file count from 0."""
    first = np.array([1, 0, 0, 0, 0, 0])
    target, prediction = (arrays[f"{name}/{kind}"] + first for kind in ("gt", "tracker"))
    return score_tracking(overlap_boxes(target, prediction, int(arrays[f"{name}/T"])))


def compare(arrays, name, scores):
    for family, fields, part in (
        ("CLEAR", CLEAR, scores.clear),
        ("ID", IDENTITY, scores.identity),
        ("HOTA", HOTA, scores.hota),
    ):
        for theirs, ours in fields.items():
            expected, found = arrays[f"{name}/{family}/{theirs}"], getattr(part, ours)
            message = f"{name} {family} {theirs}"
            if ours in COUNTS:
                np.testing.assert_array_equal(found, expected, err_msg=message)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=message)


def test_every_sequence(golden):
    arrays = golden("probing/mot_metrics")
    for name in names_of_sequences(arrays):
        compare(arrays, name, score(arrays, name))


def test_all_sequences_together(golden):
    arrays = golden("probing/mot_metrics")
    scores = [score(arrays, name) for name in names_of_sequences(arrays)]
    compare(arrays, "combined", TrackingScores.combine(scores))
