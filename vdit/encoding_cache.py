"""Encodings of a whole data set on disk, for training and inference that no pixel changes.

What a backbone computes before any sentence (posterior of the latents, never a sample; the VAE's
stride-4 features; image tokens) depends on the frames and their size only. Mirror images can be
stored beside the frames; no other change of pixels can be expressed. What is read is bit for bit
what the backbone computes for the same group of frames; networks that take other frames at once
round differently in the last bits.

    <folder>/cache.json                     what the encodings depend on
    <folder>/frames/<video>/                see `vdit.encoding_files`
    <folder>/mirrored/<video>/              the same of mirror images
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from vdit.atomic import replace_when_complete
from vdit.clip_encoding import pad_frames
from vdit.encoding_files import EXACT, INDEX_FILE, STORAGES, StoredVideo, write_encodings
from vdit.fingerprint import fingerprint
from vdit.frame_sizes import output_size
from vdit.models.backbones.base import Backbone, Encoded
from vdit.segment_frames import resize_frame

RECIPE_FILE = "cache.json"
FRAMES, MIRRORED = "frames", "mirrored"


@dataclass(frozen=True)
class CacheRecipe:
    """What stored encodings depend on.

    Attributes:
        dataset: name of the data set.
        split: part of it.
        short_side: pixels that frames are resized to.
        long_side: pixels that the long side may have; None = any number.
        multiple: of which the padded sides are multiples: 16 for inference, 32 for training.
        encoder: fingerprint of the networks, see `describe_encoder`.
        storage: one of `vdit.encoding_files.STORAGES`.
        mirrored: mirror images are stored, too.
    """

    dataset: str
    split: str
    short_side: int
    long_side: int | None
    multiple: int
    encoder: str
    storage: str = EXACT
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise ValueError(f"expected storage among {', '.join(STORAGES)}; got {self.storage!r}")
        if self.multiple < 1:
            raise ValueError(f"expected multiple >= 1, got {self.multiple}")


class CachedFrames(Protocol):
    """Frames of one video: see `vdit.datasets.referring.ReferringSample`."""

    @property
    def frame_names(self) -> tuple[str, ...]: ...
    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray: ...


def describe_encoder(backbone: Backbone) -> str:
    """Give a fingerprint of every weight and setting that `Backbone.encode` depends on."""
    return fingerprint(backbone.encoding_weights().items(), backbone.encoding_settings())


class EncodingCache:
    """Stored encodings of a data set.

    Args:
        folder: that `store_encodings` filled.

    Raises:
        ValueError: there is no cache.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.recipe = CacheRecipe(**json.loads((self.folder / RECIPE_FILE).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"expected stored encodings in {folder}, found no {RECIPE_FILE} that can be read; "
                "write them with `vdit cache`"
            ) from error

    def check(self, wanted: CacheRecipe) -> None:
        """Refuse a cache of other data, another size or another encoder.

        Storage and mirror images may differ.

        Raises:
            ValueError: a field differs; the sentence names it.
        """
        for name in ("dataset", "split", "short_side", "long_side", "multiple", "encoder"):
            found, expected = getattr(self.recipe, name), getattr(wanted, name)
            if found != expected:
                what = "weights or settings of the encoder" if name == "encoder" else name
                raise ValueError(
                    f"the encodings in {self.folder} were stored with {what} {found!r}, expected "
                    f"{expected!r}; run `vdit cache` for this model and configuration"
                )

    def video(self, name: str, mirrored: bool = False) -> StoredVideo:
        """Encodings of one video, or of its mirror image.

        Raises:
            ValueError: they are not stored.
        """
        if mirrored and not self.recipe.mirrored:
            raise ValueError(
                f"{self.folder} holds no mirror images; run `vdit cache` with --mirrored"
            )
        return StoredVideo(self.folder / (MIRRORED if mirrored else FRAMES) / name)

    def read_clips(self, clips: Sequence[tuple[str, Sequence[int], bool]]) -> Encoded:
        """Read a batch of clips for training.

        Args:
            clips: video, numbers of T frames, and whether they are mirrored, B times.

        Returns:
            [B, T, ...], as the backbone encodes the batch.

        Raises:
            ValueError: a frame is not stored, or clips differ in size or length.
        """
        parts = [self.video(name, mirrored).read(numbers) for name, numbers, mirrored in clips]
        kinds = {(part.size, part.num_frames) for part in parts}
        if len(kinds) != 1:
            raise ValueError(
                f"stored clips differ in size or length: {sorted(kinds)}; a batch of them would be "
                "padded, which the encodings are not; use one clip a batch"
            )
        return stack_clips(parts)

    def verify(self) -> Iterator[str]:
        """Read everything; yield a sentence for each frame that cannot be read."""
        for index in sorted(self.folder.rglob(INDEX_FILE)):
            yield from StoredVideo(index.parent).verify()


def stack_clips(parts: Sequence[Encoded]) -> Encoded:
    """Join encodings [1, T, ...] of several clips of one size to [B, T, ...]."""
    first = parts[0]
    logvars = [part.latent_logvar for part in parts if part.latent_logvar is not None]
    tokens = [part.image_tokens for part in parts if part.image_tokens is not None]
    return Encoded(
        size=first.size,
        latent_mean=torch.cat([part.latent_mean for part in parts]),
        latent_logvar=torch.cat(logvars) if logvars else None,
        skips={stride: torch.cat([part.skips[stride] for part in parts]) for stride in first.skips},
        image_tokens=torch.cat(tokens) if tokens else None,
    )


def store_encodings(
    backbone: Backbone,
    videos: Mapping[str, tuple[CachedFrames, Sequence[int]]],
    folder: str | Path,
    recipe: CacheRecipe,
    *,
    frames_per_shard: int = 64,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[list[str]], Iterable[str]] = iter,
) -> EncodingCache:
    """Encode this process's share of a data set; what an earlier run finished is kept.

    Args:
        backbone: in eval mode.
        videos: frames of each video, and numbers of those that are wanted.
        folder: for the cache.
        recipe: sizes and storage; it must describe `backbone`.
        frames_per_shard: frames in a file.
        share: (rank, number of processes); this process takes every so many-th video.
        progress: iterates over the videos of this process.

    Raises:
        ValueError: the folder holds encodings of another recipe; the disk is too small; frames
            cannot be read.
    """
    folder = Path(folder)
    if frames_per_shard < 1:
        raise ValueError(f"expected frames_per_shard >= 1, got {frames_per_shard}")
    _claim(folder, recipe)
    rank, world_size = share
    mine = list(videos)[rank::world_size]
    digest = json.dumps(asdict(recipe), sort_keys=True)
    device = next(backbone.parameters()).device
    left = sum(len(videos[name][1]) for name in mine) * (1 + recipe.mirrored)
    for name in progress(mine):
        frames, numbers = videos[name]
        for kind in (FRAMES, MIRRORED) if recipe.mirrored else (FRAMES,):

            def encode(wanted: Sequence[int], kind: str = kind) -> Encoded:
                pictures = frames.frames(wanted)  # noqa: B023
                return _encode(backbone, pictures, recipe, device, kind == MIRRORED)

            target = folder / kind / name
            if not _holds(target, numbers):
                write_encodings(
                    target,
                    numbers,
                    encode,
                    recipe=digest,
                    storage=recipe.storage,
                    frames_per_shard=frames_per_shard,
                )
                _expect_space(target, len(numbers), left)
            left -= len(numbers)
    return EncodingCache(folder)


def _claim(folder: Path, recipe: CacheRecipe) -> None:
    """Write the recipe, or compare with the one that is there."""
    path = folder / RECIPE_FILE
    if not path.exists():
        with replace_when_complete(path) as partial:
            partial.write_text(json.dumps(asdict(recipe), indent=2) + "\n")
    found = EncodingCache(folder)
    found.check(recipe)
    if found.recipe != recipe:
        raise ValueError(
            f"{folder} holds encodings with storage {found.recipe.storage} and "
            f"mirrored={found.recipe.mirrored}, expected {recipe.storage} and {recipe.mirrored}; "
            "pass another folder"
        )


def _holds(folder: Path, numbers: Sequence[int]) -> bool:
    try:
        return set(numbers) <= set(StoredVideo(folder).numbers)
    except ValueError:  # no index, or a damaged one: what it lists is looked at again
        return False


@torch.inference_mode()
def _encode(
    backbone: Backbone,
    frames: np.ndarray,
    recipe: CacheRecipe,
    device: torch.device,
    mirrored: bool,
) -> Encoded:
    height, width = frames.shape[1:3]
    size = output_size((height, width), recipe.short_side, recipe.long_side)
    resized = np.stack([resize_frame(frame, size) for frame in frames])
    if mirrored:
        resized = np.ascontiguousarray(resized[:, :, ::-1])
    pixels = pad_frames(torch.from_numpy(resized).to(device), recipe.multiple)
    return backbone.encode(pixels[None])


def _expect_space(folder: Path, num_frames: int, num_left: int) -> None:
    """Refuse to fill a disk that cannot hold the rest, judged by a video that was written."""
    written = sum(path.stat().st_size for path in folder.iterdir())
    needed = written / num_frames * (num_left - num_frames)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"the encodings of {num_left - num_frames} more frames need about "
            f"{needed / 1e9:.1f} GB, and the disk of {folder} has {free / 1e9:.1f} GB left; pass "
            "another one, or --storage float16; what is there is kept"
        )
