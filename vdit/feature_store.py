"""Features of videos in folders: shards of feature frames and an index.

A folder holds `00000.safetensors`, `00001.safetensors`, ... with the same number of feature frames
each (the last one fewer), and `index.json`, which appears when all of them are there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vdit.atomic import replace_when_complete
from vdit.feature_files import DTYPES, converted, write_safetensors
from vdit.feature_options import FeatureOptions
from vdit.features import Backbone, FeatureChunk, Video, extract_features

INDEX_FILE = "index.json"
_RECIPE = "recipe"


@dataclass(frozen=True)
class ShardOptions:
    """How features lie on disk.

    Attributes:
        dtype: "float16", "bfloat16" or "float32".
        frames_per_shard: feature frames in a file; so many are in memory, too.
    """

    dtype: str = "float16"
    frames_per_shard: int = 64

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"expected a dtype among {', '.join(DTYPES)}; got {self.dtype!r}")
        if self.frames_per_shard < 1:
            raise ValueError(f"expected frames_per_shard >= 1, got {self.frames_per_shard}")


class FeatureStore:
    """Features of one video in a folder.

    Attributes:
        folder: where they lie.
        facts: what `index.json` says: recipe, blocks, dtype, number of feature frames, spans.

    Raises:
        ValueError: the folder holds no complete features.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.facts = json.loads((self.folder / INDEX_FILE).read_text())
        except (OSError, ValueError) as error:
            raise ValueError(
                f"expected features in {folder}, found no {INDEX_FILE} that can be read; write "
                "them again"
            ) from error

    @property
    def blocks(self) -> list[str]:
        return list(self.facts["shapes"])

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Half-open range of video frames that each feature frame stands for."""
        return [(first, last) for first, last in self.facts["spans"]]

    def stream(self, block: str) -> Iterator[Tensor]:
        """Read one shard after the other: [T', C, h, w] in the stored dtype."""
        if block not in self.facts["shapes"]:
            raise ValueError(f"expected a block among {', '.join(self.blocks)}; got {block!r}")
        for name in self.facts["shards"]:
            with _open_shard(self.folder / name) as shard:
                yield shard.get_tensor(block)

    def read(self, block: str) -> Tensor:
        """Read a whole block: [T', C, h, w] in the stored dtype."""
        return torch.cat(list(self.stream(block)))


def store_features(
    backbone: Backbone,
    video: Video,
    folder: str | Path,
    options: FeatureOptions | None = None,
    shards: ShardOptions | None = None,
    *,
    video_id: str = "",
    source: Mapping[str, Any] | None = None,
) -> FeatureStore:
    """Compute features into a folder; finished shards of an earlier run are kept.

    Args:
        backbone: see `extract_features`.
        video: see `extract_features`.
        folder: of this video alone; created if it is missing.
        options: what to compute.
        shards: how it is stored.
        video_id: see `extract_features`.
        source: what else the features depend on, such as the name of the backbone; JSON.

    Raises:
        ValueError: as `extract_features`; the folder holds features of another recipe or cannot be
            written; a number is too large for float16.
    """
    options, shards, folder = options or FeatureOptions(), shards or ShardOptions(), Path(folder)
    recipe = _recipe(options, shards, video_id, source or {})
    if (folder / INDEX_FILE).is_file():
        store = FeatureStore(folder)
        _check_recipe(store.facts.get(_RECIPE), recipe, folder)
        return store
    done = _finished_shards(folder, recipe)
    start = len(done) * shards.frames_per_shard
    spans: list[tuple[int, int]] = [
        tuple(span) for shard in done for span in _facts_of(shard)["spans"]
    ]
    names = [path.name for path in done]
    pieces = extract_features(backbone, video, options, video_id=video_id, start=start)
    for features, new in _regroup(pieces, shards.frames_per_shard):
        path = folder / _shard_name(len(names))
        facts = {_RECIPE: json.loads(recipe), "spans": new}
        write_safetensors(path, converted(features, shards.dtype), facts)
        spans += new
        names.append(path.name)
    shapes = _shapes_of(folder / names[0])
    index = {
        _RECIPE: json.loads(recipe),
        "dtype": shards.dtype,
        "num_features": len(spans),
        "shapes": {name: [len(spans), *shape[1:]] for name, shape in sorted(shapes.items())},
        "shards": names,
        "spans": spans,
    }
    with replace_when_complete(folder / INDEX_FILE) as partial:
        partial.write_text(json.dumps(index) + "\n")
    return FeatureStore(folder)


def store_videos(
    backbone: Backbone,
    videos: Mapping[str, Video],
    folder: str | Path,
    options: FeatureOptions | None = None,
    shards: ShardOptions | None = None,
    *,
    source: Mapping[str, Any] | None = None,
) -> list[FeatureStore]:
    """Compute features of this process's share of several videos, each into `folder/<name>`.

    Under torchrun the process of rank r of R takes the videos r, r + R, ...; alone it takes all.

    Raises:
        ValueError: as `store_features`; a name is no folder name; RANK and WORLD_SIZE do not fit.
    """
    for name in videos:
        if not name or name in (".", "..") or Path(name).name != name:
            raise ValueError(f"expected names of videos that can be folder names, got {name!r}")
    rank, world_size = rank_and_world_size(os.environ)
    return [
        store_features(
            backbone,
            videos[name],
            Path(folder) / name,
            options,
            shards,
            video_id=name,
            source=source,
        )
        for name in list(videos)[rank::world_size]
    ]


def rank_and_world_size(environment: Mapping[str, str]) -> tuple[int, int]:
    """Read RANK and WORLD_SIZE as torchrun sets them; 0 and 1 without."""
    try:
        rank = int(environment.get("RANK", "0"))
        world_size = int(environment.get("WORLD_SIZE", "1"))
    except ValueError as error:
        raise ValueError(f"expected numbers in RANK and WORLD_SIZE: {error}") from error
    if not 0 <= rank < world_size:
        raise ValueError(f"expected 0 <= RANK < WORLD_SIZE, got {rank} and {world_size}")
    return rank, world_size


# ---- shards ------------------------------------------------------------------------------------


def _regroup(
    pieces: Iterator[FeatureChunk], count: int
) -> Iterator[tuple[dict[str, Tensor], list[tuple[int, int]]]]:
    """Cut pieces of any length into groups of `count` feature frames; the last one is shorter."""
    held: dict[str, Tensor] = {}
    spans: list[tuple[int, int]] = []
    for piece in pieces:
        spans += piece.spans
        held = {
            name: torch.cat([held[name], feature]) if held else feature
            for name, feature in piece.features.items()
        }
        while len(spans) >= count:
            yield {name: feature[:count] for name, feature in held.items()}, spans[:count]
            held = {name: feature[count:].clone() for name, feature in held.items()}
            spans = spans[count:]
    if spans:
        yield held, spans


def _finished_shards(folder: Path, recipe: str) -> list[Path]:
    """List the full shards from the first on; a shorter one may have been the last."""
    done: list[Path] = []
    while (path := folder / _shard_name(len(done))).is_file():
        facts = _facts_of(path)
        _check_recipe(facts.get(_RECIPE), recipe, folder)
        if len(facts["spans"]) < json.loads(recipe)["frames_per_shard"]:
            break
        done.append(path)
    return done


def _recipe(
    options: FeatureOptions, shards: ShardOptions, video_id: str, source: Mapping[str, Any]
) -> str:
    """Everything that stored numbers depend on, as JSON."""
    chosen = {name: value for name, value in asdict(options).items() if name != "batch_size"}
    facts = {"options": chosen, **asdict(shards), "video": video_id, "source": dict(source)}
    return json.dumps(facts, sort_keys=True)


def _check_recipe(found: Any, expected: str, folder: Path) -> None:
    if json.dumps(found, sort_keys=True) != expected:
        raise ValueError(
            f"{folder} holds features of another recipe; pass another folder, or remove this one"
        )


def _shard_name(position: int) -> str:
    return f"{position:05d}.safetensors"


def _open_shard(path: Path) -> Any:
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read ({error}); remove it and run again") from error


def _facts_of(path: Path) -> dict[str, Any]:
    with _open_shard(path) as shard:
        return json.loads((shard.metadata() or {}).get("facts", "{}"))


def _shapes_of(path: Path) -> dict[str, list[int]]:
    with _open_shard(path) as shard:
        return {name: shard.get_slice(name).get_shape() for name in shard.keys()}
