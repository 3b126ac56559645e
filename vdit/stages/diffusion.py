"""Stage 7: the text-to-video UNet, by predicting the noise in the latents of clips."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from vdit.evaluation.denoising import denoising_target
from vdit.models.backbones.unet3d import denoise
from vdit.models.backbones.unet_walk import unet_blocks
from vdit.network_loading import Networks
from vdit.stages.alignment import CellAlignment
from vdit.stages.clips import ClipConfig, TrainingClips, videos_of
from vdit.stages.parts import fresh_networks, load_parts, save_part
from vdit.stages.stored_encodings import EncodedClip, StoredEncodings, collate_encoded, frames_of
from vdit.training.engine import RunConfig, Stage
from vdit.visualize import contact_sheet


@dataclass(frozen=True)
class DiffusionConfig:
    """Stage 7.

    Attributes:
        run: steps, rates; the batch is of clips.
        data: clips, of a stored and encoded set.
        pictures: name of a stored and encoded set of single pictures; "" = none.
        without_text: share of clips with the null prompt.
        sentences: share of clips with one of their referring sentences as prompt; the others are
            described as a whole.
        images: share of steps that take every frame for a clip of its own.
        single: share of these steps that take frames of `pictures`.
        low: share of clips at one of the lowest levels, where features are read.
        first_level: the level above these.
        alignment: weight of the stored cells as targets of the blocks in `aligned`.
        aligned: blocks.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: ClipConfig = field(default_factory=ClipConfig)
    pictures: str = ""
    without_text: float = 0.1
    sentences: float = 0.4
    images: float = 0.5
    single: float = 0.5
    low: float = 0.5
    first_level: int = 4
    alignment: float = 1.0
    aligned: list[str] = field(default_factory=lambda: ["up1", "up2"])


class DiffusionStage(Stage):
    """Noise prediction at random levels, with the text tower's states as prompt.

    Args:
        config: of the stage.
        folder: the model folder, with VAE and text tower.

    Raises:
        ValueError: there are no stored encodings of the clips, or they are of other networks.

    Reference: Wang et al., ModelScope Text-to-Video Technical Report, 2023.
    """

    def __init__(self, config: DiffusionConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.frozen = load_parts(folder, ["vae", "text_encoder", "tokenizer"])
        fresh = fresh_networks(folder, config.run.seed)
        self.unet: Any = fresh["unet"]
        self.schedule: Any = fresh["scheduler"]
        self.data = StoredEncodings(config.data, folder, seed=8)
        alone = replace(config.data, stored=config.pictures, first=0, frames=1)
        self.pictures = StoredEncodings(alone, folder, seed=8) if config.pictures else None
        blocks = unet_blocks(self.unet.config.block_out_channels, 8)
        self.alignment = CellAlignment(
            {block: blocks[block].channels for block in config.aligned},
            self.data.take(0).cells.shape[1],
        )
        self.modules = nn.ModuleList([self.unet, self.alignment])
        self.collate = collate_encoded
        self.leaves_out = True  # temporal layers have nothing to do in single frames

    def losses(self, batch: list[EncodedClip]) -> dict[str, Tensor]:
        """Take the clips, their frames or pictures, each with a prompt; see `noise_losses`."""
        if torch.rand(()) < self.config.images:
            if self.pictures is not None and torch.rand(()) < self.config.single:
                count = sum(len(clip.mean) for clip in batch)
                drawn = torch.randint(0, len(self.pictures.store), (count,)).tolist()
                batch = [self.pictures.take(place) for place in drawn]
            else:
                batch = [frame for clip in batch for frame in frames_of(clip)]
        texts = [self._draw_text(clip) for clip in batch]
        latents = torch.stack([clip.mean + clip.std * torch.randn_like(clip.std) for clip in batch])
        latents = latents * self.frozen["vae"].config.scaling_factor
        cells = torch.cat([clip.cells for clip in batch])
        return self.noise_losses(latents, self._prompt(texts), cells)

    def _draw_text(self, clip: EncodedClip) -> str:
        share = float(torch.rand(()))
        if share < self.config.without_text:
            return ""
        if share < self.config.without_text + self.config.sentences and clip.captions:
            return clip.captions[int(torch.randint(0, len(clip.captions), ()))]
        return clip.description

    def noise_losses(self, latents: Tensor, prompt: Tensor, cells: Tensor) -> dict[str, Tensor]:
        """Mean squared error of what the UNet predicts, and distance of its maps from cells.

        Args:
            latents: [B, T, 4, h, w], scaled.
            prompt: [B, L, C].
            cells: [B * T, D, rows, columns] of the clean frames.
        """
        levels = torch.randint(0, self.schedule.config.num_train_timesteps, (len(latents),))
        low = torch.rand(len(latents)) < self.config.low
        levels = torch.where(low, levels % self.config.first_level, levels)
        noise = torch.randn_like(latents)
        noisy = self.schedule.add_noise(latents, noise, levels)
        context = prompt.repeat_interleave(latents.shape[1], dim=0)
        predicted, maps = denoise(self.unet, noisy, levels, context)
        wanted = denoising_target(self.schedule, latents, noise, levels)
        error = F.mse_loss(predicted.float(), wanted)
        distance = self.alignment({name: maps[name] for name in self.config.aligned}, cells)
        loss = error + self.config.alignment * distance
        return {"loss": loss, "denoising": error, "alignment": distance}

    @torch.no_grad()
    def draw_samples(self, folder: Path) -> None:
        """Make two clips from two sentences by DDIM."""
        texts = ["a red ball and a blue car", "a green tree and a yellow duck"]
        prompt = self._prompt(texts)
        schedule: Any = DDIMScheduler.from_config(self.schedule.config)
        schedule.set_timesteps(schedule.config.num_train_timesteps)
        T, h, w = self.config.data.frames, self.config.data.height // 8, self.config.data.width // 8
        latents = torch.randn(2, 4, T, h, w, generator=torch.Generator().manual_seed(0))
        for level in schedule.timesteps:
            predicted = self.unet(latents, level, prompt).sample
            latents = schedule.step(predicted, level, latents).prev_sample
        scaled = latents.transpose(1, 2).flatten(0, 1) / self.frozen["vae"].config.scaling_factor
        frames = self.frozen["vae"].decode(scaled).sample
        pictures = ((frames.clamp(-1, 1) + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
        Image.fromarray(contact_sheet(list(pictures), columns=T)).save(folder / "clips.png")

    def export(self) -> None:
        save_part(self.unet, self.folder, "unet")
        save_part(self.schedule, self.folder, "scheduler")

    def _prompt(self, texts: list[str]) -> Tensor:
        return prompts_of(self.frozen, texts)


@torch.no_grad()
def prompts_of(parts: Networks, texts: list[str]) -> Tensor:
    """States of the text tower, [N, L, C], by the parts "tokenizer" and "text_encoder"."""
    tokens = parts["tokenizer"](texts, padding="max_length", truncation=True, return_tensors="pt")
    return parts["text_encoder"](input_ids=tokens.input_ids).last_hidden_state


@torch.no_grad()
def held_out_latents(parts: Networks, config: ClipConfig, count: int) -> tuple[Tensor, Tensor]:
    """Scaled latents [count, 4, T, h, w] and prompts [count, L, C] of clips not trained on.

    Args:
        parts: "vae", "tokenizer" and "text_encoder".
        config: of clips, which are drawn here.
        count: of clips.
    """
    clips = TrainingClips(replace(config, stored=""), seed=12)
    examples = [clips[i] for i in range(count)]
    videos, vae = videos_of(examples), parts["vae"]
    means = vae.encode(2 * videos.flatten(0, 1) - 1).latent_dist.mean * vae.config.scaling_factor
    prompts = prompts_of(parts, [example.description for example in examples])
    return means.unflatten(0, videos.shape[:2]).transpose(1, 2), prompts
