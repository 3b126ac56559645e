"""Rendered clips on disk: drawing them once is cheaper than in every step of every stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from vdit.atomic import replace_when_complete
from vdit.datasets.synthetic.clip import Caption
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import annotate, render_frames
from vdit.datasets.synthetic.scene import VERSION
from vdit.masks import masks_to_boxes_xyxy
from vdit.stages.clips import (
    FIRST_TRAINING_SEED,
    ClipConfig,
    ClipExample,
    TrainingClips,
    choose_captions,
    choose_frames,
    describe,
    draw_absent,
    example_of,
    single_captions,
)

CONFIG = "config.json"
MOST_TRIES = 1000


@dataclass(frozen=True)
class StoreConfig:
    """Which clips are drawn.

    Attributes:
        name: of the set; stages read it as `data.stored`.
        data: what they look like; `first`, `captions`, `absent` and `kinds` are chosen when they
            are read.
        count: clips.
        seed: another seed gives other clips.
        shard: clips of a file.
        workers: processes that render; 0 = this one.
    """

    name: str = "clips"
    data: ClipConfig = field(default_factory=ClipConfig)
    count: int = 4000
    seed: int = 41
    shard: int = 250
    workers: int = 2


@dataclass(frozen=True)
class StoredClip:
    """One clip, as `vdit.datasets.synthetic.clip.Annotation` where stages look at it.

    Attributes:
        frames: [T, H, W, 3] uint8.
        instances: [T, H, W] uint8; k = object k - 1 is visible there, 0 = background.
        description: everything in the clip in one line.
        names: (category, color) of each object.
        captions: sentences about the clip.
    """

    frames: np.ndarray
    instances: np.ndarray
    description: str
    names: tuple[tuple[str, str], ...]
    captions: tuple[Caption, ...]

    @cached_property
    def masks(self) -> np.ndarray:
        """The visible part of each object, [N, T, H, W] bool."""
        index = np.arange(1, len(self.names) + 1, dtype=np.uint8)
        return self.instances[None] == index[:, None, None, None]

    @cached_property
    def boxes_xyxy(self) -> np.ndarray:
        """Boxes around the visible parts, [N, T, 4] float32 in pixels; zeros where invisible."""
        boxes = [masks_to_boxes_xyxy(masks) for masks in self.masks]
        return np.stack(boxes).astype(np.float32)


def store_folder(folder: Path, name: str) -> Path:
    """Say where the set of a model folder is."""
    return folder.parent / f"{folder.name}-clips" / name


def write_clips(config: StoreConfig, folder: Path) -> None:
    """Draw the clips into the folder beside the model's; finished files are kept.

    Raises:
        ValueError: there are files of other clips.
    """
    target = store_folder(folder, config.name)
    target.mkdir(parents=True, exist_ok=True)
    _expect_same(target / CONFIG, _describe(config))
    for shard in range(-(-config.count // config.shard)):
        path = target / f"{shard:05d}.safetensors"
        if path.is_file():
            continue
        first = shard * config.shard
        chosen = range(first, min(first + config.shard, config.count))
        _write_shard(path, _rendered(config, chosen))


def _describe(config: StoreConfig) -> dict[str, Any]:
    """Name all that the files depend on."""
    facts = asdict(config)
    del facts["workers"]
    for later in ("stored", "first", "captions", "absent", "kinds"):
        del facts["data"][later]
    return {"renderer": VERSION, **facts}


def _expect_same(path: Path, facts: dict[str, Any]) -> None:
    if not path.is_file():
        with replace_when_complete(path) as temporary:
            temporary.write_text(json.dumps(facts, indent=1) + "\n")
    elif json.loads(path.read_text()) != facts:
        raise ValueError(
            f"expected the clips of this configuration in {path.parent}, found others; remove the "
            "folder, or give the set another name"
        )


class _Renderings(Dataset[StoredClip]):
    def __init__(self, config: StoreConfig) -> None:
        self.config = config

    def __getitem__(self, index: int) -> StoredClip:
        config = self.config.data
        rng = np.random.default_rng((self.config.seed, index, 11))
        seed = FIRST_TRAINING_SEED + int(rng.integers(2**31))
        scene = make_scene(config.recipe, seed, config.rendered, config.height, config.width)
        clip = annotate(scene, config.per_kind)
        frames = choose_frames(rng, config.rendered, config.frames)
        return StoredClip(
            frames=render_frames(scene, frames.tolist()),
            instances=clip.instances[frames],
            description=describe(clip),
            names=tuple((spec.category, spec.color) for spec in scene.objects),
            captions=clip.captions,
        )


def _rendered(config: StoreConfig, chosen: range) -> Iterator[StoredClip]:
    loader = DataLoader(
        _Renderings(config),
        sampler=chosen,
        batch_size=None,
        num_workers=config.workers,
        collate_fn=_as_it_is,
    )
    yield from loader


def _as_it_is(clip: Any) -> Any:
    return clip


def _write_shard(path: Path, clips: Iterator[StoredClip]) -> None:
    """Write some clips; what is said about them goes into a JSON file beside their pixels."""
    frames, instances, sentences = [], [], []
    for clip in clips:
        frames.append(torch.from_numpy(clip.frames))
        instances.append(torch.from_numpy(clip.instances))
        sentences.append(
            {
                "description": clip.description,
                "names": clip.names,
                "captions": [asdict(caption) for caption in clip.captions],
            }
        )
    with replace_when_complete(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(sentences))
    tensors = {"frames": torch.stack(frames), "instances": torch.stack(instances)}
    with replace_when_complete(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


class ClipStore:
    """Clips that `write_clips` drew.

    Args:
        folder: of the set.
        first: only so many clips from its beginning; 0 = all.

    Raises:
        ValueError: there is none, it is not complete, or it holds fewer than `first`.
    """

    def __init__(self, folder: Path, first: int = 0) -> None:
        if not (folder / CONFIG).is_file():
            raise ValueError(
                f"expected rendered clips in {folder}, found none; run the stage `clips` first"
            )
        facts = json.loads((folder / CONFIG).read_text())
        self.count: int = facts["count"]
        self.shard: int = facts["shard"]
        self.num_frames: int = facts["data"]["frames"]
        self.paths = [
            folder / f"{shard:05d}.safetensors" for shard in range(-(-self.count // self.shard))
        ]
        for path in self.paths:
            if not path.is_file():
                raise ValueError(
                    f"expected {self.count} clips in {folder}, {path.name} is missing; run the "
                    "stage `clips` again, it goes on where it stopped"
                )
        if not 0 <= first <= self.count:
            raise ValueError(
                f"expected data.first to be 0 (all clips) to {self.count} with {folder}, got "
                f"{first}; take fewer clips, or draw more in the stage `clips`"
            )
        self.first = first or self.count
        self._open: dict[int, Any] = {}
        self._said: dict[int, list[dict[str, Any]]] = {}

    def __len__(self) -> int:
        return self.first

    def end_of(self, shard: int) -> int:
        """Give the index after the last clip of a shard."""
        return min((shard + 1) * self.shard, self.count)

    def __getitem__(self, index: int) -> StoredClip:
        shard, place = divmod(index, self.shard)
        if shard not in self._open:
            self._open[shard] = safe_open(self.paths[shard], "numpy")
        pixels = self._open[shard]
        description, captions = self.said(index)
        return StoredClip(
            frames=pixels.get_slice("frames")[place],
            instances=pixels.get_slice("instances")[place],
            description=description,
            names=tuple((name, color) for name, color in self._said[shard][place]["names"]),
            captions=captions,
        )

    def said(self, index: int) -> tuple[str, tuple[Caption, ...]]:
        """Give the description and the captions of a clip without reading its pixels."""
        shard, place = divmod(index, self.shard)
        if shard not in self._said:
            self._said[shard] = json.loads(self.paths[shard].with_suffix(".json").read_text())
        said = self._said[shard][place]
        captions = (
            Caption(**{**caption, "objects": tuple(caption["objects"])})
            for caption in said["captions"]
        )
        return said["description"], tuple(captions)


class StoredClips(Dataset[ClipExample]):
    """Training examples of stored clips: index -> example, the same for the same index.

    Args:
        config: what is taken of a clip.
        store: the clips.
        seed: another seed takes other clips, frames and sentences.
    """

    def __init__(self, config: ClipConfig, store: ClipStore, seed: int) -> None:
        self.config = config
        self.store = store
        self.seed = seed

    def __getitem__(self, index: int) -> ClipExample:
        config = self.config
        rng = np.random.default_rng((self.seed, index, 13))
        for _ in range(MOST_TRIES):  # few clips have no sentence about one object that is seen
            clip = self.store[int(rng.integers(len(self.store)))]
            frames = choose_frames(rng, len(clip.frames), config.frames)
            single = single_captions(clip.captions, config.kinds)
            chosen = choose_captions(rng, clip, single, frames, config.captions)
            if chosen or not config.captions:
                break
        else:
            raise ValueError(
                f"expected a sentence about one object of {', '.join(config.kinds)} in one of "
                f"{MOST_TRIES} clips, found none; take more kinds, or more clips by data.first"
            )
        chosen += draw_absent(rng, clip.names, config.absent)
        return example_of(clip, frames, clip.frames[frames], clip.description, chosen)


def open_clips(config: ClipConfig, folder: Path, seed: int) -> Dataset[ClipExample]:
    """Give clips for a stage: those that it names of the model folder's, or drawn when needed."""
    if not config.stored:
        if config.first:
            raise ValueError(
                f"expected data.stored beside data.first, got only data.first={config.first}; name "
                "a set of stored clips"
            )
        return TrainingClips(config, seed)
    return StoredClips(config, ClipStore(store_folder(folder, config.stored), config.first), seed)
