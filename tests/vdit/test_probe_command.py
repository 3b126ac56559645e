"""`vdit probe`: rows beside those of papers, sweeps, tables, mistakes; shipped configurations."""

from __future__ import annotations

import csv
import inspect
import json
import re
from pathlib import Path

import pytest
import yaml

from vdit.backbone_loading.families import BACKBONES
from vdit.cli import main
from vdit.commands.probe import TASKS
from vdit.config import load_config
from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.davis import write_davis
from vdit.datasets.synthetic.writers.jhmdb import write_jhmdb
from vdit.masks import read_mask_png
from vdit.probing.paper_tables import find_paper_row, paper_rows
from vdit.probing.propagation_config import LabelPropagationConfig
from vdit.probing.sweeps import Axis, draw, parse_axis, points

T, H, W = 5, 48, 64
CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "probe").glob("*.yaml"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    write_davis([("one", render(make_scene("simple", 0, T, H, W)))], root / "DAVIS")
    return root


@pytest.fixture
def config(tree, tmp_path):
    path = tmp_path / "mini.yaml"
    content = {
        "task": "label_propagation",
        "data": {"dataset": "davis-2017", "root": str(tree / "DAVIS"), "split": "val"},
        "sources": {
            "video": {"backbone": "mini", "block": "vae4"},
            "image": {"backbone": "mini", "block": "in"},
        },
        "alpha": 1.0,
        "propagation": {"num_context": 3, "radius": 4, "topk": 5, "temperature": 0.1},
        "paper": {"table": "TED, Table 2", "method": "TED"},
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def probe(config, tmp_path, capsys):
    def run(*words):
        code = main(["probe", str(config), "-o", str(tmp_path / "out"), *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def rows_of(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


# ---- rows --------------------------------------------------------------------------------------


def test_row_is_printed_beside_the_papers(probe, tmp_path):
    code, out, _ = probe()
    assert code == 0
    (row,) = rows_of(tmp_path / "out")
    lines = out.splitlines()
    assert lines[0] == "davis-2017 val: 1 videos, 5 frames"
    assert lines[1].split() == ["J&F_m", "J_m", "F_m"]
    assert lines[2].split() == ["mini:vae4", *(f"{row['metrics'][m]:.1f}" for m in row["shown"])]
    assert lines[3].split() == ["TED,", "Table", "2:", "TED", "77.6", "74.4", "80.8"]
    assert sum("of its size a frame" in line for line in lines) == len(row["by_motion"])


def test_masks_are_those_of_vdit_propagate(probe, tree, tmp_path):
    assert probe()[0] == 0
    davis = tree / "DAVIS"
    words = ["--labels", str(davis / "Annotations/480p/one/00000.png"), "--backbone", "mini"]
    words += ["--block", "vae4", "--num-context", "3", "--radius", "4", "--topk", "5"]
    video = str(davis / "JPEGImages/480p/one")
    assert main(["propagate", video, *words, "-o", str(tmp_path / "propagated")]) == 0
    (row,) = rows_of(tmp_path / "out")
    ours = tmp_path / "out" / f"davis-2017-{row['run']}" / "masks" / "one"
    for path in sorted(ours.iterdir()):
        theirs = read_mask_png(tmp_path / "propagated" / "masks" / path.name)
        assert (read_mask_png(path) == theirs).all()


def test_written_configuration_gives_the_same_run(probe, tmp_path, capsys):
    code, out, _ = probe("block=in", "propagation.topk=2", "--json")
    assert code == 0
    (row,) = json.loads(out)["rows"]
    assert row["config"]["sources"]["video"]["block"] == "in"
    assert row["config"]["propagation"]["topk"] == 2
    written = tmp_path / "out" / f"davis-2017-{row['run']}" / "config.json"
    assert main(["probe", str(written), "-o", str(tmp_path / "again"), "--json"]) == 0
    (again,) = json.loads(capsys.readouterr().out)["rows"]
    assert (again["run"], again["metrics"]) == (row["run"], row["metrics"])


def test_key_points_of_a_rendered_tree(config, tmp_path, capsys):
    clips = [(f"v{k}", render(make_scene("referring", k, T, H, W))) for k in range(2)]
    write_jhmdb(clips, tmp_path / "jhmdb", test_names=["v0", "v1"])
    words = [f"data.root={tmp_path / 'jhmdb'}", "data.dataset=jhmdb-keypoints", "data.split=test"]
    words += ["propagation.variant=crw", "paper.table=TED, Table 5", "size=[64,64]"]
    assert main(["probe", str(config), *words, "-o", str(tmp_path / "out"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["shown"] == [f"PCK@0.{k}" for k in range(1, 6)]
    values = [row["metrics"][name] for name in row["shown"]]
    assert values == sorted(values)
    assert 0 < values[-1] <= 100
    assert row["paper"]["values"] == {"PCK@0.1": 68.3, "PCK@0.2": 85.8}


def test_table_shows_all_rows_and_runs_nothing(probe, tmp_path):
    assert probe()[0] == 0
    assert probe("block=in")[0] == 0
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path / "mini.yaml"  # no data is needed
    path.write_text(re.sub("root: .*", "root: '???'", path.read_text()))
    with next(tmp_path.rglob("results.jsonl")).open("a") as file:
        file.write('{"made by": "another program"}\n')  # is passed over
    code, out, _ = probe("--table")
    assert code == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert "davis-2017 val: 2 rows" in out
    assert "mini:vae4" in out
    assert "mini:in" in out
    assert "TED, Table 4: SVD+ADM" in out
    assert "TED, Table 1" not in out  # another data set


# ---- sweeps ------------------------------------------------------------------------------------


def test_sweep_writes_rows_a_table_and_a_picture(probe, tmp_path):
    code, out, _ = probe("--sweep", "alpha=0,0.5,1")
    assert code == 0
    table, picture = (Path(line) for line in out.splitlines()[-2:])
    assert picture.read_bytes().startswith(b"\x89PNG")
    with table.open() as file:
        lines = list(csv.DictReader(file))
    assert [line["alpha"] for line in lines] == ["0", "0.5", "1"]
    rows = rows_of(tmp_path / "out")
    assert [line["run"] for line in lines] == [row["run"] for row in rows]
    assert [float(line["J_m"]) for line in lines] == [
        pytest.approx(row["metrics"]["J_m"], abs=1e-3) for row in rows
    ]
    assert [row["config"]["alpha"] for row in rows] == [0, 0.5, 1]


def test_points_of_equal_features_are_told_apart(probe):
    code, out, _ = probe("--sweep", "propagation.topk=1,5")
    assert code == 0
    ours = [line for line in out.splitlines() if line.startswith("mini:vae4 ")]
    assert [line.split()[1] for line in ours] == ["propagation.topk=1", "propagation.topk=5"]


def test_two_sweeps_are_all_combinations(probe, tmp_path):
    code, out, _ = probe("--sweep", "block=vae4,in", "--sweep", "propagation.topk=1,5", "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    configs = [row["config"] for row in rows]
    assert [
        (each["sources"]["video"]["block"], each["propagation"]["topk"]) for each in configs
    ] == [("vae4", 1), ("vae4", 5), ("in", 1), ("in", 5)]


def test_pictures_of_one_two_and_three_axes(tmp_path):
    def axis(name, *values):
        return Axis(name, name, values)

    for k, axes in enumerate(
        [
            [axis("t", 0, 50)],
            [axis("block", "a", "b")],
            [axis("t", 0, None), axis("block", "a", "b", "c")],
            [axis("t", 0, 50), axis("block", "a", "b"), axis("u", 1)],
        ]
    ):
        swept = points(axes)
        rows = [
            {"shown": ["J", "F"], "unit": "%", "metrics": {"J": i, "F": 2.0 * i}}
            for i in range(len(swept))
        ]
        draw(tmp_path / f"{k}.png", axes, swept, rows)
        assert (tmp_path / f"{k}.png").stat().st_size > 1000


@pytest.mark.parametrize("text", ["alpha", "alpha=", "=1", "alpha=1,1", "alpha=[1", "alpha=1,]"])
def test_sweeps_of_another_form_are_refused(text):
    with pytest.raises(ValueError, match="expected --sweep KEY=VALUE"):
        parse_axis(text)


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.root=nowhere"], "nowhere"),
        (["blocks=vae4"], "'blocks' not in 'LabelPropagationConfig'"),
        (["block=nowhere"], "expected blocks among"),
        (["backbone=nobody"], "expected a backbone among"),
        (["alpha=2"], "expected alpha in 0..1"),
        (["fit=up"], "fit"),
        (["paper.method=nobody"], "expected a method of TED, Table 2 among"),
        (["--sweep", "data.max_frames=3,4"], "expected configurations of equal data"),
        (["--sweep", "block"], "expected --sweep KEY=VALUE"),
        (["--device", "abacus"], "expected a device"),
    ],
)
def test_mistakes_are_one_sentence(probe, tmp_path, words, message):
    code, _, err = probe(*words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out" / "results.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task: juggling", "expected `task:` with one of label_propagation"),
        ("- 1", "expected `task:` with one of label_propagation"),
        ("task: [", "expected a readable YAML file"),
        ("task: label_propagation", "data.dataset"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, capsys, content, message):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    assert main(["probe", str(path), "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


# ---- what is shipped ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_shipped_configurations_name_what_is_there(path):
    content = yaml.safe_load(path.read_text())
    config = load_config(TASKS[content.pop("task")].schema, content, ["data.root=somewhere"])
    if isinstance(config, LabelPropagationConfig):
        assert all(source.backbone in BACKBONES for source in config.weighted_sources())
        assert config.propagation.settings().topk > 0
    else:
        assert config.source.backbone in BACKBONES
        benchmark = PROBE_DATASETS[config.data.dataset]
        tested = [split for fold in config.data.folds for split in (fold.train, fold.test)]
        assert set(tested) <= set(benchmark.splits)
        inspect.signature(benchmark.read).bind("root", "split", **config.data.options)
    if config.paper.table:
        assert find_paper_row(config.paper.table, config.data.dataset, config.paper.method)
    with pytest.raises(ValueError, match=r"data\.root"):
        load_config(type(config), content)


@pytest.mark.parametrize("name", ["action_ucf101", "action_hmdb51"])
def test_other_rows_of_a_comment_are_configurations(name):
    """Every line of changes that a comment of action_ucf101 names."""
    content = yaml.safe_load((CONFIGS[0].parent / f"{name}.yaml").read_text())
    comment = (CONFIGS[0].parent / "action_ucf101.yaml").read_text()
    rows = re.findall(r"^#   (\S.*)$", comment, re.MULTILINE)
    assert len(rows) == 6
    task = TASKS[content.pop("task")]
    for row in rows:
        words = (word.partition("=") for word in row.split(" "))
        changes = [f"{task.full_key(key, content)}={value}" for key, _, value in words]
        config = load_config(task.schema, content, ["data.root=somewhere", *changes])
        assert config.source.backbone in BACKBONES
        assert find_paper_row(config.paper.table, config.data.dataset, config.paper.method)


def test_actions_have_the_settings_of_the_paper():
    for name, epochs in (("ucf101", 100), ("hmdb51", 50)):
        content = yaml.safe_load((CONFIGS[0].parent / f"action_{name}.yaml").read_text())
        config = load_config(TASKS[content.pop("task")].schema, content, ["data.root=somewhere"])
        run, view = config.run, config.view
        assert (run.epochs, run.batch, run.rate, run.warmup) == (epochs, 48, 5e-4, 3000)
        assert (run.clip, run.decay, run.schedule, run.average) == (0.1, 0.05, "cosine", None)
        assert (view.num_frames, view.sampling, view.short_side) == (16, "uniform", 224)
        assert (tuple(view.crop), view.crops, view.clips) == ((224, 224), 1, 1)
        assert (config.source.block, config.source.timestep) == ("up1", 50)
        assert [(f.train, f.test) for f in config.data.folds] == [
            (f"train{k}", f"test{k}") for k in (1, 2, 3)
        ]
        assert config.head.kind == "pooled"


def test_ted_has_the_settings_of_its_table_6():
    for name, timestep, alpha, temperature in (
        ("davis", 300, 0.4, 0.2),
        ("youtube_similar", 600, 0.6, 0.1),
    ):
        path = next(path for path in CONFIGS if path.stem == f"propagation_{name}")
        content = yaml.safe_load(path.read_text())
        video, image = content["sources"]["video"], content["sources"]["image"]
        assert (video["backbone"], video["block"], video["timestep"]) == (
            "i2vgen-xl",
            "up2",
            timestep,
        )
        assert (image["backbone"], image["block"], image["timestep"]) == ("adm-256", "out7", 51)
        assert (content["alpha"], content["propagation"]["temperature"]) == (alpha, temperature)
        assert (content["propagation"]["radius"], content["propagation"]["topk"]) == (15, 10)


def test_rows_of_papers_fit_together():
    assert len(paper_rows()) == 168
    for row in paper_rows():
        assert row.values
        if {"J_m", "F_m", "J&F_m"} <= row.values.keys() and not row.note.startswith("as printed"):
            mean = (row.values["J_m"] + row.values["F_m"]) / 2
            assert row.values["J&F_m"] == pytest.approx(mean, abs=0.11), row
    assert find_paper_row("", "davis-2017", "TED") is None
    assert find_paper_row("TED, Table 5", "davis-2017", "TED") is None
    with pytest.raises(ValueError, match="expected a table among"):
        find_paper_row("Table 5", "davis-2017", "TED")
