"""`vdit eval` on miniature trees: perfect, wrong, missing and damaged predictions."""

import json
import re
import shutil
import zipfile

import numpy as np
import pytest

from tests.vdit.evaluation.prediction_trees import (
    TREES,
    read_tree,
    shift,
    write_predictions,
)
from vdit.cli import main
from vdit.evaluation.prediction_files import open_predictions
from vdit.masks import read_mask_png, write_mask_png, write_palette_png
from vdit.metrics import davis

OVERLAPS = ("overall IoU", "mean IoU", "P@0.5", "P@0.9", "mAP", "AP50", "AP75")


def run(capsys, dataset, root, predictions, *words):
    """Exit code, the JSON of the report if there is one, and what was said on stderr."""
    capsys.readouterr()
    split = [] if "--split" in words else ["--split", TREES[dataset][2]]
    paths = ["--root", str(root), "--predictions", str(predictions)]
    code = main(["eval", dataset, *paths, *split, "--json", *words])
    out, error = capsys.readouterr()
    return code, json.loads(out) if out else None, error


@pytest.mark.parametrize("dataset", TREES)
def test_perfect_predictions(dataset, trees, tmp_path, capsys):
    root = trees(dataset)
    samples = read_tree(dataset, root)
    write_predictions(samples, tmp_path / "P")
    code, report, _ = run(capsys, dataset, root, tmp_path / "P")
    assert code == 0
    assert report["num_videos"] == len(samples.by_video())
    names = OVERLAPS if "mAP" in report["metrics"] else ("J&F", "J", "F")
    assert [report["metrics"][name] for name in names] == pytest.approx([1.0] * len(names))
    if dataset == "mevis":
        assert [report["metrics"][name] for name in ("N-acc", "T-acc", "final")] == [1.0] * 3


@pytest.mark.parametrize("dataset", ["ref-youtube-vos", "mevis"])
def test_sentences_score_as_their_masks_do(dataset, trees, tmp_path, capsys):
    root = trees(dataset)
    samples = read_tree(dataset, root)
    write_predictions(samples, tmp_path / "P", shift)
    code, report, _ = run(capsys, dataset, root, tmp_path / "P")
    assert code == 0
    rows = {(row["video"], row["expression"]): row for row in report["expressions"]}
    assert len(rows) == len(samples)
    for sample in samples:
        true = sample.masks().any(axis=0)
        predicted = shift(sample.masks()).any(axis=0)
        row = rows[sample.video, sample.expression]
        assert row["J"] == pytest.approx(davis.region_similarity(true, predicted).mean())
        assert row["F"] == pytest.approx(davis.contour_accuracy(true, predicted).mean())
    means = {name: np.mean([row[name] for row in rows.values()]) for name in ("J", "F", "J&F")}
    assert means["J"] < 0.95
    for name, mean in means.items():
        assert report["metrics"][name] == pytest.approx(mean)
    assert sum(row["expressions"] for row in report["videos"]) == len(samples)


def test_several_objects_are_one_mask_and_none_is_empty(trees, tmp_path, capsys):
    root = trees("mevis")
    samples = read_tree("mevis", root)
    counts = [len(sample.object_ids) for sample in samples]
    assert 0 in counts
    assert max(counts) > 1
    write_predictions(samples, tmp_path / "nothing", np.zeros_like)
    code, report, _ = run(capsys, "mevis", root, tmp_path / "nothing")
    assert code == 0
    metrics = report["metrics"]
    assert (metrics["N-acc"], metrics["T-acc"]) == (1.0, 0.0)
    assert metrics["final"] == pytest.approx((metrics["J&F"] + 1) / 3)
    assert metrics["J&F with target"] < metrics["J&F"]


@pytest.mark.parametrize("protocol", ["released", "strict"])
def test_whom_a_sentence_means_counts_in_the_strict_protocol_only(
    protocol, trees, tmp_path, capsys
):
    root = trees("ref-davis")
    samples = read_tree("ref-davis", root)
    write_predictions(samples, tmp_path / "P")
    ids = {ids[0] for ids in (sample.object_ids for sample in samples)}
    assert len(ids) > 1
    swap = np.arange(256, dtype=np.uint8)
    swap[1:3] = 2, 1
    for path in (tmp_path / "P" / "anno_2").rglob("*.png"):
        write_palette_png(path, swap[read_mask_png(path)])
    code, report, _ = run(
        capsys, "ref-davis", root, tmp_path / "P", "--protocol", protocol, "--workers", "2"
    )
    assert code == 0
    parts = [report["parts"][str(annotator)]["J"] for annotator in range(4)]
    assert [parts[a] for a in (0, 1, 3)] == pytest.approx([1.0] * 3)
    assert (parts[2] == 1.0) == (protocol == "released")
    assert report["metrics"]["J"] == pytest.approx(np.mean(parts))
    wrong = [r for r in report["expressions"] if r["annotator"] == 2 and r["object"] == 1]
    assert all(row["predicted_id"] == (2 if protocol == "released" else 1) for row in wrong)
    assert all(row["expression"] is not None for row in report["expressions"])


def test_an_archive_scores_as_its_folder(trees, tmp_path, capsys):
    root = trees("ref-youtube-vos")
    write_predictions(read_tree("ref-youtube-vos", root), tmp_path / "P", shift)
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "P")
    output = tmp_path / "new" / "report.json"
    _, folder, _ = run(capsys, "ref-youtube-vos", root, tmp_path / "P")
    code, zipped, _ = run(capsys, "ref-youtube-vos", root, archive, "-o", str(output))
    assert code == 0
    assert zipped["metrics"] == folder["metrics"]
    assert zipped["expressions"] == folder["expressions"]
    assert json.loads(output.read_text()) == zipped


def test_the_mask_of_the_highest_score_counts(trees, tmp_path, capsys):
    root = trees("jhmdb")
    samples = read_tree("jhmdb", root)
    write_predictions(samples, tmp_path / "P", shift)
    wrong = json.loads((tmp_path / "P" / "predictions.json").read_text())
    write_predictions(samples, tmp_path / "P")
    right = json.loads((tmp_path / "P" / "predictions.json").read_text())
    for score, expected in ((0.9, 1.0), (0.1, None)):
        records = [*wrong, *({**record, "score": score} for record in right)]
        (tmp_path / "P" / "predictions.json").write_text(json.dumps(records))
        _, report, _ = run(capsys, "jhmdb", root, tmp_path / "P")
        if expected:
            assert report["metrics"]["mean IoU"] == pytest.approx(expected)
            assert report["metrics"]["mAP"] == pytest.approx(expected)
        else:
            assert report["metrics"]["mean IoU"] < 0.95
            assert report["metrics"]["P@0.9"] < 1
        assert all(row["masks"] == 2 for row in report["expressions"])


@pytest.mark.parametrize("dataset", TREES)
def test_missing_predictions_are_named_or_counted_as_empty(dataset, trees, tmp_path, capsys):
    root = trees(dataset)
    samples = read_tree(dataset, root)
    write_predictions(samples, tmp_path / "P")
    records = tmp_path / "P" / "predictions.json"
    if records.exists():
        total = json.loads(records.read_text())
        records.write_text(json.dumps(total[5:]))
        named = [str(record["image_id"]) for record in total[:3]]
        left = 5
    else:
        pictures = sorted((tmp_path / "P").rglob("*.png"))
        total = pictures
        for path in pictures[:5]:
            path.unlink()
        named, left = [path.name for path in pictures[:3]], 5
    code, report, error = run(capsys, dataset, root, tmp_path / "P")
    assert code == 2
    assert report is None
    assert f"{left} of {len(total)} " in error
    assert all(name in error for name in named)
    assert "and 2 more" in error
    assert error.count("\n") == 1
    code, report, _ = run(capsys, dataset, root, tmp_path / "P", "--missing-as-empty")
    assert code == 0
    assert report["num_missing"] == left


def test_predictions_of_another_split_lead_to_the_split(trees, tmp_path, capsys):
    other = tmp_path / "P" / "Annotations" / "another-video" / "0" / "00000.png"
    other.parent.mkdir(parents=True)
    other.touch()
    code, _, error = run(capsys, "ref-youtube-vos", trees("ref-youtube-vos"), tmp_path / "P")
    assert code == 2
    assert "none of the " in error
    assert "check the folder, or pass --split as in `vdit infer`" in error


def test_table_on_the_terminal(trees, tmp_path, capsys):
    root = trees("ref-davis")
    write_predictions(read_tree("ref-davis", root), tmp_path / "P")
    capsys.readouterr()
    main(["eval", "ref-davis", "--root", str(root), "--predictions", str(tmp_path / "P")])
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("ref-davis valid, protocol released: ")
    assert re.search(r": \d+ videos?, \d+ rows$", out[0])
    assert out[1].split() == ["mean", "0", "1", "2", "3"]
    assert out[2].split() == ["J&F", "100.00", *["100.00"] * 4]


def _tear_mask(folder):
    path = next(folder.rglob("*.png"))
    path.write_bytes(path.read_bytes()[:40])


def _write_gray(folder):
    path = next(folder.rglob("*.png"))
    gray = np.full(read_mask_png(path).shape, 90, dtype=np.uint8)
    write_palette_png(path, gray)


def _write_small(folder):
    write_mask_png(next(folder.rglob("*.png")), np.ones((5, 7), dtype=bool))


@pytest.mark.parametrize(
    ("damage", "workers", "sentence"),
    [
        (_tear_mask, "1", "is no picture"),
        (_tear_mask, "2", "is no picture"),
        (_write_gray, "1", "holds the values 90 to 90 besides 0, expected only 255, or only 1"),
        (_write_small, "1", "is 7x5, but its frame is 56x40"),
    ],
)
def test_damaged_masks(damage, workers, sentence, trees, tmp_path, capsys):
    root = trees("ref-youtube-vos")
    write_predictions(read_tree("ref-youtube-vos", root), tmp_path / "P")
    damage(tmp_path / "P")
    code, _, error = run(capsys, "ref-youtube-vos", root, tmp_path / "P", "--workers", workers)
    assert code == 2
    assert sentence in error
    assert ".png" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r[0].update(image_id="v_other_f_1"), "image_id 'v_other_f_1', which jhmdb"),
        (lambda r: r[0].pop("score"), "record 0 lacks one of image_id, score, segmentation"),
        (lambda r: r[1].update(score=float("nan")), "has the score nan, no number"),
        (lambda r: r[1].update(image_id=[1]), "has the image_id [1]"),
        (lambda r: r[2]["segmentation"].update(size=[4, 4]), "cannot be decoded"),
        (
            lambda r: r[2].update(segmentation={"size": [4, 4], "counts": [16]}),
            "is 4x4, but its frame is 56x40",
        ),
    ],
)
def test_damaged_records(change, sentence, trees, tmp_path, capsys):
    root = trees("jhmdb")
    write_predictions(read_tree("jhmdb", root), tmp_path / "P")
    path = tmp_path / "P" / "predictions.json"
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))
    code, _, error = run(capsys, "jhmdb", root, tmp_path / "P")
    assert code == 2
    assert sentence in error


@pytest.mark.parametrize(
    ("dataset", "words", "sentence"),
    [
        ("ref-youtube-vos", ["--protocol", "strict"], "it has only one; leave it out"),
        ("ref-davis", ["--protocol", "lenient"], "it has released, strict"),
        ("ref-youtube-vos", ["--split", "val"], "split='val' is unknown"),
        ("ref-youtube-vos", ["--workers", "0"], "at least one worker"),
    ],
)
def test_mistakes(dataset, words, sentence, trees, tmp_path, capsys):
    (tmp_path / "P").mkdir()
    code, _, error = run(capsys, dataset, trees(dataset), tmp_path / "P", *words)
    assert code == 2
    assert sentence in error


def test_no_predictions_at_all(trees, tmp_path, capsys):
    root = trees("ref-youtube-vos")
    _, _, error = run(capsys, "ref-youtube-vos", root, tmp_path / "nothing")
    assert "does not exist, expected a folder or a zip of predictions" in error
    (tmp_path / "broken.zip").write_bytes(b"PK")
    _, _, error = run(capsys, "ref-youtube-vos", root, tmp_path / "broken.zip")
    assert "cannot be read as a zip archive" in error
    code = main(["eval", "coco", "--root", ".", "--predictions", "."])
    assert code == 2
    assert "expected a data set among davis, mot15, mot17" in capsys.readouterr().err


def test_hidden_truth_is_said(trees, tmp_path, capsys):
    root = tmp_path / "tree"
    shutil.copytree(trees("mevis") / "valid_u", root / "valid")
    (tmp_path / "P").mkdir()
    code, _, error = run(capsys, "mevis", root, tmp_path / "P", "--split", "valid")
    assert code == 2
    assert "the truth of mevis valid is not public" in error
    assert "vdit pack" in error


def test_members_of_other_systems_are_no_predictions(tmp_path):

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("__MACOSX/v/0/1.png", "v/0/.DS_Store", "v/0/", "v/0/1.png"):
            archive.writestr(name, b"")
    assert open_predictions(tmp_path / "a.zip").names == {"v/0/1.png"}


def test_ids_that_cannot_be_scored_are_named(trees, tmp_path, capsys):
    root = trees("ref-davis")
    samples = read_tree("ref-davis", root)
    write_predictions(samples, tmp_path / "P")
    path = next((tmp_path / "P" / "anno_1" / samples[0].video).iterdir())
    write_palette_png(path, np.full_like(read_mask_png(path), 99))
    code, _, error = run(capsys, "ref-davis", root, tmp_path / "P")
    assert code == 2
    assert f"{samples[0].video} of annotator 1: expected at most 20 proposals, got" in error
    assert run(capsys, "ref-davis", root, tmp_path / "P", "--protocol", "strict")[0] == 0


# ---- DAVIS without sentences -------------------------------------------------------------------


@pytest.fixture
def davis_tree(tmp_path):
    """Two objects that move, and an object 3 that only the last frames show; void in frame 2."""
    labels = np.zeros((6, 30, 40), dtype=np.uint8)
    for t in range(6):
        labels[t, 3 + t : 12 + t, 4:16] = 1
        labels[t, 14:25, 20 + t : 30 + t] = 2
    labels[4:, 26:, :10] = 3
    labels[2, 3:6, 4:16] = davis.VOID_LABEL
    for t, frame in enumerate(labels):
        write_palette_png(tmp_path / "tree/Annotations/480p/clip" / f"{t:05d}.png", frame)
    for year in ("2016", "2017"):
        sets = tmp_path / "tree" / "ImageSets" / year
        sets.mkdir(parents=True)
        (sets / "val.txt").write_text("clip\n")
    (tmp_path / "tree/Annotations/480p/other").mkdir()
    return tmp_path / "tree", labels


def run_davis(capsys, root, labels, protocol, *words):
    predictions = root.parent / "P"
    for t, frame in enumerate(labels):
        if frame is not None:
            write_palette_png(predictions / "clip" / f"{t:05d}.png", frame)
    return run(capsys, "davis", root, predictions, "--protocol", protocol, *words)


def run_with_split(capsys, *arguments):
    return run_davis(capsys, *arguments, "--split", "val")


def test_protocols_of_davis(davis_tree, capsys):
    root, labels = davis_tree
    prediction = np.where(labels > 2, 0, labels)  # neither the third object nor void
    prediction[[0, -1]] = 0  # these frames do not count where masks are given
    _, report, _ = run_with_split(capsys, root, prediction, "semi-supervised")
    expected = davis.summarize([davis.score_semi_supervised(labels, prediction)])
    assert report["metrics"]["J&F"] == expected["J&F-Mean"]
    assert report["split"] == "val"
    _, report, _ = run_with_split(capsys, root, prediction, "unsupervised")
    expected = davis.summarize([davis.score_unsupervised(labels, prediction)])
    assert report["metrics"]["J&F"] == expected["J&F-Mean"] < 0.9
    _, report, _ = run_with_split(capsys, root, prediction, "foreground")
    union = (labels > 0) & (labels != davis.VOID_LABEL)
    expected = davis.region_similarity(union, prediction > 0)[1:-1].mean()
    assert report["metrics"]["J"] == pytest.approx(expected)
    assert report["expressions"][0]["frames"] == 4


def test_mistakes_in_davis(davis_tree, capsys):
    root, labels = davis_tree
    prediction = np.where(labels == davis.VOID_LABEL, 0, labels)
    code, _, error = run_with_split(capsys, root, prediction, "semi-supervised")
    assert code == 2
    assert "clip: expected predicted ids up to 2, got 3" in error
    code, _, error = run_with_split(capsys, root, labels, "matched")
    assert "davis has no protocol 'matched', it has semi-supervised, unsupervised" in error
    (root.parent / "P" / "clip" / "00000.png").unlink()
    _, _, error = run_with_split(capsys, root, [], "unsupervised")
    assert "1 of 6 predictions of davis val are missing" in error
    assert run_with_split(capsys, root, [], "foreground")[0] == 0  # the first does not count
    _, _, error = run_davis(capsys, root, [], "foreground", "--split", "all")
    assert "other holds no mask" in error
    _, _, error = run_davis(capsys, root, [], "foreground", "--split", "test")
    assert "test.txt does not exist" in error
    shutil.rmtree(root / "Annotations")
    _, _, error = run_with_split(capsys, root, [], "foreground")
    assert "expected the masks of DAVIS" in error
