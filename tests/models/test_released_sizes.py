"""Real configurations have the names and shapes of the released files, to the byte of their size.

A safetensors file is 8 bytes, a JSON header of names, types, shapes and offsets, and the numbers.
Its published size, which a pointer of Git LFS tells, leaves no room for another shape or
a longer name: headers are filled up to a multiple of 8.
"""

import json
import re

import pytest

from vdit.backbone_loading.random_weights import random_backbone

OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Names of attention in the files of the VAEs, which the library translates."""


def file_size(shapes):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(shapes):
        start, end = end, end + 4 * shapes[name].numel()
        header[name] = {
            "dtype": "F32",
            "shape": list(shapes[name]),
            "data_offsets": [start, end],
        }
    return 8 + len(json.dumps(header, separators=(",", ":"))) + end


def published_size(file):
    text = file.read_text()
    assert text.startswith("version https://git-lfs"), "expected a pointer of Git LFS"
    return int(re.search(r"^size (\d+)$", text, re.M)[1])


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "folder"),
    [("modelscope", "ms-1.7b"), ("sd-2.1", "sd2.1"), ("sd-2.1-base", "sd2.1-base")],
)
def test_files_have_the_published_size(assets, name, folder):
    backbone = random_backbone(name, device="meta")
    for part in ("unet", "vae"):
        network = getattr(backbone, part)
        shapes = {key: value.shape for key, value in network.state_dict().items()}
        if part == "vae":
            for new, old in OLD_ATTENTION.items():
                shapes = {key.replace(f".{new}.", f".{old}."): each for key, each in shapes.items()}
        file = assets / "configs" / folder / part / "diffusion_pytorch_model.safetensors"
        padding = published_size(file) - file_size(shapes)
        assert padding in range(8), (part, padding)
