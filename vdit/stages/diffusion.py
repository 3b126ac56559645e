"""Stage 7: the text-to-video UNet, by predicting the noise in the latents of clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from vdit.stages.alignment import CellAlignment, NameAlignment
from vdit.stages.cell_network import load_cell_names
from vdit.stages.clips import ClipConfig, TrainingClips, videos_of
from vdit.stages.parts import fresh_networks, load_parts, save_part
from vdit.stages.simple_names import Name, every_name, plain_sentence, words_of
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
        naming: weight of the stored cells that the prompt names as targets of these blocks.
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
    naming: float = 1.0
    aligned: list[str] = field(default_factory=lambda: ["up1", "up2"])


class DiffusionStage(Stage):
    """Noise prediction at random levels, with the text tower's states as prompt.

    Args:
        config: of the stage.
        folder: the model folder, with VAE and text tower.

    Raises:
        ValueError: there are no stored encodings of the clips, or they are of other networks; or
            nothing says which cells sentences name.

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
        channels = {block: blocks[block].channels for block in config.aligned}
        self.alignment = CellAlignment(channels, self.data.take(0).cells.shape[1])
        self.naming = NameAlignment(channels)
        self.modules = nn.ModuleList([self.unet, self.alignment, self.naming])
        self.names = load_cell_names(folder)
        plain = [plain_sentence(*name) for name in every_name()]
        states = self.names.states(read_sentences(self.frozen, plain).pooler_output)
        self.name_states: dict[Name | None, Tensor] = dict(zip(every_name(), states, strict=True))
        self.collate = collate_encoded
        self.leaves_out = True  # temporal layers have nothing to do in single frames

    def losses(self, batch: list[EncodedClip]) -> dict[str, Tensor]:
        """Take the clips, their frames or pictures, each with a prompt.

        "denoising" is the mean squared error of what the UNet predicts, "alignment" the distance of
        its maps from cells, "naming" that of what it finds named from what is.
        """
        if torch.rand(()) < self.config.images:
            if self.pictures is not None and torch.rand(()) < self.config.single:
                count = sum(len(clip.mean) for clip in batch)
                drawn = torch.randint(0, len(self.pictures.store), (count,)).tolist()
                batch = [self.pictures.take(place) for place in drawn]
            else:
                batch = [frame for clip in batch for frame in frames_of(clip)]
        texts, names = zip(*(self._draw_prompt(clip) for clip in batch), strict=True)
        latents = torch.stack([clip.mean + clip.std * torch.randn_like(clip.std) for clip in batch])
        latents = latents * self.frozen["vae"].config.scaling_factor
        denoising, maps = self.denoise(latents, self._prompt(list(texts)))
        cells = torch.stack([clip.cells for clip in batch])
        alignment = self.alignment(maps, cells.flatten(0, 1))
        naming = self.naming_loss(names, maps, cells)
        weights = self.config
        loss = denoising + weights.alignment * alignment + weights.naming * naming
        return {"loss": loss, "denoising": denoising, "alignment": alignment, "naming": naming}

    def _draw_prompt(self, clip: EncodedClip) -> tuple[str, Name | None]:
        """Draw a prompt, and say what it names if it is about one object."""
        share = float(torch.rand(()))
        if share < self.config.without_text:
            return "", None
        if share < self.config.without_text + self.config.sentences and clip.captions:
            sentence = clip.captions[int(torch.randint(0, len(clip.captions), ()))]
            return sentence, words_of(sentence)
        return clip.description, None

    def denoise(self, latents: Tensor, prompt: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict at random levels.

        Args:
            latents: [B, T, 4, h, w], scaled.
            prompt: [B, L, C].

        Returns:
            the mean squared error, and block -> [B * T, C', h', w'].
        """
        levels = torch.randint(0, self.schedule.config.num_train_timesteps, (len(latents),))
        low = torch.rand(len(latents)) < self.config.low
        levels = torch.where(low, levels % self.config.first_level, levels)
        noise = torch.randn_like(latents)
        noisy = self.schedule.add_noise(latents, noise, levels)
        context = prompt.repeat_interleave(latents.shape[1], dim=0)
        predicted, maps = denoise(self.unet, noisy, levels, context)
        wanted = denoising_target(self.schedule, latents, noise, levels)
        return F.mse_loss(predicted.float(), wanted), maps

    def naming_loss(
        self, names: Sequence[Name | None], maps: Mapping[str, Tensor], cells: Tensor
    ) -> Tensor:
        """Ask maps for the cells that show what their prompt names.

        Args:
            names: of B prompts; those without a category or a color are not asked about.
            maps: block -> [B * T, C, h, w].
            cells: [B, T, D, rows, columns].
        """
        asked = [i for i, name in enumerate(names) if name in self.name_states]
        if not asked:
            return cells.new_zeros(())
        states = torch.stack([self.name_states[names[i]] for i in asked])
        named = self.names(torch.einsum("btdhw,bd->bthw", cells[asked], states)).sigmoid()
        chosen = {
            block: maps[block].unflatten(0, cells.shape[:2])[asked].flatten(0, 1)
            for block in self.config.aligned
        }
        return self.naming(chosen, named.flatten(0, 1))

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
        return read_sentences(self.frozen, texts).last_hidden_state


@torch.no_grad()
def read_sentences(parts: Networks, texts: list[str]) -> Any:
    """What the text tower says of N texts, by the parts "tokenizer" and "text_encoder".

    Returns:
        transformers' output: last_hidden_state [N, L, C], the prompt; pooler_output [N, C].
    """
    tokens = parts["tokenizer"](texts, padding="max_length", truncation=True, return_tensors="pt")
    return parts["text_encoder"](input_ids=tokens.input_ids)


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
    prompts = read_sentences(parts, [each.description for each in examples]).last_hidden_state
    return means.unflatten(0, videos.shape[:2]).transpose(1, 2), prompts
