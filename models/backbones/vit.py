"""Vision transformers of transformers, frame by frame: DINOv2, ViT and their like."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from vdit.models.backbones.frame_backbone import FrameBackbone
from vdit.models.backbones.vision_encoder import RGB, resize_to_multiple, transformer_blocks
from vdit.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD


class VitBackbone(FrameBackbone):
    """Patch features of a plain vision transformer; frames do not see each other.

    Blocks: "block1".."blockN" (the residual stream after each layer) and "last" (after the final
    norm). Class and register tokens are dropped. Frames are resized to the nearest multiples of
    the patch size, and features stay on the grid of the patches.

    Args:
        network: transformers Dinov2Model, Dinov2WithRegistersModel, ViTModel or a class of that
            structure: `embeddings`, layers, `layernorm`.
        mean: of R, G, B in 0..1, as the network was trained.
        std: likewise.
        frames_per_pass: frames that the network takes at once; bounds memory.

    Reference: Oquab et al., DINOv2, TMLR 2024; Darcet et al., Vision Transformers Need Registers,
    ICLR 2024.
    """

    def __init__(
        self,
        network: Any,
        mean: RGB = IMAGENET_MEAN,
        std: RGB = IMAGENET_STD,
        frames_per_pass: int = 8,
    ) -> None:
        super().__init__(mean, std, frames_per_pass)
        self.network = network
        config = network.config
        self.patch_size: int = config.patch_size
        self.blocks = transformer_blocks(
            config.num_hidden_layers, config.hidden_size, self.patch_size
        )
        self.idle = (".mask_token",)  # of the pre-training
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`."""
        modules = [self.network.embeddings, *_layers(self.network), self.network.layernorm]
        return {name: [each] for name, each in zip(["in", *self.blocks], modules, strict=True)}

    def resize(self, frames: Tensor) -> Tensor:
        return resize_to_multiple(frames, self.patch_size)

    def walk(self, frames: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `FrameBackbone.walk`; the patches are the last tokens of every class."""
        h, w = (side // self.patch_size for side in frames.shape[-2:])

        def fold(tokens: Tensor) -> Tensor:
            """Tokens [N, prefix + h * w, C] -> [N, C, h, w]; the prefix is dropped."""
            return tokens[:, -h * w :].transpose(1, 2).unflatten(2, (h, w))

        hidden = _embed(self.network.embeddings, frames)
        for index, layer in enumerate(_layers(self.network)):
            hidden = self.run(layer, hidden)
            yield f"block{index + 1}", fold(hidden)
        yield "last", fold(self.network.layernorm(hidden))


def _embed(embeddings: Any, frames: Tensor) -> Tensor:
    """Make tokens; some classes fit their positions to the size of a frame only when told."""
    if "interpolate_pos_encoding" in inspect.signature(embeddings.forward).parameters:
        return embeddings(frames, interpolate_pos_encoding=True)
    return embeddings(frames)


def _layers(network: Any) -> Any:
    """Find the layers: some classes keep them in an encoder of their own."""
    return network.encoder.layer if hasattr(network, "encoder") else network.layers
