"""Scores of real trackers on real annotations, as other evaluation codes published them."""

import gzip
import json
import shutil
from collections import defaultdict

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from vdit.cli import main
from vdit.datasets.mot_files import read_results, read_sequence_info, read_truth
from vdit.metrics.mot_preprocessing import keep_scored_boxes
from vdit.metrics.track_overlaps import FrameOverlap, OverlapSequence, box_iou_xywh
from vdit.metrics.tracking import TrackingScores, overlap_boxes, score_tracking

MOTMETRICS = {
    "idf1": "IDF1",
    "idp": "IDP",
    "idr": "IDR",
    "mostly_tracked": "MT",
    "partially_tracked": "PT",
    "mostly_lost": "ML",
    "num_false_positives": "FP",
    "num_misses": "FN",
    "num_switches": "IDSw",
    "num_fragmentations": "Frag",
    "mota": "MOTA",
}
BDD100K = "pedestrian rider car truck bus train motorcycle bicycle".split()


@pytest.mark.assets
@pytest.mark.parametrize("memory", ["frame", "track"])
def test_mot15(assets, memory):
    root = assets / "mot15"
    if not root.is_dir():
        pytest.skip(f"{root} is absent")
    reference = json.loads((root / "motmetrics_reference.json").read_text())
    for name in reference["mota"]:
        info = read_sequence_info(root / name / "seqinfo.ini")
        assert info.name == name
        true = read_truth(root / name / "gt.txt", "MOT15")
        found = read_results(root / name / "tracker.txt")
        rows = keep_scored_boxes(true.rows, true.counted, true.classes, found.rows, "MOT15")
        scores = score_tracking(overlap_boxes(*rows, info.num_frames), memory=memory)
        summary = scores.summary()
        for theirs, ours in MOTMETRICS.items():
            assert summary[ours] == pytest.approx(reference[theirs][name], abs=1e-9), (name, ours)
        assert 1 - scores.clear.motp == pytest.approx(reference["motp"][name], abs=1e-9)
        assert scores.clear.recall == pytest.approx(reference["recall"][name], abs=1e-9)
        assert scores.clear.precision == pytest.approx(reference["precision"][name], abs=1e-9)
        assert scores.clear.num_objects == reference["num_unique_objects"][name]


@pytest.mark.assets
def test_mot15_by_the_command(assets, tmp_path, capsys):
    if not (assets / "mot15").is_dir():
        pytest.skip(f"{assets / 'mot15'} is absent")
    reference = json.loads((assets / "mot15" / "motmetrics_reference.json").read_text())
    for name in reference["mota"]:
        source, folder = assets / "mot15" / name, tmp_path / "data" / "train" / name
        for part in ("gt", "img1"):
            (folder / part).mkdir(parents=True)
        shutil.copy(source / "gt.txt", folder / "gt" / "gt.txt")
        shutil.copy(source / "seqinfo.ini", folder / "seqinfo.ini")
        (tmp_path / "found").mkdir(exist_ok=True)
        shutil.copy(source / "tracker.txt", tmp_path / "found" / f"{name}.txt")
    words = ["--root", str(tmp_path / "data"), "--predictions", str(tmp_path / "found"), "--json"]
    assert main(["eval", "mot15", *words]) == 0
    rows = {row["video"]: row for row in json.loads(capsys.readouterr().out)["videos"]}
    assert set(rows) == set(reference["mota"])
    for theirs, ours in MOTMETRICS.items():
        for name, value in reference[theirs].items():
            if name in rows:
                assert rows[name][ours] == pytest.approx(value, abs=1e-9), (name, ours)


@pytest.mark.assets
def test_bdd100k(assets):
    root = assets / "scalabel"
    if not root.is_dir():
        pytest.skip(f"{root} is absent")
    videos = defaultdict(dict)
    for kind in ("track_sample_anns", "track_predictions"):
        with gzip.open(root / f"{kind}.json.gz") as file:
            for frame in json.load(file):
                video = videos[frame["videoName"]]
                video.setdefault(frame["frameIndex"], {})[kind] = frame["labels"] or []
    scores = TrackingScores.combine(
        score_tracking(sequence_of_class(video, category), memory="track")
        for video in videos.values()
        for category in BDD100K
    )
    summary = scores.summary()
    assert [summary[name] for name in ("FP", "FN", "IDSw")] == [126, 942, 45]
    for name, expected in {"MOTA": 64.2007, "IDF1": 71.0107, "MOTP": 87.1614}.items():
        assert 100 * summary[name] == pytest.approx(expected, abs=5e-5), name


def sequence_of_class(video, category):
    """Objects of one class; predicted ones without a partner inside a crowd are left out."""
    names = {kind: {} for kind in ("track_sample_anns", "track_predictions")}
    frames = []
    for _, frame in sorted(video.items()):
        crowds = [b for b in frame["track_sample_anns"] if b["attributes"]["crowd"]]
        true, found = (
            [b for b in frame[kind] if b["category"] == category and b not in crowds]
            for kind in names
        )
        overlap = box_iou_xywh(boxes(true), boxes(found))
        kept = keep_outside(boxes(found), boxes(crowds), overlap)
        ids = [
            np.array([names[kind].setdefault(b["id"], len(names[kind])) for b in each], np.int64)
            for kind, each in zip(names, (true, found), strict=True)
        ]
        frames.append(FrameOverlap(ids[0], ids[1][kept], overlap[:, kept]))
    return OverlapSequence.from_frames(frames)


def boxes(labels):
    """Corners are pixels of the box, so that a width is their distance and one more."""
    edges = [[b["box2d"][key] for key in ("x1", "y1", "x2", "y2")] for b in labels]
    edges = np.array(edges, np.float64).reshape(-1, 4)
    return np.hstack([edges[:, :2], edges[:, 2:] - edges[:, :2] + 1])


def keep_outside(found, crowds, overlap):
    """Whether each box has a partner, or lies with at most half of its area in any crowd."""
    enough = overlap >= 0.5
    rows, columns = linear_sum_assignment(np.where(enough, 100 + overlap, 0), maximize=True)
    kept = np.zeros(len(found), dtype=bool)
    kept[columns] = enough[rows, columns]
    for b, box in enumerate(found):
        low = np.maximum(box[:2], crowds[:, :2])
        high = np.minimum(box[:2] + box[2:], crowds[:, :2] + crowds[:, 2:])
        kept[b] |= (np.maximum(high - low, 0).prod(axis=1) <= box[2] * box[3] / 2).all()
    return kept
