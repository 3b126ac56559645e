"""The study of V-WALT and I-WALT: what is run, what is kept, what is said of what is missing."""

import csv
import json
import math
import re
import runpy
import shutil
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.vdit.study_world import SHIPPED, STEPS, STUDY, save_network, save_networks, write_study
from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.probing.results import read_rows
from vdit.study.cells import AXES, Cell, cells_of, main_cell
from vdit.study.figures import draw_figures
from vdit.study.networks import count_parameters, generation_quality
from vdit.study.pictures import draw_pictures
from vdit.study.quadrants import one_part_moves, render_quadrants
from vdit.study.running import missing_portions, render_tree, run_missing
from vdit.study.study import Score, Study
from vdit.study.study_config import Tree
from vdit.study.summaries import Summary, relative_gain, summarize
from vdit.study.tables import best_of, gains_of, page_of, write_tables

TOOL = Path(__file__).parents[2] / "tools" / "image_vs_video.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of a study that was run: models/, config/, out/."""
    root = tmp_path_factory.mktemp("study")
    save_networks(root / "models")
    write_study(root / "config")
    left = run_missing(study_in(root), AXES, list(STUDY["probes"]))
    assert left == 0
    return root


def study_in(root, *changes):
    return Study(root / "config", root / "models", root / "out", changes)


@pytest.fixture
def study(place):
    return study_in(place)


def rows_of(root, network):
    return read_rows(root / "out" / "probes" / network / "results.jsonl")


# ---- running -----------------------------------------------------------------------------------


def test_everything_that_can_be_run_is_run_once(place, study):
    assert missing_portions(study, AXES, study.probes) == []
    counts = {
        folder.name: len(read_rows(folder / "results.jsonl"))
        for folder in (place / "out" / "probes").iterdir()
    }
    swept = 2 * 4  # two probes, two blocks at two noise levels, the usual place among them
    assert counts == {
        "walt-v-walt-000020": swept,
        "walt-i-walt-000020": swept,
        "walt-v-walt-000010": 2,
        "walt-i-walt-000010": 2,
        "walt-1-v-walt-000020": 2,
        "walt-wide-v-walt-000020": 2,
        "walt-wide-i-walt-000020": 2,
    }
    assert not list((place / "out").rglob("features/*/*/*.safetensors"))


def test_portions_share_passes_and_come_axis_by_axis(place, tmp_path):
    fresh = Study(place / "config", place / "models", tmp_path)
    portions = missing_portions(fresh, AXES, ["motion"])
    assert [len(each.cells) for each in portions] == [1] * 7 + [2, 2, 1, 1]
    assert [(each.cells[0].kind, each.seed) for each in portions[:3]] == [
        ("video", 0),
        ("image", 0),
        ("video", 1),  # I-WALT of seed 1 is not there
    ]
    assert {each.cells[0].step for each in portions[3:5]} == {10}
    assert {each.cells[0].size for each in portions[5:7]} == {"wide"}
    assert [len({c.timestep for c in each.cells}) for each in portions[7:]] == [1] * 4
    only = missing_portions(fresh, ["budget"], ["motion"])
    assert {(each.cells[0].step, each.seed) for each in only} == {(10, 0), (20, 0)}


def test_no_time_runs_nothing(place, tmp_path):
    fresh = Study(place / "config", place / "models", tmp_path)
    count = len(missing_portions(fresh, AXES, ["motion"]))
    assert run_missing(fresh, AXES, ["motion"], minutes=0) == count > 0
    assert not list(tmp_path.iterdir())


def test_results_are_known_wherever_the_study_is_moved(place, study, tmp_path):
    shutil.copytree(place / "out" / "probes", tmp_path / "probes")
    moved = Study(place / "config", tmp_path / "nowhere", tmp_path)
    cell = main_cell(study.config, "pose", "video")
    assert moved.score(cell, 1) == study.score(cell, 1)
    assert moved.why_missing(main_cell(study.config, "pose", "image"), 1) == (
        "no weights in walt-1/i-walt"
    )


def test_other_settings_are_other_results(place, study):
    cell = main_cell(study.config, "pose", "video")
    assert study_in(place, "changes=[run.steps=4]").score(cell, 0) is None
    assert study_in(place, "changes=[run.steps=4]").why_missing(cell, 0) == "not run"
    assert study_in(place, "changes=[run.log_every=7]").score(cell, 0) == study.score(cell, 0)


def test_other_weights_are_refused(place, tmp_path):
    shutil.copytree(place / "models", tmp_path / "models")
    shutil.copytree(place / "out", tmp_path / "out")
    save_network(tmp_path / "models" / "walt", "video", seed=9)
    changed = Study(place / "config", tmp_path / "models", tmp_path / "out")
    with pytest.raises(ValueError, match=r"the weights that the results in .* are of"):
        run_missing(changed, ["main"], ["pose"], minutes=0)


def test_trainings_of_another_length_are_refused(place, tmp_path):
    shutil.copytree(place / "models", tmp_path / "models")
    path = tmp_path / "models" / "walt-training" / "tiny_video" / "config.yaml"
    path.write_text(yaml.safe_dump({"run": {"steps": 30}}))
    fresh = Study(place / "config", tmp_path / "models", tmp_path / "out")
    with pytest.raises(ValueError, match=r"expected a training of 20 steps .* found one of 30"):
        run_missing(fresh, ["main"], ["pose"])


def test_other_clips_are_refused(place):
    root = place / "out" / "clips" / "camera"
    before = (root / "rendered.json").stat().st_mtime_ns
    tree = Tree(train=5, val=3, frames=9, height=32, width=32)
    render_tree(root, "camera", tree)
    assert (root / "rendered.json").stat().st_mtime_ns == before
    for other in (replace(tree, val=4), replace(tree, frames=5)):
        with pytest.raises(ValueError, match=r"found . others; remove"):
            render_tree(root, "camera", other)


def test_all_shipped_probes_run_on_both_kinds(place, tmp_path):
    names = ("category", "depth", "points", "boxes")
    trees = {"category": "category", "depth": "camera", "points": "tracking", "boxes": "tracking"}
    write_study(tmp_path / "config", probes=trees)
    other = Study(tmp_path / "config", place / "models", tmp_path / "out", ["pairs.1.folder=x"])
    assert run_missing(other, ["main"], names) == 0
    for name in names:
        for kind in ("video", "image"):
            score = other.score(main_cell(other.config, name, kind), 0)
            assert math.isfinite(score.value), name
            assert score.more_is_better == (name != "depth")


# ---- summaries and tables ----------------------------------------------------------------------


def test_means_and_spreads_are_those_of_the_rows(place, study):
    cell = main_cell(study.config, "pose", "video")
    values = [
        row["metrics"]["epe"]
        for network in ("walt-v-walt-000020", "walt-1-v-walt-000020")
        for row in rows_of(place, network)
        if row["task"] == "pose"
        and (row["config"]["source"]["block"], row["config"]["source"]["timestep"])
        == ("block2", 200)
    ]
    found = summarize(study, "main", cell)
    assert len(values) == 2
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.spread == pytest.approx(statistics.stdev(values))
    assert (found.spread_over, found.missing) == ("networks", {})
    assert found.first.more_is_better is False
    image = summarize(study, "main", replace(cell, kind="image"))
    assert list(image.scores) == [0]
    assert image.missing == {1: "no weights in walt-1/i-walt"}


def scores(*values, more=True, heads=()):
    return {
        k: Score(value, heads or (value,), "m", "", more, None) for k, value in enumerate(values)
    }


CELL = Cell("pose", "video", "tiny", 20, "block2", 200.0)


def test_gains_are_those_of_pairs_and_errors_count_the_other_way():
    video, image = Summary(CELL, scores(60, 55, 70)), Summary(CELL, scores(50, 50))
    gain = relative_gain(video, image)
    assert dict(gain.by_seed) == {0: pytest.approx(20), 1: pytest.approx(10)}
    assert gain.mean == pytest.approx(15)
    assert gain.spread == pytest.approx(statistics.stdev([20, 10]))
    errors = relative_gain(
        Summary(CELL, scores(0.8, more=False)), Summary(CELL, scores(1.0, more=False))
    )
    assert errors.mean == pytest.approx(20)
    assert math.isnan(errors.spread)
    assert math.isnan(relative_gain(video, Summary(CELL)).mean)


def test_a_single_network_has_the_spread_of_its_heads():
    several = Summary(CELL, scores(2.0, heads=(1.0, 2.0, 3.0)))
    assert (several.spread, several.spread_over) == (1.0, "heads")
    single = Summary(CELL, scores(2.0))
    assert math.isnan(single.spread)
    assert single.spread_over == ""


def test_the_best_place_knows_errors():
    low, high = (Summary(CELL, scores(value)) for value in (1.0, 2.0))
    assert best_of([Summary(CELL), low, high]) is high
    errors = [Summary(CELL, scores(value, more=False)) for value in (1.0, 2.0)]
    assert best_of(errors) is errors[0]
    assert best_of([Summary(CELL)]) is None


def test_the_page_names_what_is_missing(study):
    page = page_of(study)
    (line,) = [each for each in page.splitlines() if each.startswith("- ")]
    assert line == (
        "- I-WALT tiny, seed 1, step 20: no weights in walt-1/i-walt "
        "(2 cells: motion, pose; block2 t=200)"
    )
    (pose,) = [each for each in page.splitlines() if each.startswith("| pose | epe (less is b")][:1]
    assert re.search(r"\(2\) \| [\d.]+ \(1 of 2\) \| [+-][\d.]+ % \(1\) \| [\d.]+ \|$", pose)
    assert "## wide: block1, t=200, 20 steps" in page
    assert "4 of 4 |" in page


def test_files_have_a_line_for_every_cell(place, study, tmp_path):
    write_tables(study, tmp_path)
    with (tmp_path / "cells.csv").open() as file:
        lines = list(csv.DictReader(file))
    planned = [(axis, cell) for axis in AXES for cell in cells_of(study.config, axis)]
    assert len(lines) == len(planned) == 4 + 8 + 8 + 16
    for line, (axis, cell) in zip(lines, planned, strict=True):
        assert (line["axis"], line["probe"], line["kind"]) == (axis, cell.probe, cell.kind)
        found = summarize(study, axis, cell)
        assert float(line["mean"]) == pytest.approx(found.mean, abs=1e-5)
        assert bool(line["missing"]) == bool(found.missing)
    content = json.loads((tmp_path / "study.json").read_text())
    gains = gains_of(study, "tiny")
    assert content["gains"]["pose"]["mean"] == pytest.approx(gains["pose"].mean, abs=1e-5)
    assert len(content["missing"]) == 1


# ---- figures and pictures ----------------------------------------------------------------------


def test_every_chart_is_drawn_of_a_study_that_was_run(study, tmp_path):
    drawn, left_out = draw_figures(study, tmp_path)
    assert left_out == []
    sweeps = {f"sweep_{probe}_{k}-walt.png" for probe in ("motion", "pose") for k in "vi"}
    lines = {f"{name}.png" for name in ("blocks", "noise", "budget", "quality", "sizes")}
    assert {path.name for path in drawn} == {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in drawn} == {"gains.png", *lines, *sweeps}


def test_charts_without_numbers_are_named(place, tmp_path):
    empty = Study(place / "config", tmp_path / "models", tmp_path / "out")
    drawn, left_out = draw_figures(empty, tmp_path / "figures")
    assert drawn == []
    assert len(left_out) == 10
    assert "gains.png: no probe has a score of V-WALT and of I-WALT from one seed" in left_out
    write_tables(empty, tmp_path / "out")
    assert "| motion | - | missing | missing | missing | - |" in page_of(empty)


def test_quality_is_read_by_step(place, tmp_path):
    training = place / "models" / "walt-training" / "tiny_video"
    assert generation_quality(training, "stills") == {10: 0.9, STEPS: 0.7}
    assert generation_quality(training, "frechet_frames") == {}
    assert generation_quality(tmp_path, "stills") == {}
    (tmp_path / "metrics.jsonl").write_text('{"validation/stills": 1}\n')
    with pytest.raises(ValueError, match="expected a step and numbers in line 1"):
        generation_quality(tmp_path, "stills")


def test_parameters_are_those_of_the_transformer(study):
    wide, tiny = (main_cell(study.config, "pose", "video", size) for size in ("wide", "tiny"))
    counted = count_parameters(study.network(wide, 0).folder)
    assert study.parameters(wide) == counted > study.parameters(tiny)


def test_one_quarter_moves_and_the_first_frame_is_even():
    clip = render_quadrants("motion-type", 3, (5, 64, 96))
    assert clip.shape == (5, 64, 96, 3)
    quarters = [clip[:, y : y + 32, x : x + 48] for y in (0, 32) for x in (0, 48)]
    assert all(np.array_equal(quarters[0][0], each[0]) for each in quarters)
    moves = [bool((each != each[:1]).any()) for each in quarters]
    assert moves == [False, False, False, True]
    with pytest.raises(ValueError, match=r"a quarter in 0\.\.3"):
        one_part_moves(clip, 4)


def test_pictures_show_both_kinds(study, tmp_path):
    written, missing = draw_pictures(study, tmp_path)
    assert missing == []
    assert {path.name for path in written} == {
        *("components_motion-type.png", "quadrants.png", "quadrants.gif"),
        *(f"{kind}_{name}-walt.png" for kind in ("blocks", "noise") for name in "vi"),
    }
    with Image.open(tmp_path / "quadrants.gif") as gif:
        assert gif.n_frames == 3  # as V-WALT has feature frames
    assert all(path.is_file() for path in written)


def test_pictures_of_missing_networks_are_named(place, tmp_path):
    save_network(tmp_path / "models" / "walt-1", "image", 0)
    other = Study(place / "config", tmp_path / "models", tmp_path / "out")
    written, missing = draw_pictures(other, tmp_path / "pictures")
    assert written == []
    assert missing == [f"pictures of {k}-WALT: no weights in walt/{k.lower()}-walt" for k in "VI"]


# ---- the command -------------------------------------------------------------------------------


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["image_vs_video.py", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(TOOL), run_name="__main__")
    return stopped.value.code


def test_one_command_writes_everything(place, tmp_path, monkeypatch, capsys):
    shutil.copytree(place / "out", tmp_path / "out")
    words = [place / "models", "-o", tmp_path / "out", "--config", place / "config"]
    assert call(monkeypatch, *words, "--no-pictures") == 0
    out = capsys.readouterr().out
    assert "I-WALT tiny, seed 1, step 20: no weights in walt-1/i-walt" in out
    assert {"table.md", "cells.csv", "study.json", "gains.png"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    more = ["sweep.timesteps=[0,200,400]", "--minutes", "0", "--no-pictures", "--json"]
    assert call(monkeypatch, *words, *more) == 0
    assert json.loads(capsys.readouterr().out)["left"] == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--probes", "juggling"], "expected --probes among motion, pose, got juggling"),
        (["size=huge"], "expected size among tiny, wide, got huge"),
        (["timestep=300"], "expected timestep among 0.0, 200.0, got 300.0"),
        (["budget.seeds=[0,5]"], "expected budget.seeds and sweep.seeds among 0, 1, got 5"),
        (["pairs.1.folder=walt"], "pairs that differ in size or seed"),
        (["probes.pose=golf"], "expected the recipes of probes among"),
        (["changes=[run.stps=3]"], "Key 'stps' not in 'RunConfig'"),
        (["changes=[backbone=mini]"], "expected a learned probe of the backbone walt"),
    ],
)
def test_mistakes_are_one_sentence(place, tmp_path, monkeypatch, capsys, words, sentence):
    given = [place / "models", "-o", tmp_path / "out", "--config", place / "config", *words]
    assert call(monkeypatch, *given) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


# ---- what is shipped ---------------------------------------------------------------------------


def test_the_shipped_study_fits_together(tmp_path):
    study = Study(SHIPPED, tmp_path, tmp_path)
    config = study.config
    assert set(study.probes) == {path.stem for path in SHIPPED.glob("*.yaml")} - {"study"}
    assert len(config.seeds(config.size)) == 3
    assert len(cells_of(config, "sweep")) == 6 * 2 * 12 * 6
    frames = {tree.frames for tree in config.trees.values()}
    for name, probe in study.probes.items():
        settings, tree = probe.config, config.trees[config.probes[name]]
        assert {settings.view.num_frames} == frames == {17}  # what V-WALT sees at once
        assert settings.source.block == config.sizes["tiny"].block
        assert settings.source.timestep == config.timestep
        assert settings.run.batch <= tree.train
        splits = PROBE_DATASETS[settings.data.dataset].splits
        assert {settings.data.folds[0].train, settings.data.folds[0].test} <= set(splits)
