"""The trainable head of VD-IT: from feature maps and words to scores, boxes and masks.

Axes: B clips, T frames, Q queries, L words, D decoder layers; maps run fine to coarse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn import functional as F

from vdit.models.deformable_transformer import (
    DecoderStates,
    DeformableTransformer,
    Pyramid,
    TransformerConfig,
)
from vdit.models.fusion import QueryFusion, TextResizer
from vdit.models.mask_head import MLP, DynamicMaskHead, MaskDecoder, sum_levels
from vdit.models.position_encoding import sine_encoding_2d
from vdit.structures import LayerOutput


@dataclass(frozen=True)
class HeadConfig:
    """Sizes of the head; the defaults are VD-IT's.

    Attributes:
        channels: of the four input maps at strides 4, 8, 16, 32.
        text_dim: channels of the word features.
        num_queries: objects that can be told apart in a clip.
        mask_dim: channels of the mask maps; 16 = 4 x 4 pixels.
        word_dropout: of the word features while training.
    """

    channels: tuple[int, int, int, int] = (128, 256, 512, 1024)
    text_dim: int = 768
    num_queries: int = 5
    mask_dim: int = 16
    word_dropout: float = 0.1
    transformer: TransformerConfig = field(default_factory=TransformerConfig)


class ReferringHead(nn.Module):
    """Find, in every frame, the object that a sentence names.

    Args:
        config: sizes.

    Reference: Zhu et al., VD-IT, ECCV 2024, Sec. 3.4.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        dim, num_layers = config.transformer.dim, config.transformer.num_decoder_layers
        finest, fine, middle, coarse = config.channels
        self.text_resizer = TextResizer(config.text_dim, dim, config.word_dropout)
        self.query_fusion = QueryFusion(config.num_queries, dim, config.transformer.num_heads)
        self.query_position = nn.Embedding(config.num_queries, dim)
        self.input_projections = nn.ModuleList(
            [
                _projection(fine, dim, kernel=1),
                _projection(middle, dim, kernel=1),
                _projection(coarse, dim, kernel=1),
                _projection(coarse, dim, kernel=3),
            ]
        )
        self.transformer = DeformableTransformer(config.transformer)
        self.class_heads = nn.ModuleList(nn.Linear(dim, 1) for _ in range(num_layers))
        self.box_heads = nn.ModuleList(MLP([dim, dim, dim, 4]) for _ in range(num_layers))
        self.mask_head = DynamicMaskHead(dim, config.mask_dim)
        self.mask_decoder = MaskDecoder(config.mask_dim, fine, finest)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with rare objects (1 %) and boxes at their reference, the first of them small."""
        for head in self.class_heads:
            if isinstance(head, nn.Linear):
                nn.init.constant_(head.bias, -math.log(99))
        last_layers = [head.linears()[-1] for head in self.box_heads if isinstance(head, MLP)]
        for layer in last_layers:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(last_layers[0].bias[2:], -2.0)

    def forward(
        self,
        features: Sequence[Tensor],
        padding_mask: Tensor,
        sizes: Sequence[tuple[int, int]],
        words: Tensor,
        words_padding: Tensor,
        *,
        all_layers: bool = True,
    ) -> list[LayerOutput]:
        """Predict scores, boxes and mask maps of every query.

        Args:
            features: four maps [B, T, C, h, w] at strides 4, 8, 16, 32 of the padded frame.
            padding_mask: [B, H, W] bool, True = padded.
            sizes: (height, width) of each unpadded clip in pixels.
            words: [B, L, text_dim].
            words_padding: [B, L] bool, True = pad.
            all_layers: one output for each decoder layer, or for the last one only.
        """
        B, T = features[0].shape[:2]
        queries = self.query_fusion(self.text_resizer(words), words_padding)
        pyramid = self.pyramid([x.flatten(0, 1) for x in features[1:]], padding_mask, T)
        decoded = self.transformer(
            pyramid, queries.repeat_interleave(T, dim=0), self.query_position.weight, self.box_heads
        )
        mask_features = sum_levels(decoded.memory[:-1])
        frame_sizes = mask_features.new_tensor(sizes).repeat_interleave(T, dim=0)
        layers = range(len(self.class_heads)) if all_layers else [len(self.class_heads) - 1]
        outputs = [self._output(layer, decoded, mask_features, frame_sizes) for layer in layers]
        return [
            LayerOutput(*(x.unflatten(0, (B, T)) for x in (logits, boxes, maps)))
            for logits, boxes, maps in outputs
        ]

    def pyramid(self, features: Sequence[Tensor], padding_mask: Tensor, num_frames: int) -> Pyramid:
        """Project maps [B * T, C, h, w] at strides 8, 16, 32 and add stride 64."""
        maps = [
            project(x)
            for project, x in zip(self.input_projections, [*features, features[-1]], strict=True)
        ]
        masks, positions = [], []
        for x in maps:
            mask = F.interpolate(padding_mask[None].float(), size=x.shape[-2:])[0].bool()
            position = sine_encoding_2d(mask, x.shape[1]).to(x.dtype)
            masks.append(mask.repeat_interleave(num_frames, dim=0))
            positions.append(position.repeat_interleave(num_frames, dim=0))
        return self.transformer.flatten(maps, masks, positions)

    def _output(
        self, layer: int, decoded: DecoderStates, mask_features: Tensor, sizes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        states, boxes = decoded.states[layer], decoded.boxes[layer]
        logits = self.class_heads[layer](states).squeeze(-1)
        maps = self.mask_head(states, boxes[..., :2].detach(), mask_features, sizes)
        return logits, boxes, maps

    def refine(
        self,
        output: LayerOutput,
        features: Sequence[Tensor],
        clips: Tensor,
        queries: Tensor,
        frames: slice = slice(None),
    ) -> Tensor:
        """Sharpen the masks of K chosen (clip, query) pairs to full resolution.

        Args:
            output: predictions of one layer.
            features: the maps given to `forward`.
            clips: [K] clip index.
            queries: [K] query index.
            frames: which of the T frames.

        Returns:
            logits [K, T, H, W] of the padded frame.
        """
        maps = output.mask_maps[:, frames][clips, :, queries]
        finest, fine = features[0][clips, frames], features[1][clips, frames]
        logits = self.mask_decoder(*(x.flatten(0, 1) for x in (maps, fine, finest)))
        return logits.unflatten(0, maps.shape[:2])


def _projection(in_dim: int, dim: int, kernel: int) -> nn.Sequential:
    """Convolution (a 3x3 one halves the size) and group norm."""
    stride, padding = (1, 0) if kernel == 1 else (2, 1)
    conv = nn.Conv2d(in_dim, dim, kernel, stride=stride, padding=padding)
    nn.init.xavier_uniform_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.GroupNorm(32, dim))
