"""Encodings of one video in a folder: shards of frames, a checksum a frame, and an index.

A folder holds `00000.safetensors`, `00001.safetensors`, ... with the same number of frames each
(the last one fewer), and `index.json`, which appears when all of them are there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vdit.atomic import replace_when_complete
from vdit.feature_files import converted, write_safetensors
from vdit.fingerprint import tensor_bytes
from vdit.models.backbones.base import Encoded

INDEX_FILE = "index.json"
EXACT = "exact"
STORAGES = (EXACT, "float16", "bfloat16")
"""How skips and image tokens lie on disk; the latents' posterior always is exact."""

_POSTERIOR = ("latent_mean", "latent_logvar")


def write_encodings(
    folder: Path,
    numbers: Sequence[int],
    encode: Callable[[Sequence[int]], Encoded],
    *,
    recipe: str,
    storage: str,
    frames_per_shard: int,
) -> None:
    """Encode frames into a folder; finished shards of an earlier run are kept.

    Args:
        folder: of this video alone.
        numbers: of the frames in their video, all different.
        encode: from numbers of frames to their encodings [1, T, ...].
        recipe: what the encodings depend on.
        storage: one of `STORAGES`.
        frames_per_shard: frames in a file; so many are in memory, too.

    Raises:
        ValueError: a number is too large for float16, or the folder cannot be written.
    """
    shards = []
    for position, first in enumerate(range(0, len(numbers), frames_per_shard)):
        wanted = list(numbers[first : first + frames_per_shard])
        path = folder / f"{position:05d}.safetensors"
        facts = _facts(path)
        if facts is None or (facts["numbers"], facts["recipe"]) != (wanted, recipe):
            encoded = encode(wanted)
            tensors = _stored(encoded, storage)
            facts = {
                "recipe": recipe,
                "numbers": wanted,
                "size": list(encoded.size),
                "dtypes": {name: str(x.dtype) for name, x in _tensors(encoded).items()},
                "checksums": [
                    _checksum({name: x[t] for name, x in tensors.items()})
                    for t in range(len(wanted))
                ],
            }
            write_safetensors(path, tensors, facts)
        shards.append({"name": path.name, **facts})
    with replace_when_complete(folder / INDEX_FILE) as partial:
        partial.write_text(json.dumps({"shards": shards}) + "\n")


class StoredVideo:
    """Encodings of one video, read frame by frame; each frame's checksum is compared.

    Args:
        folder: that `write_encodings` filled.

    Raises:
        ValueError: the folder is not complete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            shards = json.loads((folder / INDEX_FILE).read_text())["shards"]
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"expected encodings in {folder}, found no {INDEX_FILE} that can be read; run "
                "`vdit cache` again, which keeps what is there"
            ) from error
        self.size: tuple[int, int] = (int(shards[0]["size"][0]), int(shards[0]["size"][1]))
        self.dtypes = {n: getattr(torch, d.split(".")[1]) for n, d in shards[0]["dtypes"].items()}
        self._rows = {
            number: (shard["name"], row, shard["checksums"][row])
            for shard in shards
            for row, number in enumerate(shard["numbers"])
        }

    @property
    def numbers(self) -> list[int]:
        """Of the frames that are stored."""
        return list(self._rows)

    def read(self, indices: Sequence[int]) -> Encoded:
        """Read frames by number, in any order and also twice.

        Returns:
            [1, T, ...] on the CPU, in the dtypes that the backbone gave.

        Raises:
            ValueError: a frame is not stored, or its bits changed since.
        """
        frames: dict[int, dict[str, Tensor]] = {}
        for name, rows in self._by_shard(indices).items():
            with _open_shard(self.folder / name) as shard:
                for number, row, checksum in rows:
                    frames[number] = {
                        key: shard.get_slice(key)[row : row + 1] for key in self.dtypes
                    }
                    if _checksum({k: x[0] for k, x in frames[number].items()}) != checksum:
                        raise ValueError(
                            f"{self.folder / name} is damaged: frame {number} has another checksum "
                            "than it was stored with; remove the folder and run `vdit cache` again"
                        )
        tensors = {
            key: torch.cat([frames[number][key] for number in indices])[None].to(dtype)
            for key, dtype in self.dtypes.items()
        }
        return Encoded(
            size=self.size,
            latent_mean=tensors["latent_mean"],
            latent_logvar=tensors.get("latent_logvar"),
            skips={int(k.split("_")[1]): x for k, x in tensors.items() if k.startswith("skip_")},
            image_tokens=tensors.get("image_tokens"),
        )

    def _by_shard(self, indices: Sequence[int]) -> dict[str, list[tuple[int, int, str]]]:
        shards: dict[str, list[tuple[int, int, str]]] = {}
        for number in dict.fromkeys(indices):
            if number not in self._rows:
                raise ValueError(
                    f"{self.folder} holds no encoding of frame {number}; run `vdit cache` with "
                    "--every-frame"
                )
            name, row, checksum = self._rows[number]
            shards.setdefault(name, []).append((number, row, checksum))
        return shards

    def verify(self) -> Iterator[str]:
        """Read everything; yield a sentence for each frame that cannot be read."""
        for number in self._rows:
            try:
                self.read([number])
            except ValueError as error:
                yield str(error)


# ---- tensors of an encoding --------------------------------------------------------------------


def _tensors(encoded: Encoded) -> dict[str, Tensor]:
    """Tensors [1, T, ...] by name."""
    found = {"latent_mean": encoded.latent_mean}
    if encoded.latent_logvar is not None:
        found["latent_logvar"] = encoded.latent_logvar
    found |= {f"skip_{stride}": skip for stride, skip in encoded.skips.items()}
    if encoded.image_tokens is not None:
        found["image_tokens"] = encoded.image_tokens
    return found


def _stored(encoded: Encoded, storage: str) -> dict[str, Tensor]:
    """Tensors [T, ...] by name as they go to disk."""
    tensors = {name: x[0].cpu().contiguous() for name, x in _tensors(encoded).items()}
    if storage == EXACT:
        return tensors
    large = {name: x for name, x in tensors.items() if name not in _POSTERIOR}
    return {**tensors, **converted(large, storage)}


def _checksum(frame: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(frame):
        digest.update(tensor_bytes(frame[name]))
    return digest.hexdigest()[:16]


def _facts(path: Path) -> dict[str, Any] | None:
    """What a shard says of itself; None where there is none that can be read."""
    if not path.is_file():
        return None
    try:
        with _open_shard(path) as shard:
            return json.loads((shard.metadata() or {})["facts"])
    except (ValueError, KeyError):
        return None


def _open_shard(path: Path) -> Any:
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); remove its folder and run `vdit cache` again"
        ) from error
