"""The recipes of configs/vdit made small enough to run in seconds, in this process or in others."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "vdit"
SMALL = [
    "model.source=mini",
    "run.workers=0",
    "run.device=cpu",
    "run.log_every=1",
    "data.recipe.num_frames=2",
    "data.recipe.augmentation.short_sides=[48]",
    "data.recipe.augmentation.crop_probability=0",
]
PICTURES = [
    "data.recipe.num_frames=1",
    "data.recipe.picture_augmentation.short_sides=[48]",
    "data.recipe.picture_augmentation.crop_probability=0",
]
RECIPES = {
    "vdit_ytvos": "ref-youtube-vos",
    "vdit_pretrain_refcoco": "refcoco",
    "vdit_ytvos_finetune": "ref-youtube-vos",
    "vdit_a2d": "a2d",
    "vdit_mevis": "mevis",
    "ablation_vd_i": "ref-youtube-vos",
    "ablation_vd_t": "ref-youtube-vos",
    "ablation_vd_it": "ref-youtube-vos",
    "ablation_noise_gaussian": "ref-youtube-vos",
    "ablation_noise_none": "ref-youtube-vos",
}


def words_of(name, trees):
    """Overrides that make a recipe small."""
    layout = RECIPES[name]
    kind = f"[{{name: {layout}, root: {trees(layout)}, split: train}}]"
    words = [str(CONFIGS / f"{name}.yaml"), *SMALL, f"data.datasets={kind}", "data.epoch_size=3"]
    words += [
        f"validation.data.datasets={kind}",
        "validation.clips=2",
        "validation.data.recipe.short_side=48",
    ]
    if name == "vdit_pretrain_refcoco":
        words += PICTURES
    if name in ("vdit_ytvos_finetune", "vdit_a2d"):
        words.append("model.pretrained=vdit-mini")
    return [*words, "run.epochs=2", "run.drops=[1]"]


def environment():
    inherited = os.environ.get("PYTHONPATH", "")
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{inherited}"}


def command(words, processes=1):
    python = [sys.executable]
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*python, str(ROOT / "tools" / "train.py"), *words]


def start(words, processes=1):
    done = subprocess.run(
        command(words, processes), env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done
