"""Cityscapes: the class of every pixel in one frame of each snippet of a drive through a city.

    gtFine/<split>/<city>/<name>_gtFine_labelTrainIds.png    0..18 and 255 = void, where it is there
    gtFine/<split>/<city>/<name>_gtFine_labelIds.png         0..33, mapped to the former otherwise

`labelTrainIds` are not in the published archive: scripts of the owners make them. Frames are those
of `vdit.datasets.cityscapes_files`.

Reference: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdit.datasets.checking import Benchmark
from vdit.datasets.cityscapes_files import AFTER, BEFORE, PAGES, list_snippets, published_counts
from vdit.datasets.findings import Findings
from vdit.datasets.frame_sources import picture_header
from vdit.datasets.labelled_videos import VOID, LabelledVideo
from vdit.datasets.mask_sources import expect_size
from vdit.datasets.videos import VideoDataset
from vdit.masks import read_mask_png

__all__ = ["CITYSCAPES", "CLASSES", "TRAIN_IDS", "CityscapesLabels", "read_cityscapes"]

CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""The 19 classes that are evaluated, in the order of their train ids."""

_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
TRAIN_IDS = np.full(34, VOID, dtype=np.uint8)
"""Train id of each labelId 0..33; all others than those of `CLASSES` are void."""
TRAIN_IDS[list(_EVALUATED)] = np.arange(len(CLASSES))

_SPLITS = ("train", "val")
_TRAIN, _ALL = "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"


@dataclass(frozen=True)
class CityscapesLabels:
    """Train ids of one frame.

    Attributes:
        folder: of the pictures of its city.
        name: of the frame.
    """

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """The picture that is read; that of the labelIds where there are no train ids."""
        train = self.folder / f"{self.name}{_TRAIN}"
        return train if train.exists() else self.folder / f"{self.name}{_ALL}"

    def read_labels(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Decode the train ids [H, W] uint8, 255 = void; see `LabelledVideo.labels`."""
        path = self.path
        labels = read_mask_png(path)
        is_train = path.name.endswith(_TRAIN)
        what = "train ids 0..18 and 255" if is_train else "labelIds 0..33"
        known = (labels < len(CLASSES)) | (labels == VOID) if is_train else labels < len(TRAIN_IDS)
        if not known.all():
            raise ValueError(
                f"{path} holds {labels[~known][0]}, expected {what}; take the pictures of gtFine"
            )
        expect_size(path, labels.shape, size)
        return labels if is_train else TRAIN_IDS[labels]

    def inspect(
        self, indices: Sequence[int], object_ids: Sequence[int], findings: Findings
    ) -> tuple[int, int] | None:
        """Read the header of the picture."""
        if not self.path.is_file():
            findings.add("masks are missing", self.path)
            return None
        try:
            size, mode = picture_header(self.path)
        except ValueError:
            findings.add("masks cannot be read as pictures", self.path)
            return None
        if mode not in ("L", "P"):
            findings.add(f"masks are of mode {mode}, expected gray of 8 bits", self.path)
        return size


def read_cityscapes(
    root: Path, split: str = "val", *, before: int = BEFORE, after: int = AFTER
) -> VideoDataset[LabelledVideo]:
    """Read the snippets of one split, of which one frame has labels.

    Where leftImg8bit_sequence is not there, videos are the single frames of leftImg8bit, and the
    note of the data set says so. Labels are train ids, positions in `classes`; 0 is the road, and
    255 is void. The labels of the test split are not published.

    Args:
        root: folder that holds gtFine.
        split: "train" or "val".
        before: frames of a snippet before the one with labels; the published ones have 19.
        after: frames after it; the published ones have 10.

    Raises:
        ValueError: an unknown split, no labels, or names that have not the published form.
    """
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_SPLITS)}")
    root = Path(root)
    snippets, note = list_snippets(root, split, "gtFine", (_ALL, _TRAIN), before, after)
    videos = tuple(
        LabelledVideo(
            dataset="cityscapes",
            split=split,
            name=snippet.name,
            frame_source=snippet.frames,
            label_source=CityscapesLabels(root / "gtFine" / split / snippet.city, snippet.name),
            labelled=(snippet.labelled,),
        )
        for snippet in snippets
    )
    return VideoDataset("cityscapes", split, videos, note, CLASSES)


CITYSCAPES = Benchmark(
    name="cityscapes",
    splits=_SPLITS,
    list_path=lambda root, split: Path(root) / "gtFine" / split,
    read=read_cityscapes,
    published=PAGES,
    counts={"train": published_counts(2975), "val": published_counts(500)},
)
