"""ADM: an image diffusion network on pixels, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from vdit.models.backbones.adm_unet import AdmUNet
from vdit.models.backbones.base import Backbone, Encoded, Noise, refuse_conditions
from vdit.models.backbones.frame_backbone import collect_per_frame
from vdit.models.backbones.noise_schedules import DiffusionSchedule, draw_noise


class AdmBackbone(Backbone):
    """Features of a frozen ADM network.

    Blocks: "out0".., the outputs of the decoder's blocks, coarse to fine. A block that ends in an
    upsampling layer is tapped after it. Frames do not see each other and have noise of their own.
    `timestep` counts the 1000 levels of the linear schedule, 0 the least noisy; without one the
    clean frames go in and the network is told 0.

    Args:
        unet: the network.
        label: class that a class-conditional network is told, 0..num_classes - 1. None = the mean
            embedding of all classes: these networks were trained without a null label.
        frames_per_pass: frames that go through the network at once; bounds memory.

    Raises:
        ValueError: the network does not know the label.
    """

    temporal = False

    def __init__(self, unet: AdmUNet, label: int | None = None, frames_per_pass: int = 1) -> None:
        super().__init__()
        num_classes = unet.config.num_classes
        if label is not None and (num_classes is None or not 0 <= label < num_classes):
            known = "None" if num_classes is None else f"None or 0..{num_classes - 1}"
            raise ValueError(f"expected label {known}, what this network knows, got {label}")
        self.unet = unet
        self.label = label
        self.frames_per_pass = frames_per_pass
        self.schedule = DiffusionSchedule.linear()
        self.blocks = unet.blocks
        self.size_multiple = 2 ** (len(unet.config.multipliers) - 1)
        self.freeze()

    def block_modules(self) -> dict[str, list[nn.Module]]:
        """See `Backbone.block_modules`; blocks of the encoder are "in", "in1".."""
        return self.unet.block_modules()

    def is_walked(self, module: nn.Module) -> bool:
        """See `Backbone.is_walked`: the mean over all labels reads their table."""
        return super().is_walked(module) or isinstance(module, nn.Embedding)

    def encode(self, video: Tensor) -> Encoded:
        """Bring the frames to -1..1; they stand in `Encoded.latent_mean`, [B, T, 3, H, W] float32.

        Args:
            video: [B, T, 3, H, W] in 0..1; H and W multiples of `size_multiple`.
        """
        self.check_video(video)
        return Encoded((video.shape[-2], video.shape[-1]), 2 * video.float() - 1)

    def extract(
        self,
        video: Tensor | Encoded,
        *,
        blocks: Sequence[str],
        timestep: float | None = None,
        text: Tensor | None = None,
        image: Tensor | None = None,
        noise: Noise | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """See `Backbone.extract`; noise is [B, T, 3, H, W], mixed with frames in -1..1.

        Raises:
            ValueError: also where text or an image is given, or the timestep is not in 0..999.
        """
        self.check_blocks(blocks)
        refuse_conditions(text=text, image=image)
        encoded = self.encode(video) if isinstance(video, Tensor) else video
        frames = encoded.latent_mean
        if timestep is not None:
            frames = self.schedule.add_noise(frames, timestep, draw_noise(frames, noise, generator))
        told = 0 if timestep is None else self.schedule.condition(timestep)
        embed = self.unet.embed(told, self.label)
        walk = partial(self.unet.walk, embed=embed, run=self.run)
        return collect_per_frame(walk, frames.to(embed.dtype), blocks, self.frames_per_pass)
