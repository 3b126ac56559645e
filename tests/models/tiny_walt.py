"""Tiny random WALTs: with prompts and without, of videos and of images."""

import torch

from tests.models.tiny_transformers import seeded
from vdit.models.backbones.walt import PromptedWaltBackbone, WaltBackbone
from vdit.models.backbones.walt_tokenizer import VideoTokenizer, VideoTokenizerConfig
from vdit.models.backbones.walt_transformer import Walt, WaltConfig

NETWORK = WaltConfig(
    width=16,
    depth=4,
    heads=2,
    latent_channels=4,
    frames=4,
    space_window=(4, 4),
    spacetime_window=(2, 2),
    text_dim=10,
    text_length=6,
)
TOKENIZER = VideoTokenizerConfig(channels=(4, 6, 8), res_blocks=1, latent_channels=4, stem=2)


def lively(module):
    """Random numbers in place of the zeros that a training starts from."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not parameter.any() or "modulation" in name or "bias." in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


def walt_network(config=NETWORK):
    return lively(Walt(config))


@seeded
def walt(temporal=True, text=True, joins_frames=True):
    config = NETWORK if temporal else NETWORK.as_image_model()
    if not text:
        config = WaltConfig(**{**vars(config), "text_dim": None, "num_classes": 3})
    tokenizer = VideoTokenizerConfig(**{**vars(TOKENIZER), "joins_frames": joins_frames})
    parts = walt_network(config), VideoTokenizer(tokenizer)
    if text:
        return PromptedWaltBackbone(*parts, torch.nn.Identity(), None)
    return WaltBackbone(*parts)


TINY = {
    "walt": walt,
    "walt-image": lambda: walt(temporal=False),
    "walt-classes": lambda: walt(text=False),
    "walt-frames": lambda: walt(text=False, joins_frames=False),
}
