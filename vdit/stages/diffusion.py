"""Stage 4: the text-to-video UNet, by predicting the noise in the latents of clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vdit.evaluation.denoising import denoising_target
from vdit.stages.clips import (
    ClipConfig,
    ClipExample,
    TrainingClips,
    collate_examples,
    videos_of,
)
from vdit.stages.parts import fresh_networks, load_parts, save_part
from vdit.training.engine import RunConfig, Stage
from vdit.visualize import contact_sheet


@dataclass(frozen=True)
class DiffusionConfig:
    """Stage 4.

    Attributes:
        run: steps, rates.
        data: clips.
        without_text: share of clips with the null prompt.
        sentences: share of clips with one of their referring sentences as prompt; the others are
            described as a whole.
        images: share of steps that take every frame for a clip of its own.
        first_level: noise levels below it are drawn twice as often, as features are read there.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: ClipConfig = field(default_factory=ClipConfig)
    without_text: float = 0.1
    sentences: float = 0.4
    images: float = 0.5
    first_level: int = 4


class DiffusionStage(Stage):
    """Noise prediction at random levels, with the text tower's states as prompt.

    Args:
        config: of the stage.
        folder: the model folder, with VAE and text tower.

    Reference: Wang et al., ModelScope Text-to-Video Technical Report, 2023.
    """

    def __init__(self, config: DiffusionConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.frozen = load_parts(folder, ["vae", "text_encoder", "tokenizer"])
        fresh = fresh_networks(folder, config.run.seed)
        self.unet: Any = fresh["unet"]
        self.modules = self.unet
        self.schedule: Any = fresh["scheduler"]
        self.data = TrainingClips(config.data, seed=8)
        self.collate = collate_examples

    def losses(self, batch: list[ClipExample]) -> dict[str, Tensor]:
        latents = self._latents(videos_of(batch))
        if torch.rand(()) < self.config.images:
            batch = [example for example in batch for _ in range(latents.shape[2])]
            latents = latents.transpose(1, 2).flatten(0, 1)[:, :, None]
        texts = [self._draw_text(example) for example in batch]
        return self.noise_losses(latents, self._prompt(texts))

    def _draw_text(self, example: ClipExample) -> str:
        share = float(torch.rand(()))
        if share < self.config.without_text:
            return ""
        if share < self.config.without_text + self.config.sentences:
            return example.captions[int(torch.randint(0, len(example.captions), ()))]
        return example.description

    def noise_losses(self, latents: Tensor, prompt: Tensor) -> dict[str, Tensor]:
        """Mean squared error of what the UNet predicts of latents [B, 4, T, h, w]."""
        levels = torch.randint(0, self.schedule.config.num_train_timesteps, (len(latents),))
        low = torch.rand(len(latents)) < 0.25
        levels = torch.where(low, levels % self.config.first_level, levels)
        noise = torch.randn_like(latents)
        noisy = self.schedule.add_noise(latents, noise, levels)
        predicted = self.unet(noisy, levels, prompt).sample
        wanted = denoising_target(self.schedule, latents, noise, levels)
        return {"loss": F.mse_loss(predicted, wanted)}

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

    def held_out(self, count: int) -> tuple[Tensor, Tensor]:
        """Latents [count, 4, T, h, w] and prompts [count, L, C] of clips not trained on."""
        clips = TrainingClips(self.config.data, seed=12)
        examples = [clips[i] for i in range(count)]
        prompt = self._prompt([example.description for example in examples])
        return self._latents(videos_of(examples)), prompt

    def export(self) -> None:
        save_part(self.unet, self.folder, "unet")
        save_part(self.schedule, self.folder, "scheduler")

    @torch.no_grad()
    def _latents(self, videos: Tensor) -> Tensor:
        """Scaled latents [B, 4, T, h, w] of videos [B, T, 3, H, W] in 0..1."""
        vae = self.frozen["vae"]
        sample = vae.encode(2 * videos.flatten(0, 1) - 1).latent_dist.sample()
        return (sample * vae.config.scaling_factor).unflatten(0, videos.shape[:2]).transpose(1, 2)

    @torch.no_grad()
    def _prompt(self, texts: list[str]) -> Tensor:
        tokens = self.frozen["tokenizer"](
            texts, padding="max_length", truncation=True, return_tensors="pt"
        )
        return self.frozen["text_encoder"](input_ids=tokens.input_ids).last_hidden_state
