"""ADM from the checkpoints that its authors published."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from vdit.backbone_loading.weight_files import load_network, read_weights
from vdit.models.backbones.adm import AdmBackbone
from vdit.models.backbones.adm_unet import ADM_256, ADM_512, AdmConfig, AdmUNet

PUBLISHED = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021"
SOURCES = {
    "adm-256": f"{PUBLISHED}/256x256_diffusion_uncond.pt",
    "adm-512": f"{PUBLISHED}/512x512_diffusion.pt",
}
"""Short name -> where the weights are published."""

ENTRY = "input_blocks.0.0.weight"
LABELS = "label_emb.weight"


def load(
    place: str,
    dtype: torch.dtype,
    *,
    label: int | None = None,
    frames_per_pass: int = 1,
    config: AdmConfig | None = None,
) -> AdmBackbone:
    """Load ADM from a local file or a folder with one.

    Args:
        place: .pt, .pth or .safetensors with the names of the published checkpoints.
        dtype: of weights and features.
        label: class that a class-conditional network is told, see `AdmBackbone`.
        frames_per_pass: frames that go through the network at once.
        config: sizes; None = those of the published 256 or 512 network, told apart by the file.

    Raises:
        ValueError: the file cannot be read, is no ADM network of these sizes, or the network does
            not know the label.
    """
    tensors = read_weights(place)
    if config is None:
        entry = tensors.get(ENTRY)
        known = {each.widths[0]: each for each in (ADM_256, ADM_512)}
        if entry is None or entry.shape[0] not in known:
            raise ValueError(
                f"expected the 256 or 512 network of ADM in {place}, but {ENTRY} does not fit; "
                f"pass a file of {PUBLISHED}"
            )
        num_classes = len(tensors[LABELS]) if LABELS in tensors else None
        config = replace(known[entry.shape[0]], num_classes=num_classes)
    unet = load_network(partial(AdmUNet, config), tensors, place, dtype)
    return AdmBackbone(unet, label, frames_per_pass)
