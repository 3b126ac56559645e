"""DAVIS without frames: the true masks of its sequences, which is what scores need.

    Annotations/480p/<sequence>/%05d.png                palette of ids, or gray 0 and 255
    Annotations_unsupervised/480p/<sequence>/%05d.png   of the unsupervised task, where it is there
    ImageSets/{2016,2017}/{train,val}.txt               may be absent: then all sequences

References: Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv:1704.00675;
Caelles et al., arXiv:1905.00737.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdit.datasets.annotation_files import read_text
from vdit.datasets.frame_sources import picture_header
from vdit.datasets.mask_sources import LabelPictures, expect_size
from vdit.masks import read_mask_png

__all__ = ["DavisSequence", "read_davis_masks"]

_RESOLUTION = "480p"
_EVERY = "all"
_VOID = 255


@dataclass(frozen=True)
class DavisSequence:
    """The truth of one sequence.

    Attributes:
        name: of the sequence.
        pictures: its masks; their names are those of the frames.
    """

    name: str
    pictures: LabelPictures

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the frames without extension, in order."""
        return self.pictures.names

    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return picture_header(self.pictures.path(0))[0]

    def read_labels(self) -> np.ndarray:
        """Decode the ids of the objects [T, H, W] uint8; 0 = background, 255 = void.

        Raises:
            ValueError: a picture is damaged, of another size, or holds 0 and 255 in gray.
        """
        return self.pictures.read_all_labels(self.size())

    def read_foreground(self) -> np.ndarray:
        """Decode the union of all objects [T, H, W] bool; void pixels of a palette are background.

        Raises:
            ValueError: a picture is damaged or of another size.
        """
        size = self.size()
        masks = np.empty((len(self.frame_names), *size), dtype=bool)
        for t, mask in enumerate(masks):
            path = self.pictures.path(t)
            labels = read_mask_png(path)
            expect_size(path, labels.shape, size)
            mask[:] = labels > 0
            if picture_header(path)[1] == "P":
                mask &= labels != _VOID
        return masks


def read_davis_masks(
    root: Path, split: str | None = None, year: int = 2017, unsupervised: bool = False
) -> tuple[str, list[DavisSequence]]:
    """List the sequences of one split; pictures are opened later.

    Args:
        root: folder that holds Annotations/.
        split: "train", "val", or "all" that have masks; None = "val" where its list is there, else
            "all".
        year: whose list, 2016 (one object) or 2017 (several).
        unsupervised: take the masks of the unsupervised task where they are there.

    Returns:
        The split and its sequences.

    Raises:
        ValueError: a list or the folder of masks is missing, or a sequence has no masks.
    """
    root = Path(root)
    folder = root / "Annotations_unsupervised" / _RESOLUTION
    if not unsupervised or not folder.is_dir():
        folder = root / "Annotations" / _RESOLUTION
    if not folder.is_dir():
        raise ValueError(f"{folder} does not exist, expected the masks of DAVIS; check the root")
    lists = root / "ImageSets" / str(year)
    if split is None:
        split = "val" if (lists / "val.txt").exists() else _EVERY
    if split == _EVERY:
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    else:
        names = read_text(lists / f"{split}.txt").split()
    if not names:
        raise ValueError(f"{root} has no sequence in {split}, expected at least one")
    sequences = []
    for name in names:
        frames = tuple(sorted(path.stem for path in (folder / name).glob("*.png")))
        if not frames:
            raise ValueError(f"{folder / name} holds no mask, expected one a frame; copy it again")
        sequences.append(DavisSequence(name, LabelPictures(folder / name, frames)))
    return split, sequences
