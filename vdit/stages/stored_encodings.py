"""Latents and cells of stored clips, computed once for all steps of the UNet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vdit.atomic import replace_when_complete
from vdit.fingerprint import fingerprint
from vdit.stages.cell_network import load_cell_network
from vdit.stages.clips import ClipConfig, choose_frames, single_captions
from vdit.stages.parts import load_parts
from vdit.stages.stored_clips import ClipStore, store_folder

CONFIG = "encodings.json"
FRAMES_AT_ONCE = 50


@dataclass(frozen=True)
class EncodingsConfig:
    """Which sets of stored clips are encoded.

    Attributes:
        sets: their names.
        workers: processes; 0 = this one.
    """

    sets: list[str] = field(default_factory=lambda: ["pictures", "clips"])
    workers: int = 2


@dataclass
class EncodedClip:
    """One clip.

    Attributes:
        mean: [T, 4, h, w] of the posterior of its latents, unscaled.
        std: [T, 4, h, w].
        cells: [T, D, rows, columns] of `vdit.stages.cell_network`, of unit length.
        description: everything in the clip in one line.
        captions: sentences about single objects of it.
    """

    mean: Tensor
    std: Tensor
    cells: Tensor
    description: str
    captions: list[str]


def collate_encoded(clips: list[EncodedClip]) -> list[EncodedClip]:
    return clips


def frames_of(clip: EncodedClip) -> list[EncodedClip]:
    """Take every frame for a clip of its own."""
    return [
        replace(
            clip, mean=clip.mean[t : t + 1], std=clip.std[t : t + 1], cells=clip.cells[t : t + 1]
        )
        for t in range(len(clip.mean))
    ]


def write_encodings(config: EncodingsConfig, folder: Path) -> None:
    """Encode stored clips beside their pixels; finished files of the same networks are kept.

    Raises:
        ValueError: there are no clips, or a network is missing.
    """
    facts = {"networks": _fingerprint(folder)}
    for name in config.sets:
        target = store_folder(folder, name)
        store = ClipStore(target)
        if _facts(target) != facts:
            for path in target.glob("*.encodings"):
                path.unlink()
            with replace_when_complete(target / CONFIG) as temporary:
                temporary.write_text(json.dumps(facts) + "\n")
        left = [shard for shard, path in enumerate(store.paths) if not _beside(path).is_file()]
        loader = DataLoader(
            _Shards(store, folder), sampler=left, batch_size=None, num_workers=config.workers
        )
        for _ in loader:
            pass


class _Shards(Dataset[int]):
    """Encodes a shard and writes it; the item is its number."""

    def __init__(self, store: ClipStore, folder: Path) -> None:
        self.store = store
        self.folder = folder

    @torch.no_grad()
    def __getitem__(self, shard: int) -> int:
        vae, network = load_parts(self.folder, ["vae"])["vae"], load_cell_network(self.folder)
        first = shard * self.store.shard
        clips = [self.store[i].frames for i in range(first, self.store.end_of(shard))]
        frames = torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3)
        means, stds, cells = [], [], []
        for some in frames.flatten(0, 1).split(FRAMES_AT_ONCE):
            posterior = vae.encode(some.float() / 127.5 - 1).latent_dist
            means.append(posterior.mean.half())
            stds.append(posterior.std.half())
            cells.append(nn.functional.normalize(network(some), dim=1).half())
        tensors = {"mean": torch.cat(means), "std": torch.cat(stds), "cells": torch.cat(cells)}
        shaped = {
            name: x.contiguous().unflatten(0, frames.shape[:2]) for name, x in tensors.items()
        }
        with replace_when_complete(_beside(self.store.paths[shard])) as temporary:
            save_file(shaped, temporary, metadata={"format": "pt"})
        return shard


def _beside(path: Path) -> Path:
    return path.with_suffix(".encodings")


def _facts(target: Path) -> Any:
    path = target / CONFIG
    return json.loads(path.read_text()) if path.is_file() else None


def _fingerprint(folder: Path) -> str:
    """Name the weights that encodings depend on."""
    networks = {**load_parts(folder, ["vae"]), "cells": load_cell_network(folder)}
    return fingerprint(
        (f"{part}.{name}", value)
        for part, network in networks.items()
        for name, value in network.state_dict().items()
    )


class StoredEncodings(Dataset[EncodedClip]):
    """Encoded clips: index -> example, the same for the same index.

    Args:
        config: `stored` names the set, `frames` are taken, `kinds` are the captions'.
        folder: the model folder.
        seed: another seed takes other clips and frames.

    Raises:
        ValueError: there are no encodings, or they are of other networks.
    """

    def __init__(self, config: ClipConfig, folder: Path, seed: int) -> None:
        self.config = config
        self.seed = seed
        target = store_folder(folder, config.stored)
        self.store = ClipStore(target, config.first)
        if _facts(target) != {"networks": _fingerprint(folder)}:
            raise ValueError(
                f"expected encodings of {target} by the networks of {folder}, found none or "
                "others; run the stage `encodings` first"
            )
        self._open: dict[int, Any] = {}

    def __getitem__(self, index: int) -> EncodedClip:
        rng = np.random.default_rng((self.seed, index, 17))
        place = int(rng.integers(len(self.store)))
        return self.take(place, choose_frames(rng, self.store.num_frames, self.config.frames))

    def take(self, place: int, frames: Sequence[int] | np.ndarray = (0,)) -> EncodedClip:
        """Give some frames of a stored clip."""
        shard, row = divmod(place, self.store.shard)
        if shard not in self._open:
            self._open[shard] = safe_open(_beside(self.store.paths[shard]), "pt")
        arrays, index = self._open[shard], torch.as_tensor(frames)
        mean, std, cells = (
            arrays.get_slice(name)[row][index].float() for name in ("mean", "std", "cells")
        )
        description, captions = self.store.said(place)
        single = single_captions(captions, self.config.kinds)
        return EncodedClip(mean, std, cells, description, [each.text for each in single])
