"""Training on miniature trees of the benchmarks: every recipe, one process and two, killed too."""

import json
import signal
import subprocess
import time

import pytest
import torch
import yaml

from tests.vdit.small_recipes import RECIPES, command, environment, start, words_of
from vdit.build import load_model
from vdit.cli import main
from vdit.config import load_config
from vdit.stages.benchmark import BenchmarkConfig
from vdit.training.engine import CHECKPOINT, METRICS

LAYOUTS = {
    "ref-youtube-vos": "train",
    "mevis": "train",
    "a2d": "train",
    "refcoco": "train",
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Function: name of a layout -> root of a rendered tree."""
    made = {}

    def tree(layout):
        if layout == "a2d":
            pytest.importorskip("h5py")
        if layout not in made:
            made[layout] = tmp_path_factory.mktemp(layout)
            words = ["data", "render", "referring", "-o", str(made[layout]), "--layout", layout]
            words += ["--count", "2", "--frames", "6", "--height", "48", "--width", "64"]
            assert main([*words, "--split", LAYOUTS[layout]]) == 0
        return made[layout]

    return tree


def losses(work):
    found = [json.loads(line) for line in (work / METRICS).read_text().splitlines()]
    return [line["loss"] for line in found if "loss" in line]


def scores(work):
    found = [json.loads(line) for line in (work / METRICS).read_text().splitlines()]
    return [line["validation/J"] for line in found if "validation/J" in line]


def check_model(folder, name):
    """The trained model loads, and is the recipe's."""
    model, spec = load_model(folder)
    assert spec.trained
    if name == "vdit_mevis":
        assert model.head.config.num_queries == 20
    if name.startswith("ablation_vd"):
        wanted = {"i": "image", "t": "text", "it": "image+text"}[name.rpartition("_")[2]]
        assert model.config.condition == wanted
    if name.startswith("ablation_noise"):
        assert model.config.noise == name.rpartition("_")[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_train_on_one_process(trees, tmp_path, name):
    assert main(["train", *words_of(name, trees), "-o", str(tmp_path / "model")]) == 0
    work = tmp_path / "model-training" / name
    batch = 4 if name == "vdit_pretrain_refcoco" else 2
    assert len(losses(work)) == 2 * -(-3 // batch)
    assert len(scores(work)) == 2
    check_model(tmp_path / "model", name)
    resolved = yaml.safe_load((work / "config.yaml").read_text())
    assert resolved.pop("stage") == "benchmark"
    assert load_config(BenchmarkConfig, resolved).run.batch == batch
    facts = json.loads((work / "runs.jsonl").read_text())
    assert facts["portions"]["accumulate"] == 2
    assert {"command", "commit", "torch", "vdit"} <= set(facts)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("vdit")])
def test_recipes_train_on_two_processes_as_on_one(trees, tmp_path, name):
    words = words_of(name, trees)
    start([*words, "-o", str(tmp_path / "two")], processes=2)
    assert main(["train", *words, "-o", str(tmp_path / "one")]) == 0
    one, two = (tmp_path / f"{n}-training" / name for n in ("one", "two"))
    assert losses(one) == pytest.approx(losses(two), rel=1e-4)
    assert scores(one) == pytest.approx(scores(two), abs=1e-3)
    check_model(tmp_path / "two", name)


@pytest.mark.slow
def test_two_processes_equal_accumulation(trees, tmp_path):
    words = words_of("vdit_ytvos", trees)
    words += ["run.epochs=null", "run.steps=20", "data.epoch_size=null", "validation.clips=1"]
    words += [
        "model.variant.dropout=0",
        "model.variant.noise_stats=clip",
        "validation.data.datasets=[]",
    ]
    states, logs = [], []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        start([*words, "-o", str(folder)], processes)
        work = tmp_path / f"{processes}-training" / "vdit_ytvos"
        portions = json.loads((work / "runs.jsonl").read_text())["portions"]
        assert (portions["world_size"], portions["accumulate"]) == (processes, 2 // processes)
        states.append(torch.load(work / CHECKPOINT, weights_only=True))
        logs.append(losses(work))
    assert len(logs[0]) == 20
    assert logs[0] == pytest.approx(logs[1], abs=1e-5)
    for name, value in states[0]["parameters"].items():
        assert torch.allclose(value, states[1]["parameters"][name], rtol=0, atol=1e-5), name
    moments = states[0]["optimizer"]["state"].values()
    assert all(moment["step"] == 20 for moment in moments)
    assert all(moment["exp_avg"].any() for moment in moments), "every parameter had a gradient"


@pytest.mark.slow
def test_stored_encodings_train_as_computed_ones(trees, tmp_path):
    root, cache = trees("ref-youtube-vos"), str(tmp_path / "cache")
    words = ["cache", "ref-youtube-vos", "--root", str(root), "--split", "train", "-o", cache]
    words += ["short_side=48", "long_side=640", "--model", "vdit-mini", "--multiple", "32"]
    assert main(words) == 0
    words = words_of("vdit_ytvos", trees)
    words += ["data.recipe.augmentation.color=null", "data.recipe.augmentation.flip_probability=0"]
    found = []
    for name, caches in (("direct", "[]"), ("cached", f"[{cache}]")):
        folder = tmp_path / name
        assert main(["train", *words, f"caches={caches}", "-o", str(folder)]) == 0
        found.append(losses(tmp_path / f"{name}-training" / "vdit_ytvos"))
    assert len(found[0]) == 4
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    words += [f"caches=[{cache}]", "data.recipe.augmentation.flip_probability=0.5"]
    assert main(["train", *words, "-o", str(tmp_path / "mirrored")]) == 2


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(trees, tmp_path):
    words = words_of("vdit_ytvos", trees)
    words += ["run.epochs=6", "data.epoch_size=4", "run.save_every=2", "validation.clips=1"]
    start([*words, "-o", str(tmp_path / "whole")])
    killed = [*words, "-o", str(tmp_path / "killed")]
    work = tmp_path / "killed-training" / "vdit_ytvos"
    with subprocess.Popen(
        command(killed), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if (work / METRICS).is_file() and len(losses_so_far(work)) >= 5:
                break
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    step = torch.load(work / CHECKPOINT, weights_only=True)["step"]
    assert 4 <= step < 12
    start([*killed, "--resume"])
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()
    assert losses(work) == losses(tmp_path / "whole-training" / "vdit_ytvos")
    assert len((work / "runs.jsonl").read_text().splitlines()) == 2


def losses_so_far(work):
    return [line for line in (work / METRICS).read_text().splitlines() if '"loss"' in line]
