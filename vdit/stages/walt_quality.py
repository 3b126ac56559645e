"""What WALT generates: pictures to look at, and its distance from what was rendered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vdit.metrics.frechet import frechet_distance
from vdit.model_spec import BUNDLED, local_parts
from vdit.models.image_encoder import clip_pixel_values, shared_cells
from vdit.network_loading import load_part
from vdit.stages.reconstruction import pictures_of, to_levels
from vdit.video_writer import VideoWriter
from vdit.visualize import contact_sheet

FRAMES_SHOWN = 5
GIF_RATE = 8.0
BATCH = 8


@dataclass(frozen=True)
class FrechetConfig:
    """How far what is generated is from what was rendered.

    Attributes:
        samples: held-out sentences that are generated; 0 = none.
        network: bundled model or model folder whose image tower gives the features: 64 channels
            after the projection for vdit-mini, which was trained on rendered frames.
        frames: of each sample, evenly spread.
    """

    samples: int = 0
    network: str = "vdit-mini"
    frames: int = 5


class GenerationQuality:
    """Frechet distances of what a network makes of sentences.

    Args:
        config: how many samples, in which features.
        texts: sentences of the held-out clips.
        render: gives the frames [T, 3, H, W] uint8 of a held-out clip.
    """

    def __init__(
        self, config: FrechetConfig, texts: Sequence[str], render: Callable[[int], Tensor]
    ) -> None:
        self.config = config
        self.texts = list(texts)[: config.samples]
        self.render = render
        self.tower = load_image_tower(config.network)
        self.rendered: Tensor | None = None

    def distances(
        self, generate: Callable[[list[str], int], Tensor], *, moving: bool
    ) -> dict[str, float]:
        """Compute the distance of generated frames, and of clips where the frames move.

        A clip is the mean of its frames' features beside their deviation over time, so that clips
        that stand still are far from those that move.

        Args:
            generate: (sentences, seed) -> [B, T, 3, H, W] in -1..1.
            moving: frames of a sample belong together.

        Returns:
            "frechet_frames", and "frechet_clips" where frames move.
        """
        made = []
        for start in range(0, len(self.texts), BATCH):
            videos = generate(self.texts[start : start + BATCH], 1 + start)
            made += [self._features(to_levels(video)) for video in videos]
        found = torch.stack(made)
        if self.rendered is None:
            chosen = range(len(self.texts))
            self.rendered = torch.stack([self._features(self.render(i)) for i in chosen])
        scores = {"frechet_frames": _distance(found.flatten(0, 1), self.rendered.flatten(0, 1))}
        if moving:
            scores["frechet_clips"] = _distance(_of_clips(found), _of_clips(self.rendered))
        return scores

    def _features(self, video: Tensor) -> Tensor:
        return image_features(self.tower, spread(video, self.config.frames))


def _distance(first: Tensor, second: Tensor) -> float:
    return frechet_distance(first.numpy(), second.numpy())


def _of_clips(features: Tensor) -> Tensor:
    """Describe clips [N, F, D] by [N, 2 * D]."""
    return torch.cat([features.mean(dim=1), features.std(dim=1)], dim=1)


def load_image_tower(source: str) -> Any:
    """Load the CLIP image tower of a bundled model or a model folder, frozen."""
    folder = BUNDLED.get(source, Path(source))
    tower = load_part("image_encoder", local_parts().image_encoder, folder, torch.float32)
    return tower.requires_grad_(False).eval()


@torch.no_grad()
def image_features(tower: Any, frames: Tensor) -> Tensor:
    """Compute features [F, D] of frames [F, 3, H, W] uint8, of unit length.

    They are the mean of the projected cells: the towers of `vdit.stages.towers` compare cells with
    sentences, and never train the token of the whole image.
    """
    pixels = clip_pixel_values(frames.cpu(), tower.config.image_size)
    cells = shared_cells(tower, tower(pixel_values=pixels).last_hidden_state)
    return torch.nn.functional.normalize(cells.float().mean(dim=(2, 3)), dim=-1)


def spread(video: Tensor, count: int) -> Tensor:
    """Take `count` frames of [T, ...], evenly from the first to the last."""
    return video[torch.linspace(0, len(video) - 1, count).round().long()]


def draw_clips(videos: Tensor, texts: list[str], folder: Path, *, moving: bool) -> None:
    """Write `samples.png`, a row a sentence, and `samples.gif` where the frames move.

    Args:
        videos: [B, T, 3, H, W] in -1..1.
        texts: B sentences, which go into `samples.txt`.
        folder: where to write.
        moving: frames of a row belong together.
    """
    rows: list[np.ndarray] = []
    for video in videos:
        rows += pictures_of(spread(video, FRAMES_SHOWN))
    Image.fromarray(contact_sheet(rows, columns=FRAMES_SHOWN)).save(folder / "samples.png")
    (folder / "samples.txt").write_text("".join(f"{text}\n" for text in texts))
    if not moving:
        return
    with VideoWriter(folder / "samples.gif", GIF_RATE) as writer:
        for t in range(videos.shape[1]):
            writer.add(contact_sheet(pictures_of(videos[:, t]), columns=4))
