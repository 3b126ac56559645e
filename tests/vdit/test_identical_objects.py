"""The comparison on equal balls: what is chosen, what is scored, what missing weights look like."""

import json

import pytest

from vdit.config import load_config
from vdit.probing.results import read_rows
from vdit.study.identical_objects import IdenticalObjectsConfig, compare, page_of, write_answers

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
            "blocks": ["up2"],
            "timesteps": [0],
        },
    },
}


def config(**changes):
    return load_config(IdenticalObjectsConfig, SMALL | changes, [])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    output = tmp_path_factory.mktemp("identical")
    return output, compare(config(), output, output)


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
        json.loads((output / "clips" / split / "rendered.json").read_text())["clips"]
        for split in ("choose", "score")
    )
    assert first != second


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
    assert compare(config(), output, output) == answers
    assert results.stat().st_mtime_ns == before


def test_mistakes(done):
    output, _ = done
    with pytest.raises(ValueError, match=r"expected 2 clips of 4 frames of 64x64 in .*found 1"):
        compare(config(choose=2), output, output)
    with pytest.raises(ValueError, match="expected networks and clips, got 0 networks"):
        config(networks={})
    with pytest.raises(ValueError, match="expected blocks and timesteps of idle"):
        config(networks={"idle": {"source": {"backbone": "mini"}}})
