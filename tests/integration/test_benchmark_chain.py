"""From a data set to its score: check, train two epochs, infer, pack and eval, for every recipe."""

import json
import subprocess
import sys

import pytest

from tests.vdit.small_recipes import RECIPES, ROOT, environment, start, words_of
from vdit.cli import main
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.evaluation.inference_config import read_inference_config
from vdit.evaluation.prediction_layouts import LABEL_DATASETS, MASK_DATASETS

CHAINS = {
    "vdit_ytvos": ("ref-youtube-vos", "ref-davis"),
    "vdit_pretrain_refcoco": ("refcoco",),
    "vdit_ytvos_finetune": ("ref-youtube-vos",),
    "vdit_a2d": ("a2d", "jhmdb"),
    "vdit_mevis": ("mevis",),
}
SPLITS = {"ref-youtube-vos": "train"}  # that has truth
WRITTEN = {"ref-davis": "val"}  # splits as the renderer calls them
PACKED = (*MASK_DATASETS, *LABEL_DATASETS)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Function: layout and split -> root of a rendered tree."""
    made = {}

    def make(layout, split="train"):
        if "a2d" == layout:
            pytest.importorskip("h5py")
        if (layout, split) not in made:
            root = tmp_path_factory.mktemp(layout)
            words = ["data", "render", "referring", "-o", str(root), "--layout", layout]
            words += ["--count", "2", "--frames", "6", "--height", "48", "--width", "64"]
            assert main([*words, "--split", split]) == 0
            made[layout, split] = root
        return made[layout, split]

    return make


def infer(words, processes):
    python = [sys.executable]
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    script = str(ROOT / "tools" / "inference.py")
    done = subprocess.run(
        [*python, script, *words], env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("recipe", CHAINS)
def test_a_recipe_goes_from_data_to_score(recipe, processes, tree, tmp_path, capsys):
    trained_on = RECIPES[recipe]
    assert main(["data", "check", trained_on, str(tree(trained_on)), "--split", "train"]) == 0
    model = str(tmp_path / "model")
    start([*words_of(recipe, tree), "-o", model], processes)
    for dataset in CHAINS[recipe]:
        split = SPLITS.get(dataset, read_inference_config(dataset).split)
        root = str(tree(dataset, WRITTEN.get(dataset, split)))
        assert split in REFERRING_DATASETS[dataset].splits
        out = str(tmp_path / dataset)
        place = ["--root", root, "--split", split]
        infer([dataset, "short_side=48", *place, "--model", model, "-o", out], processes)
        predicted = out
        if dataset in PACKED:
            predicted = str(tmp_path / f"{dataset}.zip")
            assert main(["pack", dataset, *place, "--predictions", out, "-o", predicted]) == 0
        capsys.readouterr()
        assert main(["eval", dataset, *place, "--predictions", predicted, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["num_missing"] == 0
        assert 0 <= report["metrics"]["J&F" if dataset in PACKED else "overall IoU"] <= 1
