"""Real frames and sentences as Ref-DAVIS17: read, checked, predicted."""

import importlib.util
import json
from pathlib import Path

import pytest

from vdit.cli import main
from vdit.datasets.ref_davis import read_ref_davis
from vdit.masks import read_mask_png

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "real_ref_davis.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("real_ref_davis", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.assets
def test_real_sequences_go_through_inference(script, assets, tmp_path, capsys):
    if not (assets / "davis").is_dir():
        pytest.skip("no sequences of DAVIS")
    root, out = tmp_path / "ref-davis", tmp_path / "out"
    sentences = script.build_tree(assets, root, ["blackswan", "libby"], num_frames=3)
    assert sentences["blackswan"] == "a black feathered swan"
    samples = read_ref_davis(root)
    assert len(samples) == 8
    assert samples.find("libby", "0").masks().any()
    words = ["infer", "ref-davis", "short_side=32", "--root", str(root), "-o", str(out)]
    assert main([*words, "--model", "vdit-mini-random", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"]
    for annotator in range(4):
        for name in sentences:
            pictures = sorted((out / f"anno_{annotator}" / name).iterdir())
            assert [path.name for path in pictures] == ["00000.png", "00001.png", "00002.png"]
            labels = read_mask_png(pictures[0])
            assert labels.shape == (480, 854)
            assert set(labels.flat) <= {0, 1}
