"""The comparison on equal balls: what is chosen, what is scored, what missing weights look like."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from vdit.backbone_loading.random_weights import random_backbone
from vdit.config import load_config
from vdit.probing.results import read_rows
from vdit.stages.diffusion import DiffusionConfig
from vdit.study.identical_objects import IdenticalObjectsConfig, compare, page_of, write_answers

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "configs" / "study" / "identical_objects.yaml"
MINI = ROOT / "configs" / "mini"
TOOL = ROOT / "tools" / "identical_objects.py"

SMALL = {
    "choose": 1,
    "score": 1,
    "frames": 4,
    "side": 64,
    "propagation": {"num_context": 3, "radius": 6, "topk": 5, "temperature": 0.1, "enlarge": 2},
    "networks": {
        "together": {
            "source": {"backbone": "mini", "random_weights": 0, "clip_length": 4},
            "blocks": ["up2", "in"],
            "timesteps": [0, 18],
        },
        "absent": {
            "source": {"backbone": "mini", "path": "nothing-here"},
            "weights": "unet/weights",
            "blocks": ["up2"],
            "timesteps": [0],
        },
    },
}


def read_stage(path):
    content = yaml.safe_load(path.read_text())
    assert content.pop("stage") == "diffusion"
    return content


def config(**changes):
    return load_config(IdenticalObjectsConfig, SMALL | changes, [])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    output = tmp_path_factory.mktemp("identical")
    return output, list(compare(config(), output, output))


def test_the_place_is_chosen_on_clips_of_its_own(done):
    output, (answer, _) = done
    tried = read_rows(output / "choose" / "results.jsonl")
    assert len(tried) == 4
    best = max(tried, key=lambda row: row["metrics"]["J_m"])
    source = best["config"]["sources"]["video"]
    assert answer.chosen == (source["block"], source["timestep"])
    assert answer.chosen_on == best["metrics"]["J_m"]
    (scored,) = read_rows(output / "score" / "results.jsonl")
    assert scored["metrics"] == answer.metrics
    (first,), (second,) = (
        json.loads((output / "clips" / split / "rendered.json").read_text())["clips"].values()
        for split in ("choose", "score")
    )
    assert first["objects"] != second["objects"]


def test_missing_weights_are_said_to_be_missing(done):
    output, answers = done
    assert answers[1].chosen is None
    page = page_of(config(), answers)
    assert "| absent | no weights | - | - | - | - |" in page
    assert f"| together | {answers[0].chosen[0]}, {answers[0].chosen[1]:g} |" in page
    files = write_answers(config(), answers, output)
    assert files[0].read_text() == page + "\n"
    content = json.loads(files[1].read_text())
    assert [each["chosen"] is None for each in content["networks"]] == [False, True]
    assert content["commit"]


def test_what_is_done_is_kept(done):
    output, answers = done
    results = output / "choose" / "results.jsonl"
    before = results.stat().st_mtime_ns
    assert list(compare(config(), output, output)) == answers
    assert results.stat().st_mtime_ns == before


def test_mistakes(done):
    output, _ = done
    with pytest.raises(ValueError, match=r"expected 2 clips of 4 frames of 64x64 in .*found 1"):
        list(compare(config(choose=2), output, output))
    with pytest.raises(ValueError, match=r"expected a folder of checkpoints, got .*nowhere"):
        list(compare(config(), output / "nowhere", output))
    with pytest.raises(ValueError, match="expected networks and clips, got 0 networks"):
        config(networks={})
    with pytest.raises(ValueError, match="expected weights of idle where it has a path"):
        config(networks={"idle": SMALL["networks"]["together"] | {"weights": "unet"}})
    with pytest.raises(ValueError, match="expected blocks and timesteps of idle"):
        config(networks={"idle": {"source": {"backbone": "mini"}}})


def test_results_of_other_weights_are_refused(done, tmp_path):
    output, _ = done
    weights = tmp_path / "net" / "unet"
    weights.parent.mkdir()
    place = {"backbone": "mini", "path": "net"}
    networks = {"net": SMALL["networks"]["absent"] | {"source": place, "weights": "unet"}}
    shutil.copytree(output / "clips", tmp_path / "out" / "clips")
    weights.write_bytes(b"these")
    with pytest.raises(ValueError, match="net"):  # no such network can be loaded
        list(compare(config(networks=networks), tmp_path, tmp_path / "out"))
    weights.write_bytes(b"those")
    with pytest.raises(ValueError, match=r"expected in .* the weights that the results of net in"):
        list(compare(config(networks=networks), tmp_path, tmp_path / "out"))


def test_the_shipped_comparison_fits_the_networks():
    shipped = load_config(IdenticalObjectsConfig, SHIPPED, [])
    blocks = {"mini": random_backbone("mini").blocks, "walt": {f"block{k}" for k in range(1, 13)}}
    for each in shipped.networks.values():
        assert set(each.blocks) <= set(blocks[each.source.backbone])
    shipped.propagation.settings()


def test_the_image_unet_differs_in_time_alone():
    still, moving = (
        load_config(DiffusionConfig, read_stage(MINI / f"7_{name}.yaml"), [])
        for name in ("still", "diffusion")
    )
    assert still.run == moving.run
    assert still.data == moving.data
    assert (still.images, still.images * still.single) == (1.0, moving.images * moving.single)


def test_one_command_writes_the_page(done, tmp_path, monkeypatch, capsys):
    output, answers = done
    (tmp_path / "config.yaml").write_text(json.dumps(SMALL))
    words = [str(output), "-o", str(output), "--config", str(tmp_path / "config.yaml")]
    monkeypatch.setattr(sys, "argv", ["identical_objects.py", *words])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stopped.value.code == 0
    assert page_of(config(), answers) in capsys.readouterr().out
