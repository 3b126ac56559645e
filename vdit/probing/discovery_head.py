"""The heads of object discovery: their sizes in one place, and how they run over whole videos."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from vdit.models.probes.cluster_discovery import ClusterDiscovery, ClusterDiscoveryConfig
from vdit.models.probes.code_discovery import CodeDiscovery, CodeDiscoveryConfig, CodeLossWeights
from vdit.models.probes.similarity_discovery import (
    SimilarityDiscovery,
    SimilarityDiscoveryConfig,
    SimilarityLossWeights,
)
from vdit.models.probes.slot_attention import SlotAttentionConfig
from vdit.models.probes.slot_decoder import SlotDecoderConfig
from vdit.models.probes.slot_mixer import SlotMixerConfig
from vdit.models.probes.vector_quantizer import VectorQuantizerConfig


@dataclass(frozen=True)
class DiscoveryHead:
    """What finds objects in features.

    Attributes:
        kind: "codes" predicts the quantized frames, "similarity" where cells go in the next frame,
            "clusters" the features of the cells that a slot won, for which `initial_slots`
            had better be trained.
        grid: (h, w) that slots divide and scores are computed on.
        num_recurrent_layers: over time, before the slots.
        attention: sizes of the slot attention, K among them.
        decoder: of "codes".
        quantizer: of "codes"; frames are seen at the grid times its stride.
        code_weights: of the loss terms of "codes".
        mixer: decoder of "similarity".
        temperature: of the target of "similarity".
        predicts_features: "similarity" predicts the features of the frame too.
        similarity_weights: of the loss terms of "similarity".
        place_weight: of "clusters", in deviations of all channels; 0 = features alone.
        hidden_dim: of "clusters", between a slot and its point.
        chunk: frames that the head sees at once in a test.
    """

    kind: Literal["codes", "similarity", "clusters"] = "codes"
    grid: tuple[int, int] = (32, 32)
    num_recurrent_layers: int = 2
    attention: SlotAttentionConfig = field(default_factory=SlotAttentionConfig)
    decoder: SlotDecoderConfig = field(default_factory=SlotDecoderConfig)
    quantizer: VectorQuantizerConfig = field(default_factory=VectorQuantizerConfig)
    code_weights: CodeLossWeights = field(default_factory=CodeLossWeights)
    mixer: SlotMixerConfig = field(default_factory=SlotMixerConfig)
    temperature: float = 0.075
    predicts_features: bool = True
    similarity_weights: SimilarityLossWeights = field(default_factory=SimilarityLossWeights)
    place_weight: float = 2.0
    hidden_dim: int = 128
    chunk: int = 6

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"expected head.chunk >= 1, got {self.chunk}")

    def build(self, channels: int) -> CodeDiscovery | SimilarityDiscovery | ClusterDiscovery:
        """Make the head of this kind for features of so many channels."""
        if self.kind == "codes":
            return CodeDiscovery(
                CodeDiscoveryConfig(
                    channels,
                    self.grid,
                    self.num_recurrent_layers,
                    self.attention,
                    self.decoder,
                    self.quantizer,
                )
            )
        if self.kind == "clusters":
            return ClusterDiscovery(
                ClusterDiscoveryConfig(
                    channels,
                    self.grid,
                    self.num_recurrent_layers,
                    self.place_weight,
                    self.hidden_dim,
                    self.attention,
                )
            )
        return SimilarityDiscovery(
            SimilarityDiscoveryConfig(
                channels,
                self.grid,
                self.num_recurrent_layers,
                self.temperature,
                self.predicts_features,
                self.attention,
                self.mixer,
            )
        )


@torch.no_grad()
def segment_video(head: nn.Module, features: Tensor, chunk: int) -> Tensor:
    """Say which slot has each cell, with slots that are carried from chunk to chunk.

    Args:
        head: what `DiscoveryHead.build` gives.
        features: [B, T, C, h', w'] of whole videos.
        chunk: frames at once; the result does not depend on it.

    Returns:
        [B, T, h, w] uint8.
    """
    state, found = None, []
    for part in features.split(chunk, dim=1):
        masks, state = head.segment(part, state)  # type: ignore[operator]
        found.append(masks.argmax(dim=2).to(torch.uint8))
    return torch.cat(found, dim=1)
