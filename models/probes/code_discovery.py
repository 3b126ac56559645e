"""Object discovery by explaining the codes of an image autoencoder with slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.models.probes.slot_attention import SlotAttentionConfig
from vdit.models.probes.slot_decoder import SlotDecoder, SlotDecoderConfig
from vdit.models.probes.slots import SlotEncoder, SlotState
from vdit.models.probes.vector_quantizer import Quantized, VectorQuantizer, VectorQuantizerConfig


@dataclass(frozen=True)
class CodeDiscoveryConfig:
    """Sizes of the head.

    Attributes:
        channels: of the features.
        size: (h, w) of the grid that slots divide.
        num_recurrent_layers: of the recurrent network over time.
    """

    channels: int = 640
    size: tuple[int, int] = (32, 32)
    num_recurrent_layers: int = 2
    attention: SlotAttentionConfig = field(default_factory=SlotAttentionConfig)
    decoder: SlotDecoderConfig = field(default_factory=SlotDecoderConfig)
    quantizer: VectorQuantizerConfig = field(default_factory=VectorQuantizerConfig)

    def __post_init__(self) -> None:
        if self.quantizer.dim != self.attention.dim:
            raise ValueError(
                f"expected codes as wide as slots, got quantizer.dim={self.quantizer.dim} and "
                f"attention.dim={self.attention.dim}; set both to one number"
            )


class CodeDiscoveryOutput(NamedTuple):
    """What the head makes of a clip while it learns.

    Attributes:
        masks: [B, T, K, h, w] share of each cell that a slot has.
        slots: [B, T, K, D].
        decoded: [B, T, D, h, w] the codes that the slots alone predict.
        images: [B * T, 3, h * stride, w * stride] in -1..1, what the autoencoder saw.
        quantized: what it made of them.
        state: for the clip that follows in the same video.
    """

    masks: Tensor
    slots: Tensor
    decoded: Tensor
    images: Tensor
    quantized: Quantized
    state: SlotState


@dataclass(frozen=True)
class CodeLossWeights:
    """Weights of the terms of `code_discovery_losses`, by their names."""

    image: float = 1.0
    codebook: float = 1.0
    commitment: float = 1.0
    decoded: float = 1.0
    codes_to_slots: float = 1.0
    distinct_codes: float = 0.05


class CodeDiscovery(nn.Module):
    """Slots learn to predict, from the features of a clip, the quantized frames of that clip.

    Nobody tells objects apart for it: a slot that holds one object predicts its codes best.

    Args:
        config: sizes.

    Reference: Bao et al., Object Discovery from Motion-Guided Tokens, CVPR 2023, Sec. 3, with
    features of a frozen network and without motion, as on MOVi.
    """

    def __init__(self, config: CodeDiscoveryConfig) -> None:
        super().__init__()
        self.config = config
        h, w = config.size
        self.encoder = SlotEncoder(
            config.channels, config.size, config.num_recurrent_layers, config.attention
        )
        self.decoder = SlotDecoder(h * w, config.attention.dim, config.decoder)
        self.quantizer = VectorQuantizer(config.quantizer)

    def forward(
        self, features: Tensor, frames: Tensor, state: SlotState | None = None
    ) -> CodeDiscoveryOutput:
        """Find slots, and what they ought to predict.

        Args:
            features: [B, T, C, h', w']; brought to the grid bilinearly where h' or w' differ.
            frames: [B, T, 3, H, W] in 0..1; brought to the grid times the stride alike.
            state: of the clip before; None = a video begins.

        Raises:
            ValueError: features and frames do not fit the head or each other.
        """
        if frames.dim() != 5 or frames.shape[:3] != (*features.shape[:2], 3):
            raise ValueError(
                f"expected frames [{features.shape[0]}, {features.shape[1]}, 3, H, W] like the "
                f"features, got {list(frames.shape)}; pass the frames the features are of"
            )
        found, state = self.encoder(features, state)
        size = self.encoder.size
        images = self._images(frames)
        return CodeDiscoveryOutput(
            masks=found.masks.unflatten(-1, size),
            slots=found.slots,
            decoded=self.decoder(found.slots).transpose(2, 3).unflatten(-1, size),
            images=images,
            quantized=self.quantizer(images),
            state=state,
        )

    def segment(self, features: Tensor, state: SlotState | None = None) -> tuple[Tensor, SlotState]:
        """Compute only the masks [B, T, K, h, w], and the state; see `forward`."""
        found, state = self.encoder(features, state)
        return found.masks.unflatten(-1, self.encoder.size), state

    def _images(self, frames: Tensor) -> Tensor:
        stride = self.config.quantizer.stride
        size = [cells * stride for cells in self.encoder.size]
        images = frames.flatten(0, 1)
        if list(images.shape[-2:]) != size:
            images = F.interpolate(
                images, size=size, mode="bilinear", align_corners=False, antialias=True
            )
        return 2 * images - 1


def code_discovery_losses(output: CodeDiscoveryOutput, codebook: Tensor) -> dict[str, Tensor]:
    """Compute every term of the objective; each is a mean of squares.

    Args:
        output: of the head.
        codebook: [num_codes, D] the entries, `head.quantizer.codebook.entries`.

    Returns:
        "image": of the autoencoder's images. "codebook": codes come to the encoding. "commitment":
        the encoding comes to its codes. "decoded": what slots predict comes to the codes.
        "codes_to_slots": codes come to what slots predict. "distinct_codes": how far the softmax
        of the inner products of the entries is from the identity.

    Reference: van den Oord et al., NeurIPS 2017, Eq. 3; Bao et al., CVPR 2023, Sec. 3.3.
    """
    quantized, decoded = output.quantized, output.decoded.flatten(0, 1)
    codes = quantized.codes
    similarity = (codebook @ codebook.T).softmax(dim=1)
    identity = torch.eye(len(codebook), dtype=similarity.dtype, device=similarity.device)
    return {
        "image": F.mse_loss(quantized.reconstruction, output.images),
        "codebook": F.mse_loss(codes, quantized.encoding.detach()),
        "commitment": F.mse_loss(quantized.encoding, codes.detach()),
        "decoded": F.mse_loss(decoded, codes.detach()),
        "codes_to_slots": F.mse_loss(codes, decoded.detach()),
        "distinct_codes": F.mse_loss(similarity, identity),
    }


def weighted_sum(losses: dict[str, Tensor], weights: object) -> Tensor:
    """Sum losses, each times the attribute of `weights` that has its name."""
    return torch.stack([getattr(weights, name) * loss for name, loss in losses.items()]).sum()
