"""Open-Sora 1.2 from the released files: one of STDiT3, one of the video VAE."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from huggingface_hub import hf_hub_download
from torch import Tensor

from vdit.backbone_loading.weight_files import load_network, read_weights
from vdit.models.backbones.latents import Posterior
from vdit.models.backbones.open_sora import OpenSoraBackbone
from vdit.models.backbones.open_sora_vae import OpenSoraVideoEncoder
from vdit.models.backbones.stdit3 import RotaryFrequencies, STDiT3, STDiT3Config
from vdit.network_loading import reading

SOURCES: dict[str, str] = {"open-sora-1.2": "hpcai-tech/OpenSora-STDiT-v3"}
VAE_SOURCE = "hpcai-tech/OpenSora-VAE-v1.2"
FILE = "model.safetensors"
IMAGE_VAE = {  # of SDXL
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
DECODER = ("temporal_vae.decoder.", "temporal_vae.post_quant_conv.")


def load(
    place: str,
    dtype: torch.dtype,
    *,
    vae: str = VAE_SOURCE,
    fps: float = 24.0,
    temporal_layers: bool = True,
    posterior: Posterior = "sample",
) -> OpenSoraBackbone:
    """Load STDiT3 and the video encoder (kept in float32).

    Args:
        place: folder with `model.safetensors` of STDiT3, or hub id.
        dtype: of STDiT3.
        vae: folder with `model.safetensors` of the video VAE, or hub id.
        fps: see `OpenSoraBackbone`.
        temporal_layers: see `STDiT3`.
        posterior: see `OpenSoraBackbone`.

    Raises:
        ValueError: a file cannot be read, or its names or shapes are others.
    """
    network = reading("STDiT3", place, lambda: load_stdit3(place, dtype, temporal_layers))
    encoder = reading("the video VAE", vae, lambda: load_video_encoder(vae))
    return OpenSoraBackbone(network, encoder, fps, posterior)


def load_stdit3(place: str, dtype: torch.dtype, temporal_layers: bool = True) -> STDiT3:
    """Read STDiT3 of any size; the shapes of its weights tell the sizes."""
    weights = _read(place)
    width, in_channels = weights["x_embedder.proj.weight"].shape[:2]
    head = len(weights["spatial_blocks.0.attn.q_norm.weight"])
    text_length, text_dim = weights["y_embedder.y_embedding"].shape
    config = STDiT3Config(
        hidden_size=width,
        depth=_count(weights, "spatial_blocks."),
        num_heads=width // head,
        in_channels=in_channels,
        text_dim=text_dim,
        text_length=text_length,
    )
    weights = {"rope.freqs": RotaryFrequencies(head).freqs} | weights  # not in every version
    return load_network(partial(STDiT3, config, temporal_layers), weights, place, dtype)


def load_video_encoder(place: str) -> OpenSoraVideoEncoder:
    """Read the video encoder and leave its decoder out."""
    weights = {
        name: tensor for name, tensor in _read(place).items() if not name.startswith(DECODER)
    }
    encoder = "temporal_vae.encoder."
    filters = len(weights[encoder + "conv_in.conv.weight"])
    num_res_blocks = _count(weights, encoder + "res_blocks.")

    def build() -> OpenSoraVideoEncoder:
        return OpenSoraVideoEncoder(AutoencoderKL(**IMAGE_VAE), filters, num_res_blocks)

    return load_network(build, weights, place, torch.float32)


def _read(place: str) -> dict[str, Tensor]:
    folder = Path(place)
    return read_weights(folder / FILE if folder.is_dir() else hf_hub_download(place, FILE))


def _count(weights: dict[str, Tensor], prefix: str) -> int:
    """Count the entries of a list of modules."""
    names = [name.removeprefix(prefix) for name in weights if name.startswith(prefix)]
    return len({name.split(".")[0] for name in names})
