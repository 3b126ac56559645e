"""Where the predictions of each benchmark lie below one folder, the root of its archive.

    ref-youtube-vos     Annotations/<video>/<expression>/<frame>.png    gray, 0 and 255
    mevis               <video>/<expression>/<frame>.png                gray, 0 and 255
    ref-davis           anno_<0..3>/<video>/<frame>.png                 palette, ids of the objects
    davis               <sequence>/<frame>.png                          palette, ids of the objects
    a2d, jhmdb          predictions.json    a list of records
    refcoco, +, g       predictions.json    a list of records
    mot15, 17, 20       <sequence>.txt      rows of boxes with identities

A record is {"image_id", "category_id": 1, "segmentation": COCO run lengths, "score"}, several a
sample where a model gives several masks.
"""

from __future__ import annotations

from pathlib import PurePosixPath

__all__ = [
    "LABEL_DATASETS",
    "MASK_DATASETS",
    "RECORDS_FILE",
    "RECORD_CATEGORY",
    "RECORD_DATASETS",
    "archive_root",
    "labels_path",
    "mask_path",
    "record_id",
    "sequence_path",
    "tracks_path",
]

MASK_DATASETS = ("ref-youtube-vos", "mevis")
"""One mask a sentence and frame."""

LABEL_DATASETS = ("ref-davis",)
"""One map of object ids a frame and annotator."""

RECORD_DATASETS = ("a2d", "jhmdb", "refcoco", "refcoco+", "refcocog")
"""One list of records for the split."""

RECORDS_FILE = "predictions.json"
RECORD_CATEGORY = 1

_MASK_ROOTS = {"ref-youtube-vos": "Annotations", "mevis": ""}


def archive_root(dataset: str) -> str:
    """Folder above the videos of a data set in MASK_DATASETS; "" where there is none.

    >>> archive_root("ref-youtube-vos")
    'Annotations'

    Raises:
        ValueError: the predictions of the data set are no masks of sentences.
    """
    if dataset not in _MASK_ROOTS:
        raise ValueError(
            f"expected a data set among {', '.join(MASK_DATASETS)}, whose predictions are one mask "
            f"a sentence and frame; got {dataset!r}"
        )
    return _MASK_ROOTS[dataset]


def mask_path(dataset: str, video: str, expression: str, frame: str) -> PurePosixPath:
    """Path of the mask of one sentence in one frame, below the folder of predictions.

    Args:
        dataset: one of MASK_DATASETS.
        video: `ReferringSample.video`.
        expression: `ReferringSample.expression`.
        frame: name of the frame without extension.

    Raises:
        ValueError: the predictions of the data set are no masks of sentences.

    >>> str(mask_path("mevis", "0a1b", "12", "00005"))
    '0a1b/12/00005.png'
    """
    return PurePosixPath(archive_root(dataset), video, expression, f"{frame}.png")


def labels_path(annotator: int, video: str, frame: str) -> PurePosixPath:
    """Path of the object ids that Ref-DAVIS17 predicts for one annotator in one frame.

    >>> str(labels_path(3, "blackswan", "00000"))
    'anno_3/blackswan/00000.png'
    """
    return PurePosixPath(f"anno_{annotator}", video, f"{frame}.png")


def sequence_path(video: str, frame: str) -> PurePosixPath:
    """Path of the object ids of one frame of a plain DAVIS prediction.

    >>> str(sequence_path("blackswan", "00000"))
    'blackswan/00000.png'
    """
    return PurePosixPath(video, f"{frame}.png")


def record_id(dataset: str, video: str, expression: str) -> str | int:
    """`image_id` of the records of one sample, as the truth in COCO's form calls it.

    Args:
        dataset: one of RECORD_DATASETS.
        video: `ReferringSample.video`.
        expression: `ReferringSample.expression`.

    Raises:
        ValueError: the predictions of the data set are no records.

    >>> record_id("a2d", "Zy3pFfVt2xk", "f_12_i_0")
    'v_Zy3pFfVt2xk_f_12_i_0'
    >>> record_id("refcoco", "COCO_train2014_000000000009", "17")
    17
    """
    if dataset not in RECORD_DATASETS:
        raise ValueError(
            f"expected a data set among {', '.join(RECORD_DATASETS)}, whose predictions are "
            f"records; got {dataset!r}"
        )
    if dataset.startswith("refcoco"):
        return int(expression)
    return f"v_{video}_{expression}"


def tracks_path(sequence: str) -> PurePosixPath:
    """Path of the boxes of one sequence of MOTChallenge.

    >>> str(tracks_path("MOT17-02-FRCNN"))
    'MOT17-02-FRCNN.txt'
    """
    return PurePosixPath(f"{sequence}.txt")
