"""VD-IT: features of a frozen text-to-video diffusion model, and a head that segments with them.

Axes: B clips, T frames, Q queries, K chosen (clip, query) pairs, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from vdit.models.backbones.base import Encoded, Noise, StartedPass, TextToVideoBackbone
from vdit.models.conditioning import NoisePredictor, NoiseStatistics, TextGuidedImageProjection
from vdit.models.referring_head import HeadConfig, ReferringHead
from vdit.models.text_encoder import RobertaTextEncoder
from vdit.structures import LayerOutput, Match, VideoBatch

Condition = Literal["image", "text", "image+text"]
NoiseKind = Literal["predicted", "gaussian", "none"]
Compat = Literal["released", "improved"]
SelectQueries = Callable[[list[LayerOutput]], list[Match]]

TAPS = (("vae4",), ("in", "up2"), ("down0", "up1"), ("down1", "up0"))
"""Blocks that are joined, shallow first, into the maps at strides 4, 8, 16, 32."""


@dataclass(frozen=True)
class VDITConfig:
    """What varies between the model's variants.

    Attributes:
        condition: prompt of the UNet: words that looked at the image ("image+text", VD-IT), words
            ("text", VD-T) or projected image tokens ("image", VD-I).
        noise: what is added to the latents.
        timestep: of the schedule, at which noise is added and features are read; 0 in VD-IT.
        noise_statistics: what the predicted noise is normalized over; None = as `compat` says.
        compat: "released" computes what the released code does; "improved" repairs what
            `docs/deviations.md` lists.
        image_dim: channels of the image tokens.
        head: sizes of the head.
    """

    condition: Condition = "image+text"
    noise: NoiseKind = "predicted"
    timestep: int = 0
    noise_statistics: NoiseStatistics | None = None
    compat: Compat = "released"
    image_dim: int = 1280
    prompt_heads: int = 16
    head: HeadConfig = field(default_factory=HeadConfig)


@dataclass
class Sentences:
    """What the two text towers made of B captions.

    Attributes:
        prompt: [B, L, C] states for the UNet.
        words: [B, L', C'] features for the head.
        words_padding: [B, L'] bool, True = pad.
    """

    prompt: Tensor
    words: Tensor
    words_padding: Tensor


@dataclass
class SharedWork:
    """What all sentences about B clips share, up to where the UNet meets a prompt.

    Attributes:
        started: the UNet's pass.
        finest: [B, T', C, h, w] float32, the map at stride 4, which no sentence reaches.
        frames: indices of the T' frames to keep, as `VDIT.features`; None = all.
    """

    started: StartedPass
    finest: Tensor
    frames: Tensor | None


@dataclass
class VDITOutput:
    """Predictions; one entry a decoder layer while training, of the last layer otherwise.

    Attributes:
        layers: scores, boxes and mask maps of every query.
        matches: the pairs that were refined.
        mask_logits: [K, T, H, W] of those pairs, at the padded size.
    """

    layers: list[LayerOutput]
    matches: list[Match]
    mask_logits: list[Tensor]


def best_query(layers: list[LayerOutput]) -> list[Match]:
    """Choose, for each clip, the query with the highest score averaged over frames."""
    matches = []
    for layer in layers:
        queries = layer.class_logits.sigmoid().mean(dim=1).argmax(dim=1)
        clips = torch.arange(len(queries), device=queries.device)
        matches.append(Match(clips, queries, torch.zeros_like(clips)))
    return matches


def all_queries(layers: list[LayerOutput]) -> list[Match]:
    """Choose every query of every clip, clip-major."""
    matches = []
    for layer in layers:
        B, _, Q = layer.class_logits.shape
        index = torch.arange(B * Q, device=layer.class_logits.device)
        matches.append(Match(index // Q, index % Q, index % Q))
    return matches


class VDIT(nn.Module):
    """Referring video object segmentation on diffusion features.

    Args:
        config: variant and sizes.
        backbone: gives the blocks of `TAPS`; a text-to-video UNet with an image tower.
        text_encoder: words for the head.

    Reference: Zhu et al., Exploring Pre-trained Text-to-Video Diffusion Models for Referring Video
    Object Segmentation, ECCV 2024.
    """

    def __init__(
        self, config: VDITConfig, backbone: TextToVideoBackbone, text_encoder: RobertaTextEncoder
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.text_encoder = text_encoder
        self.image_prompt = TextGuidedImageProjection(
            backbone.text_dim, config.image_dim, config.prompt_heads
        )
        statistics = config.noise_statistics or ("batch" if config.compat == "released" else "clip")
        self.noise_predictor = NoisePredictor(backbone.latent_channels, statistics)
        widths = [sum(backbone.blocks[block].channels for block in taps) for taps in TAPS]
        self.adapters = build_adapters(widths, config.head.channels)
        self.head = ReferringHead(config.head)

    def idle_parameters(self) -> set[str]:
        """Name the parameters of the model's own that its variant never uses."""
        used = {"image+text": "image_prompt.", "image": "image_prompt.image_projection."}
        prompt = used.get(self.config.condition, "no prompt")
        return {
            name
            for name, _ in self.named_parameters()
            if (name.startswith("image_prompt.") and not name.startswith(prompt))
            or (name.startswith("noise_predictor.") and self.config.noise != "predicted")
        }

    def encode(self, video: Tensor) -> Encoded:
        """Compute what all sentences share; video [B, T, 3, H, W] in 0..1."""
        return self.backbone.encode(video)

    def encode_captions(self, captions: Sequence[str]) -> Sentences:
        """Run both text towers; blank space is folded where the preset says so."""
        if self.config.compat == "improved":
            captions = [" ".join(caption.lower().split()) for caption in captions]
        words, padding = self.text_encoder(captions)
        return Sentences(self.backbone.encode_text(captions), words, padding)

    def prompt(self, sentences: Sentences, encoded: Encoded) -> Tensor:
        """Compute the UNet's prompt of every frame: [B, L, C] or [B, T, L, C]."""
        if self.config.condition == "text":
            return sentences.prompt
        tokens = encoded.image_tokens
        if tokens is None:
            raise ValueError("expected a backbone with an image tower for condition 'image'")
        if self.config.condition == "image":
            return self.image_prompt.project(tokens.float())
        B, T = tokens.shape[:2]
        text = sentences.prompt.float().repeat_interleave(T, dim=0)
        return self.image_prompt(text, tokens.flatten(0, 1).float()).unflatten(0, (B, T))

    def start(
        self,
        encoded: Encoded,
        generator: torch.Generator | None = None,
        frames: Tensor | None = None,
    ) -> SharedWork:
        """Compute what all sentences share; arguments as `features`."""
        noise: dict[str, Noise | None] = {
            "predicted": self.noise_predictor,
            "gaussian": None,
            "none": None,
        }
        started = self.backbone.start(
            encoded,
            timestep=None if self.config.noise == "none" else self.config.timestep,
            noise=noise[self.config.noise],
            generator=generator,
        )
        return SharedWork(started, self._maps(started, TAPS[:1], None, frames)[0], frames)

    def features(
        self,
        encoded: Encoded | SharedWork,
        sentences: Sentences,
        generator: torch.Generator | None = None,
        frames: Tensor | None = None,
    ) -> list[Tensor]:
        """Compute the four maps that the head reads.

        Args:
            encoded: B clips of T frames, or what `start` made of them.
            sentences: B captions.
            generator: source of the posterior sample and of Gaussian noise.
            frames: indices of the frames to keep, for all clips [T'] or for each [B, T']; None =
                all. All frames are seen by the UNet. `start` was told both, where it made
                `encoded`.

        Returns:
            [B, T, C, h, w] float32 at strides 4, 8, 16, 32.
        """
        if isinstance(encoded, Encoded):
            encoded = self.start(encoded, generator, frames)
        text = self.prompt(sentences, encoded.started.encoded)
        return [encoded.finest, *self._maps(encoded.started, TAPS[1:], text, encoded.frames)]

    def _maps(
        self,
        started: StartedPass,
        levels: Sequence[Sequence[str]],
        text: Tensor | None,
        frames: Tensor | None,
    ) -> list[Tensor]:
        """Extract the blocks of some levels, join and adapt them."""
        blocks = [block for taps in levels for block in taps]
        found = self.backbone.extract(started, blocks=blocks, text=text)
        if frames is not None:
            found = {name: keep_frames(x, frames) for name, x in found.items()}
        maps = []
        for taps in levels:
            adapter = self.adapters[TAPS.index(tuple(taps))]
            joined = torch.cat([found[block] for block in taps], dim=2).float()
            maps.append(adapter(joined.flatten(0, 1)).unflatten(0, joined.shape[:2]))
        return maps

    def forward(
        self,
        batch: VideoBatch,
        captions: Sequence[str] | Sentences,
        *,
        select: SelectQueries = best_query,
        encoded: Encoded | None = None,
        generator: torch.Generator | None = None,
        frames: Tensor | None = None,
    ) -> VDITOutput:
        """Segment B clips, each by its own sentence.

        Args:
            batch: padded clips.
            captions: B sentences, or what `encode_captions` made of them.
            select: which queries get a full-resolution mask; the matcher while training.
            encoded: what `encode` made of the clips, if it is at hand.
            generator: source of randomness; None = torch's global one.
            frames: indices of the frames to decode, as `features`; None = all.
        """
        encoded = self.encode(batch.video) if encoded is None else encoded
        sentences = captions if isinstance(captions, Sentences) else self.encode_captions(captions)
        features = self.features(encoded, sentences, generator, frames)
        layers = self.head(
            features,
            batch.padding_mask,
            batch.sizes,
            sentences.words,
            sentences.words_padding,
            all_layers=self.training,
        )
        matches = select(layers)
        masks = [
            self.head.refine(layer, features, match.clips, match.queries)
            for layer, match in zip(layers, matches, strict=True)
        ]
        return VDITOutput(layers, matches, masks)


def keep_frames(x: Tensor, frames: Tensor) -> Tensor:
    """Keep frames of [B, T, ...], the same in all clips [T'] or others in each [B, T']."""
    if frames.ndim == 1:
        return x[:, frames]
    return x[torch.arange(len(frames), device=x.device)[:, None], frames]


def build_adapters(in_channels: Sequence[int], channels: Sequence[int]) -> nn.ModuleList:
    """Two 1x1 convolutions for each level, fine to coarse, with nothing between them.

    All but the coarsest are twice as wide between the two.
    """
    hidden = [*(2 * width for width in channels[:-1]), channels[-1]]
    return nn.ModuleList(
        nn.Sequential(nn.Conv2d(a, b, 1), nn.Conv2d(b, c, 1))
        for a, b, c in zip(in_channels, hidden, channels, strict=True)
    )
