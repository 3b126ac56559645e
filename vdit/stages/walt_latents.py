"""WALT, stage 2: the latents of rendered clips on disk, of whole clips and of their frames alone.

V-WALT and I-WALT read the same files, so they see the same frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vdit.atomic import replace_when_complete
from vdit.backbone_loading.walt import WEIGHTS, load_video_tokenizer
from vdit.models.backbones.walt_tokenizer import VideoTokenizer
from vdit.stages.clips import ClipConfig, ClipExample, collate_examples, videos_of
from vdit.stages.mixed_clips import MixedClips
from vdit.stages.video_tokenizer import PART

FOLDER = "latents"
SEEDS = {"train": 31, "held_out": 32}
"""Split -> seed of its clips."""


@dataclass(frozen=True)
class LatentsConfig:
    """Which clips are encoded.

    Attributes:
        data: clips of 1 + 4 n frames.
        recipes: of the clips, in turn; none = that of `data`.
        train: clips to train on.
        held_out: clips to measure on.
        still_every: every how many frames one is encoded alone as well.
        shard: clips of a file.
        workers: processes that render; 0 = this one.
    """

    data: ClipConfig = field(default_factory=ClipConfig)
    recipes: list[str] = field(default_factory=list)
    train: int = 4000
    held_out: int = 256
    still_every: int = 1
    shard: int = 50
    workers: int = 1


@dataclass
class LatentClip:
    """One clip.

    Attributes:
        clip: [T', C, h, w] normalized latents of the whole.
        stills: [S, C, h, w] normalized latents of single frames.
        description: everything in the clip in one line.
        captions: sentences, each about one object.
    """

    clip: Tensor
    stills: Tensor
    description: str
    captions: list[str]


def write_latents(config: LatentsConfig, folder: Path) -> None:
    """Fill `latents/` of the model folder; finished files are kept.

    Raises:
        ValueError: there is no tokenizer yet, or files of other clips or another tokenizer.
    """
    tokenizer = load_video_tokenizer(folder / PART)
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    _expect_same(target / "config.json", _describe(config, folder))
    for split, count in (("train", config.train), ("held_out", config.held_out)):
        clips = MixedClips(config.data, config.recipes, SEEDS[split])
        for shard in range(-(-count // config.shard)):
            path = target / f"{split}-{shard:05d}.safetensors"
            if path.is_file():
                continue
            first = shard * config.shard
            chosen = range(first, min(first + config.shard, count))
            _write_shard(path, _rendered(clips, chosen, config.workers), tokenizer, config)


def _rendered(clips: MixedClips, chosen: range, workers: int) -> Iterator[list[ClipExample]]:
    keys = [[index] for index in chosen]
    yield from DataLoader(
        clips, batch_sampler=keys, num_workers=workers, collate_fn=collate_examples
    )


def _write_shard(
    path: Path,
    batches: Iterator[list[ClipExample]],
    tokenizer: VideoTokenizer,
    config: LatentsConfig,
) -> None:
    """Encode some clips, one at a time; sentences go into the header of the file."""
    clips, stills, sentences = [], [], []
    for batch in batches:
        pixels = 2 * videos_of(batch) - 1
        with torch.no_grad():
            clips.append(tokenizer.encode(pixels)[0].half())
            alone = pixels[0, :: config.still_every, None]
            stills.append(tokenizer.encode(alone)[0][:, 0][None].half())
        sentences.append({"description": batch[0].description, "captions": batch[0].captions})
    tensors = {"clips": torch.cat(clips), "stills": torch.cat(stills)}
    with replace_when_complete(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    with replace_when_complete(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(sentences))


def _describe(config: LatentsConfig, folder: Path) -> dict[str, Any]:
    """Say what the latents depend on, but for how many there are."""
    content = asdict(config)
    for name in ("train", "held_out", "workers"):
        del content[name]
    del content["data"]["first"]  # of clips that are drawn here there is no other choice
    weights = (folder / PART / WEIGHTS).read_bytes()
    return content | {"tokenizer": sha256(weights).hexdigest()}


def _expect_same(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1) + "\n"
    if path.is_file() and path.read_text() != text:
        raise ValueError(
            f"expected latents of this configuration and tokenizer in {path.parent}, found others; "
            "remove the folder"
        )
    with replace_when_complete(path) as temporary:
        temporary.write_text(text)


class LatentClips(Dataset[LatentClip]):
    """The clips of a split, all in memory at half precision; indexed by (epoch, index).

    Args:
        folder: the model folder with tokenizer and latents.
        split: "train" or "held_out".

    Raises:
        ValueError: there are none.
    """

    def __init__(self, folder: Path, split: str) -> None:
        files = sorted((folder / FOLDER).glob(f"{split}-*.safetensors"))
        if not files:
            raise ValueError(
                f"expected latents of an earlier stage in {folder / FOLDER}, found none; train the "
                "tokenizer and write the latents first"
            )
        self.split = split
        self.config = _data_of(folder)
        self.tokenizer = load_video_tokenizer(folder / PART)
        shards = [load_file(file) for file in files]
        self.clips = torch.cat([shard["clips"] for shard in shards])
        self.stills = torch.cat([shard["stills"] for shard in shards])
        texts = [json.loads(file.with_suffix(".json").read_text()) for file in files]
        self.sentences = [sentence for text in texts for sentence in text]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: tuple[int, int]) -> LatentClip:
        _, index = key
        normal = self.tokenizer.normalize
        return LatentClip(
            clip=normal(self.clips[index].float()[None])[0],
            stills=normal(self.stills[index].float()[:, None])[:, 0],
            **self.sentences[index],
        )

    def render(self, index: int) -> Tensor:
        """Render the frames of a clip again, [T, 3, H, W] uint8."""
        recipes, data = self.config["recipes"], ClipConfig(**self.config["data"])
        return MixedClips(data, recipes, SEEDS[self.split])[index].video


def _data_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FOLDER / "config.json").read_text())
