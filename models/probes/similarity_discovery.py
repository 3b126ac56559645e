"""Object discovery by predicting where every cell of a frame goes in the next one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.models.probes.slot_attention import SlotAttentionConfig
from vdit.models.probes.slot_mixer import SlotMixer, SlotMixerConfig
from vdit.models.probes.slots import SlotEncoder, SlotState, fit_to_grid


@dataclass(frozen=True)
class SimilarityDiscoveryConfig:
    """Sizes of the head and its target.

    Attributes:
        channels: of the features.
        size: (h, w) of the grid that slots divide.
        num_recurrent_layers: of the recurrent network over time.
        temperature: of the softmax over the cells of the next frame.
        predicts_features: slots predict the features of their frame as well.
    """

    channels: int = 640
    size: tuple[int, int] = (32, 32)
    num_recurrent_layers: int = 2
    temperature: float = 0.075
    predicts_features: bool = True
    attention: SlotAttentionConfig = field(
        default_factory=lambda: SlotAttentionConfig(dim=128, num_heads=4)
    )
    decoder: SlotMixerConfig = field(default_factory=SlotMixerConfig)

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"expected temperature > 0, got {self.temperature}; raise it")


class SimilarityDiscoveryOutput(NamedTuple):
    """What the head makes of a clip of T frames with N = h * w cells.

    Attributes:
        masks: [B, T, K, h, w] share of each cell that a slot has, as the decoder mixes them.
        slots: [B, T, K, D].
        similarity: [B, T, N, N] logits: which cell of the next frame a cell resembles.
        features: [B, T, N, C] of the frame; None where slots do not predict them.
        target: [B, T, N, C] the features on the grid.
        state: for the clip that follows in the same video.
    """

    masks: Tensor
    slots: Tensor
    similarity: Tensor
    features: Tensor | None
    target: Tensor
    state: SlotState


@dataclass(frozen=True)
class SimilarityLossWeights:
    """Weights of the terms of `similarity_discovery_losses`, by their names."""

    similarity: float = 0.1
    features: float = 1.0


class SimilarityDiscovery(nn.Module):
    """Slots learn to predict how the features of a frame resemble those of the next frame.

    What moves together resembles the same cells later, so a slot that holds one object predicts
    the motion of all of its cells. The rest of the head is that of `CodeDiscovery`; the frames
    themselves are not needed.

    Args:
        config: sizes.

    Reference: Zadaianchuk et al., VideoSAUR, NeurIPS 2023, Sec. 3.
    """

    def __init__(self, config: SimilarityDiscoveryConfig) -> None:
        super().__init__()
        self.config = config
        h, w = config.size
        self.encoder = SlotEncoder(
            config.channels, config.size, config.num_recurrent_layers, config.attention
        )
        out_dim = h * w + (config.channels if config.predicts_features else 0)
        self.decoder = SlotMixer(h * w, config.attention.dim, out_dim, config.decoder)

    def forward(
        self, features: Tensor, state: SlotState | None = None
    ) -> SimilarityDiscoveryOutput:
        """Find slots, and what they predict.

        Args:
            features: [B, T, C, h', w']; brought to the grid bilinearly where h' or w' differ.
            state: of the clip before; None = a video begins.

        Raises:
            ValueError: the features do not fit the head.
        """
        target = fit_to_grid(features, self.config.channels, self.encoder.size)
        found, state = self.encoder(target, state)
        drawn, masks = self.decoder(found.slots.flatten(0, 1))
        drawn = drawn.unflatten(0, target.shape[:2])
        num_cells = masks.shape[-1]
        return SimilarityDiscoveryOutput(
            masks=masks.unflatten(0, target.shape[:2]).unflatten(-1, self.encoder.size),
            slots=found.slots,
            similarity=drawn[..., :num_cells],
            features=drawn[..., num_cells:] if self.config.predicts_features else None,
            target=target.flatten(3).transpose(2, 3),
            state=state,
        )

    def segment(self, features: Tensor, state: SlotState | None = None) -> tuple[Tensor, SlotState]:
        """Compute only the masks [B, T, K, h, w], and the state; see `forward`."""
        found, state = self.encoder(features, state)
        masks = self.decoder.masks(found.slots.flatten(0, 1))
        return masks.unflatten(0, found.slots.shape[:2]).unflatten(-1, self.encoder.size), state


@torch.no_grad()
def temporal_similarity(features: Tensor, temperature: float) -> Tensor:
    """Spread every cell over the cells of the next frame that its features resemble.

    Cosine similarities, softmax; cells with a negative similarity take no part, unless all have
    one, in which case all take the same part.

    Args:
        features: [B, T, N, C].
        temperature: of the softmax.

    Returns:
        [B, T - 1, N, N], each row sums to 1.

    Reference: Zadaianchuk et al., VideoSAUR, NeurIPS 2023, Eq. 1-2.
    """
    unit = F.normalize(features.float(), dim=-1)
    similarity = unit[:, :-1] @ unit[:, 1:].transpose(2, 3)
    is_unlike = similarity < 0
    is_alone = is_unlike.all(dim=-1, keepdim=True)
    logits = (similarity / temperature).masked_fill(is_unlike, -torch.inf)
    return logits.masked_fill(is_alone, 0.0).softmax(dim=-1)


def similarity_discovery_losses(
    output: SimilarityDiscoveryOutput, temperature: float
) -> dict[str, Tensor]:
    """Compute every term of the objective.

    Args:
        output: of the head, on two frames or more.
        temperature: of the target, `head.config.temperature`.

    Returns:
        "similarity": cross-entropy, in nats a cell, with where cells go in the next frame; the
        last frame has no next one. "features", where slots predict them: mean of squares.

    Raises:
        ValueError: the clip has a single frame.
    """
    num_frames = output.target.shape[1]
    if num_frames < 2:
        raise ValueError(f"expected 2 frames or more, got {num_frames}; use longer clips")
    target = temporal_similarity(output.target, temperature)
    predicted = output.similarity[:, :-1].log_softmax(dim=-1)
    losses = {"similarity": -(target * predicted).sum(dim=-1).mean()}
    if output.features is not None:
        losses["features"] = F.mse_loss(output.features, output.target.detach())
    return losses
