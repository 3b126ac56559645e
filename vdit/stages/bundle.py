"""A trained model folder at half precision, to be carried by the package."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file

from vdit.atomic import replace_folder_when_complete
from vdit.model_spec import CONFIG_FILE, WEIGHTS_FILE, local_parts, read_spec, write_spec
from vdit.network_loading import load_part
from vdit.stages.parts import save_weights

KEPT = ("README.md", "scores.json")
"""Files of the older bundle that are not made from the model folder."""


def bundle(folder: Path, target: Path) -> int:
    """Write the networks, tokenizers and trained weights of a model folder in float16.

    Args:
        folder: what the stages of training filled.
        target: replaced when the new one is complete; its model card stays.

    Returns:
        Bytes of all files.

    Raises:
        ValueError: a part is missing or damaged, or the folder is no model.
    """
    spec = read_spec(folder)
    with replace_folder_when_complete(target) as temporary:
        for name, source in asdict(local_parts()).items():
            part = load_part(name, source, folder, torch.float16)
            part.save_pretrained(temporary / name)
            _forget_folder(temporary / name / CONFIG_FILE)
        weights = load_file(folder / WEIGHTS_FILE)
        save_weights({k: v.half() for k, v in weights.items()}, temporary / WEIGHTS_FILE)
        write_spec(spec, temporary)
        for name in KEPT:
            if (target / name).is_file():
                shutil.copy(target / name, temporary / name)
    return sum(file.stat().st_size for file in target.rglob("*") if file.is_file())


def _forget_folder(config: Path) -> None:
    """Drop where a network was loaded from, which its library notes."""
    if config.is_file():
        content = json.loads(config.read_text())
        content.pop("_name_or_path", None)
        config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
