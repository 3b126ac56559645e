"""JHMDB-Sentences: one actor and one sentence a video, three frames of each are samples.

    jhmdb_sentences_samples_metadata.json         [video, frame, mask file, number of frames, text]
    Rename_Images/<action>/<video>/%05d.png       from 00001
    puppet_mask/<action>/<video>/puppet_mask.mat  part_mask [H, W, T]

Paths in the list begin at a folder of its authors, ".../jhmdb_sentences/"; what follows is taken
below the root. All samples serve for evaluation.

References: Jhuang et al., ICCV 2013; Gavrilyuk et al., CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from vdit.datasets.annotation_files import read_json
from vdit.datasets.checking import Benchmark
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.mask_sources import expect_size
from vdit.datasets.referring import ReferringDataset, ReferringSample

__all__ = ["JHMDB", "PuppetMask", "read_jhmdb"]

_NAME = "jhmdb"
_SPLITS = ("test",)
_ACTOR = 1
_ROOT_OF_AUTHORS = "jhmdb_sentences/"


@dataclass(frozen=True)
class PuppetMask:
    """Masks of the actor of one video in a MATLAB file; it may hold fewer than there are frames.

    Attributes:
        path: of puppet_mask.mat.
    """

    path: Path

    def _load(self) -> np.ndarray:
        """part_mask [H, W, T]."""
        if not self.path.is_file():
            raise ValueError(f"{self.path} does not exist; run `vdit data check`")
        try:
            masks = np.asarray(scipy.io.loadmat(self.path)["part_mask"])
        except KeyError as error:
            raise ValueError(f"{self.path} has no part_mask; it is another file") from error
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{self.path} cannot be read ({error}); copy it again") from error
        return masks if masks.ndim == 3 else masks[..., None]

    def read(
        self, indices: Sequence[int], object_ids: Sequence[int], size: tuple[int, int]
    ) -> np.ndarray:
        """Decode masks; see `ReferringSample.masks`."""
        part_mask = self._load()
        expect_size(self.path, part_mask.shape[:2], size)
        if max(indices) >= part_mask.shape[2]:
            raise ValueError(
                f"{self.path} has {part_mask.shape[2]} masks, none of frame {max(indices) + 1}; "
                "take a labelled frame"
            )
        return part_mask[:, :, list(indices)].transpose(2, 0, 1)[None] > 0

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Load the file once."""
        if not self.path.is_file():
            findings.add("masks are missing", self.path)
            return None
        try:
            part_mask = self._load()
        except ValueError:
            findings.add("masks cannot be read", self.path)
            return None
        if indices and max(indices) >= part_mask.shape[2]:
            findings.add("labelled frames have no mask", f"{self.path}: frame {max(indices) + 1}")
        return int(part_mask.shape[0]), int(part_mask.shape[1])


def read_jhmdb(root: Path, split: str = "test") -> ReferringDataset:
    """Read the list of samples; a sample is a frame of a video, with all frames around it.

    The expression is "f_<frame>", counted from 1, so that the truth in COCO's form calls a sample
    v_<video>_<expression>.

    Args:
        root: folder jhmdb_sentences, or the one that holds it.
        split: "test", as there is no other.

    Raises:
        ValueError: another split; the list is missing, damaged or empty.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, {_NAME} has only 'test'")
    path = _list_path(Path(root), split)
    rows = read_json(path, list)
    if not rows:
        raise ValueError(f"{path} names no sample, expected at least one")
    return ReferringDataset(_NAME, split, tuple(_read_row(path, split, row) for row in rows))


def _list_path(root: Path, split: str) -> Path:
    folder = root / "jhmdb_sentences"
    return (folder if folder.is_dir() else root) / "jhmdb_sentences_samples_metadata.json"


def _read_row(path: Path, split: str, row: Any) -> ReferringSample:
    kinds = (str, str, str, int, str)
    if (
        not isinstance(row, list)
        or len(row) != len(kinds)
        or not all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True))
    ):
        raise ValueError(
            f"{path} holds {str(row)[:80]}, expected [video, frame, masks, number of frames, text]"
        )
    video, frame_path, mask_path, num_frames, text = row
    frame = path.parent / _below_root(frame_path)
    if not frame.stem.isdecimal() or not 1 <= int(frame.stem) <= num_frames:
        raise ValueError(
            f"{path}: {frame_path} is not one of the frames 1 to {num_frames} of {video}"
        )
    names = tuple(f"{number:05d}" for number in range(1, num_frames + 1))
    return ReferringSample(
        dataset=_NAME,
        split=split,
        video=video,
        expression=f"f_{int(frame.stem)}",
        text=text,
        object_ids=(_ACTOR,),
        frame_source=PictureFrames(frame.parent, names, frame.suffix),
        mask_source=PuppetMask(path.parent / _below_root(mask_path)),
        labelled=(int(frame.stem) - 1,),
    )


def _below_root(path: str) -> str:
    return path.rpartition(_ROOT_OF_AUTHORS)[2]


JHMDB = Benchmark(
    name=_NAME,
    splits=_SPLITS,
    list_path=_list_path,
    read=read_jhmdb,
    published=(
        "http://jhmdb.is.tue.mpg.de",
        "https://kgavrilyuk.github.io/publication/actor_action/",
        "https://github.com/mttr2021/MTTR",  # the lists of samples
    ),
    counts={"test": {"published": (928, 2784)}},
)
