"""`vdit data refsynth`: trees that the readers take, with the kinds of their sentences."""

import json

import pytest

from tests.vdit.evaluation.prediction_trees import shift, write_predictions
from vdit.cli import main
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.datasets.synthetic.refsynth import PARTS, RefSynth
from vdit.datasets.synthetic.writers.layouts import NEEDS


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("refsynth")
    assert main(["data", "refsynth", "no-target", "train", "--count", "1", "-o", str(root)]) == 0
    return root


def test_each_part_is_a_tree_of_its_own(root):
    for part, split in (("no-target", "valid_u"), ("train", "train")):
        samples = REFERRING_DATASETS["mevis"].read(root / part, split)
        captions = RefSynth(part)[0].captions
        assert [(each.text, each.kind) for each in samples] == [(c.text, c.kind) for c in captions]
        for sample, caption in zip(samples, captions, strict=True):
            assert len(sample.object_ids) == len(caption.objects)
        assert samples[0].size == (128, 128)


def test_scores_of_each_kind(root, tmp_path, capsys):
    samples = REFERRING_DATASETS["mevis"].read(root / "no-target", "valid_u")
    write_predictions(samples, tmp_path / "P")
    words = ["eval", "mevis", "--root", str(root / "no-target"), "--predictions"]
    assert main([*words, str(tmp_path / "P"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["parts"]) == list(dict.fromkeys(each.kind for each in samples))
    assert {part["J&F"] for part in report["parts"].values()} == {1.0}
    write_predictions(samples, tmp_path / "Q", shift)
    assert main([*words, str(tmp_path / "Q")]) == 0
    head, *rows = capsys.readouterr().out.splitlines()[1:]
    assert head.split("no target")[0].split() == ["mean", *(k for k in report["parts"])][:-1]
    J_and_F = next(row for row in rows if row.split()[0] == "J&F").split()
    assert float(J_and_F[-1]) == 100.0, "nothing, shifted, is nothing"
    assert all(float(value) < 95 for value in J_and_F[2:-1])
    T_acc = next(row for row in rows if row.split()[0] == "T-acc").split()
    assert T_acc[2:] == ["-"] * len(report["parts"]), "only of all kinds together"


def test_what_is_there_stays(root, capsys):
    path = root / "train" / "train" / "meta_expressions.json"
    before = path.stat().st_mtime_ns
    assert main(["data", "refsynth", "train", "--count", "1", "-o", str(root), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["parts"]
    assert not row["is_new"]
    assert path.stat().st_mtime_ns == before
    assert main(["data", "refsynth", "train", "--count", "2", "-o", str(root)]) == 2
    error = capsys.readouterr().err
    assert "expected RefSynth with clips 2" in error
    assert "found 1" in error
    assert path.stat().st_mtime_ns == before


def test_what_was_begun_is_gone_on_with_and_nothing_else_goes_there(tmp_path, capsys):
    words = ["data", "refsynth", "identical", "--count", "1", "-o", str(tmp_path)]
    assert main(words) == 0
    path = tmp_path / "identical" / "refsynth.json"
    facts = json.loads(path.read_text())
    assert (facts.pop("written"), facts.pop("left_out")) == (1, 0)
    path.write_text(json.dumps(facts))  # as a killed process leaves it
    (tmp_path / "identical" / "valid_u" / "mask_dict.json").unlink()
    capsys.readouterr()
    assert main([*words, "--layout", "ref-youtube-vos"]) == 2
    assert "expected RefSynth with layout 'ref-youtube-vos'" in capsys.readouterr().err
    assert main(words) == 0
    assert "1 clips as mevis, rendered" in capsys.readouterr().out
    assert (tmp_path / "identical" / "valid_u" / "mask_dict.json").is_file()
    assert json.loads(path.read_text())["written"] == 1


def test_clips_without_sentences_are_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(NEEDS, "mevis", lambda clip: clip.scene == RefSynth("identical").scene(1))
    words = ["data", "refsynth", "identical", "--count", "2", "-o", str(tmp_path)]
    assert main(words) == 0
    assert "1 clips as mevis, rendered, 1 without such sentences" in capsys.readouterr().out
    samples = REFERRING_DATASETS["mevis"].read(tmp_path / "identical", "valid_u")
    assert {each.video for each in samples} == {"identical-0030001"}


def test_ref_youtube_vos_has_the_truth_of_all_parts(tmp_path, capsys):
    words = ["data", "refsynth", "identical", "--count", "1", "--layout", "ref-youtube-vos"]
    assert main([*words, "-o", str(tmp_path)]) == 0
    samples = REFERRING_DATASETS["ref-youtube-vos"].read(tmp_path / "identical", "train")
    assert {each.kind for each in samples} == {"motion"}
    assert samples[0].masks().any()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["unseen"], f"expected a part among {', '.join(PARTS)}; got 'unseen'"),
        (["--layout", "davis"], "expected --layout mevis or ref-youtube-vos, got 'davis'"),
        (
            ["no-target", "--layout", "ref-youtube-vos"],
            "expected --layout mevis for no-target, which ref-youtube-vos cannot hold",
        ),
        (["--count", "0"], "expected a count in 1..100, the clips of val; got 0"),
        (["--workers", "-1"], "expected --workers >= 0, got -1"),
    ],
)
def test_mistakes(tmp_path, capsys, words, sentence):
    assert main(["data", "refsynth", *words, "-o", str(tmp_path / "tree")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "tree").exists()
