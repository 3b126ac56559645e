"""WALT, stage 3: V-WALT or I-WALT, by predicting the velocity in the latents of clips and frames.

Axes: B rows of a batch, T latent frames, C channels, h x w cells, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vdit.backbone_loading.walt import WaltFolder, load_text_tower, save_walt
from vdit.models.backbones.walt import walt_schedule
from vdit.models.backbones.walt_transformer import SIZES, Walt, WaltConfig
from vdit.stages.velocity import Velocity
from vdit.stages.walt_latents import LatentClip, LatentClips
from vdit.stages.walt_quality import FrechetConfig, GenerationQuality, draw_clips
from vdit.training.distributed import Processes
from vdit.training.engine import RunConfig, Stage

FOLDERS = {"video": "v-walt", "image": "i-walt"}
"""Kind -> where the network lies in the model folder."""
HELD_OUT_NOISE = 41
"""Seed of the noise that held-out losses are measured with."""


@dataclass(frozen=True)
class Sampling:
    """How clips are made.

    Attributes:
        steps: of DDIM.
        guidance: weight of the prompt over the null prompt; 1 = no guidance.
        count: clips that are drawn.
    """

    steps: int = 25
    guidance: float = 3.0
    count: int = 8


@dataclass(frozen=True)
class WaltTraining:
    """Training of a WALT.

    Attributes:
        run: steps, rates.
        kind: "video" (V-WALT: clips and pictures) or "image" (I-WALT: pictures alone).
        size: "tiny", "L" or "XL", see `vdit.models.backbones.walt_transformer.SIZES`; the number
            of latent frames and their channels are those of the data.
        source: folder with tokenizer and latents; None = the model folder itself.
        text: bundled model or model folder whose text tower gives the prompts; None = no prompts.
        images: share of the rows of a batch of V-WALT that hold pictures; at least one row is a
            clip.
        without_text: share of rows with the null prompt.
        sentences: share of rows that are described by a sentence about one object; the others by
            a list of what is seen.
        self_conditioning: share of steps in which the network sees its own estimate.
        sampling: how clips are made.
        held_out: clips that losses are measured on.
        levels: noise levels they are measured at, evenly spaced.
        frechet: distance of what is generated from what is rendered.
        snapshots: keep the averaged weights with every sample, for curves over the training.
    """

    run: RunConfig = field(default_factory=RunConfig)
    kind: Literal["video", "image"] = "video"
    size: Literal["tiny", "L", "XL"] = "tiny"
    source: str | None = None
    text: str | None = "vdit-mini"
    images: float = 0.25
    without_text: float = 0.1
    sentences: float = 0.3
    self_conditioning: float = 0.9
    sampling: Sampling = field(default_factory=Sampling)
    held_out: int = 64
    levels: int = 10
    frechet: FrechetConfig = field(default_factory=FrechetConfig)
    snapshots: bool = False


class Rows(NamedTuple):
    """What a pass sees: latents [B, T, C, h, w], prompts, which rows are pictures."""

    latents: Tensor
    texts: list[str]
    images: list[bool]


class WaltStage(Stage):
    """Velocity prediction at random noise levels.

    A row is a clip, at one level, or T pictures, each at a level of its own. Both kinds of network
    get as many rows of as many frames from the same clips.

    Args:
        config: of the stage.
        folder: the model folder.

    Reference: Gupta et al., Photorealistic Video Generation with Diffusion Models, ECCV 2024, Sec.
    3; Chen et al., Analog Bits, ICLR 2023, for self-conditioning.
    """

    def __init__(self, config: WaltTraining, folder: Path) -> None:
        self.config = config
        self.folder = folder
        source = folder if config.source is None else Path(config.source)
        self.data: LatentClips = LatentClips(source, "train")
        self.held_out = LatentClips(source, "held_out")
        self.num_examples = len(self.data)
        self.collate = list
        self.tokenizer = self.data.tokenizer
        self.tower: Any = None
        if config.text is not None:
            self.tower, self.words = load_text_tower(config.text, torch.float32)
        torch.manual_seed(config.run.seed)
        self.network = Walt(self._sizes())
        self.modules = self.network
        self.velocity = Velocity(walt_schedule())
        self.device = torch.device("cpu")
        self.quality = None
        if config.frechet.samples:
            texts = [sentence["description"] for sentence in self.held_out.sentences]
            self.quality = GenerationQuality(config.frechet, texts, self.held_out.render)

    def _sizes(self) -> WaltConfig:
        """Give the sizes of the network, with the frames and channels of the data."""
        frames, channels = self.data.clips.shape[1:3]
        text_dim = None if self.tower is None else self.tower.config.hidden_size
        sizes = replace(
            SIZES[self.config.size],
            frames=frames,
            latent_channels=channels,
            text_dim=text_dim,
            num_classes=None,
        )
        return sizes if self.config.kind == "video" else sizes.as_image_model()

    def move(self, device: torch.device) -> None:
        self.device = device
        self.network.to(device)
        self.tokenizer.to(device)
        if self.tower is not None:
            self.tower.to(device)

    # ---- losses --------------------------------------------------------------------------------

    def losses(self, batch: list[LatentClip]) -> dict[str, Tensor]:
        """Squared error of the velocity at random levels; frames of pictures have their own."""
        rows = self._draw_rows(batch)
        B, T = rows.latents.shape[:2]
        levels = torch.randint(0, self.velocity.num_levels, (B, T))
        clips = torch.tensor([not each for each in rows.images])[:, None]
        levels = torch.where(clips, levels[:, :1], levels).to(self.device)
        noise = torch.randn(rows.latents.shape).to(self.device)
        is_told = [bool(torch.rand(()) >= self.config.without_text) for _ in range(B)]
        conditions = self._conditions(rows, is_told)
        noisy = self.velocity.add_noise(rows.latents, noise, levels)
        estimate = None
        if torch.rand(()) < self.config.self_conditioning:
            with torch.no_grad():
                first = self.network(noisy, levels, **conditions).float()
                estimate = self.velocity.clean(noisy, first, levels)
        predicted = self.network(noisy, levels, estimate=estimate, **conditions).float()
        return {"loss": F.mse_loss(predicted, self.velocity.target(rows.latents, noise, levels))}

    def _draw_rows(self, batch: list[LatentClip]) -> Rows:
        """Take some examples as clips, T frames of each other one as pictures."""
        B = len(batch)
        T = len(batch[0].clip)
        pictures = min(round(self.config.images * B), B - 1) if self._is_video else B
        images = [i < pictures for i in range(B)]
        latents, texts = [], []
        for example, is_image in zip(batch, images, strict=True):
            chosen = torch.randint(0, len(example.stills), (T,))
            latents.append(example.stills[chosen] if is_image else example.clip)
            is_sentence = bool(torch.rand(()) < self.config.sentences)
            which = int(torch.randint(0, len(example.captions), ()))
            texts.append(example.captions[which] if is_sentence else example.description)
        return Rows(torch.stack(latents).to(self.device), texts, images)

    @property
    def _is_video(self) -> bool:
        return self.config.kind == "video"

    def _conditions(self, rows: Rows, is_told: Sequence[bool]) -> dict[str, Any]:
        """Give what the network takes beside latents and levels."""
        text = self.encode_text(rows.texts)
        return {"text": text, "has_text": is_told, "images": rows.images}

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> Tensor | None:
        """Encode sentences, [B, L, text_dim]; None where the network takes none."""
        if self.tower is None:
            return None
        tokens = self.words(texts, padding="max_length", truncation=True, return_tensors="pt")
        return self.tower(input_ids=tokens.input_ids.to(self.device)).last_hidden_state

    # ---- held-out clips ------------------------------------------------------------------------

    def validate(self, processes: Processes) -> dict[str, float]:
        """Measure the error of the velocity at every level, of clips and of pictures.

        Noise and levels are the same at every call, and pictures are the same for both kinds of
        network. Distances of generated samples come from the first process.
        """
        kinds = ["stills", "clips"] if self._is_video else ["stills"]
        spaced = torch.linspace(0, self.velocity.num_levels - 1, self.config.levels).round()
        scores: dict[str, float] = {}
        chosen = range(min(self.config.held_out, len(self.held_out)))
        mine = chosen[processes.rank :: processes.world_size]
        for kind in kinds:
            sums = [0.0] * len(spaced)
            for index in mine:
                for k, level in enumerate(spaced.long().tolist()):
                    sums[k] += self._held_out_loss(index, level, kind)
            *totals, count = processes.sum(*sums, len(mine))
            for level, total in zip(spaced.long().tolist(), totals, strict=True):
                scores[f"{kind}_{level:03d}"] = total / count
            scores[kind] = sum(totals) / count / len(totals)
        if self.quality is not None and processes.is_first:
            scores |= self.quality.distances(self.generate, moving=self._is_video)
        return processes.gather(scores)[0]

    def _held_out_loss(self, index: int, level: int, kind: str) -> float:
        example = self.held_out[0, index]
        T = len(example.clip)
        spread = torch.linspace(0, len(example.stills) - 1, T).round().long()
        latents = (example.clip if kind == "clips" else example.stills[spread])[None]
        generator = torch.Generator().manual_seed(HELD_OUT_NOISE + index)
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        rows = Rows(latents.to(self.device), [example.description], [kind == "stills"])
        levels = torch.full((1, T), level, device=self.device)
        noisy = self.velocity.add_noise(rows.latents, noise, levels)
        predicted = self.network(noisy, levels, **self._conditions(rows, [True])).float()
        return float(F.mse_loss(predicted, self.velocity.target(rows.latents, noise, levels)))

    # ---- samples -------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(self, texts: list[str], seed: int) -> Tensor:
        """Make a clip, or T pictures, of each sentence.

        Returns:
            [B, T, 3, H, W] in about -1..1; of V-WALT the frames of the video, of I-WALT T pictures.
        """
        B, shape = len(texts), self.data.clips.shape[1:]
        rows = Rows(torch.empty(B, *shape), texts, [not self._is_video] * B)
        told = self._conditions(rows, [True] * B)
        untold = self._conditions(rows, [False] * B)
        weight = self.config.sampling.guidance

        def predict(noisy: Tensor, levels: Tensor, estimate: Tensor) -> Tensor:
            velocity = self.network(noisy, levels, estimate=estimate, **told)
            if weight == 1.0 or self.tower is None:
                return velocity
            without = self.network(noisy, levels, estimate=estimate, **untold)
            return without + weight * (velocity - without)

        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(B, *shape, generator=generator).to(self.device)
        latents = self.velocity.sample(predict, noise, self.config.sampling.steps)
        latents = self.tokenizer.denormalize(latents)
        if self._is_video:
            return self.tokenizer.decode(latents).float()
        return self.tokenizer.decode(latents.flatten(0, 1)[:, None])[:, 0].unflatten(
            0, latents.shape[:2]
        )

    def draw_samples(self, folder: Path) -> None:
        """Draw clips from held-out sentences, and keep the weights if asked to."""
        count = min(self.config.sampling.count, len(self.held_out))
        texts = [self.held_out.sentences[i]["description"] for i in range(count)]
        draw_clips(self.generate(texts, seed=0), texts, folder, moving=self._is_video)
        if self.config.snapshots:
            self._save(folder / FOLDERS[self.config.kind])

    def export(self) -> None:
        """Write the network with its tokenizer, as `build_backbone("walt", path=...)` reads it."""
        self._save(self.folder / FOLDERS[self.config.kind])

    def _save(self, folder: Path) -> None:
        spec = WaltFolder(self.network.config, self.tokenizer.config, self.config.text)
        save_walt(folder, spec, self.network, self.tokenizer)
