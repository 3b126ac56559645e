"""Miniature data sets in their true layouts, and predictions of them on disk."""

import json

import numpy as np
import pytest

from vdit.cli import main
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.evaluation.prediction_layouts import (
    MASK_DATASETS,
    RECORDS_FILE,
    labels_path,
    mask_path,
    record_id,
)
from vdit.masks import encode_rle, read_mask_png, write_mask_png, write_palette_png

TREES = {  # data set: layout, split that it is written as, split that it is read as
    "ref-youtube-vos": ("ref-youtube-vos", "train", "train"),
    "ref-davis": ("ref-davis", "val", "valid"),
    "mevis": ("mevis", "valid_u", "valid_u"),
    "a2d": ("a2d", "test", "test"),
    "jhmdb": ("jhmdb", "test", "test"),
    "refcoco": ("refcoco", "val", "val"),
}


def render_tree(dataset, root):
    if dataset == "a2d":
        pytest.importorskip("h5py")
    layout, split, _ = TREES[dataset]
    words = ["data", "render", "referring", "--count", "2", "--frames", "4", "--height", "40"]
    words += ["--width", "56", "--seed", "12", "--layout", layout, "--split", split]
    assert main([*words, "-o", str(root)]) == 0


def read_tree(dataset, root):
    return REFERRING_DATASETS[dataset].read(root, TREES[dataset][2])


def shift(masks):
    """A wrong prediction: everything a little to the right and below."""
    return np.roll(masks, (2, 3), axis=(-2, -1))


def unchanged(masks):
    return masks


def write_predictions(samples, folder, change=unchanged):
    """Write the truth as the prediction, after a change of masks [..., H, W] bool."""
    dataset = samples[0].dataset
    folder.mkdir(parents=True, exist_ok=True)
    if dataset in MASK_DATASETS:
        for sample in samples:
            masks = change(sample.masks()).any(axis=0)
            for name, mask in zip(sample.frame_names, masks, strict=True):
                path = folder / mask_path(dataset, sample.video, sample.expression, name)
                write_mask_png(path, mask)
    elif dataset == "ref-davis":
        for sample in samples:
            (masks,) = change(sample.masks())
            for name, mask in zip(sample.frame_names, masks, strict=True):
                path = folder / labels_path(sample.annotator, sample.video, name)
                labels = np.zeros(mask.shape, dtype=np.uint8)
                if path.exists():
                    labels = read_mask_png(path)
                labels[mask] = sample.object_ids[0]
                write_palette_png(path, labels)
    else:
        records = [
            {
                "image_id": record_id(dataset, sample.video, sample.expression),
                "category_id": 1,
                "segmentation": encode_rle(change(sample.masks())[0, 0]),
                "score": 0.5,
            }
            for sample in samples
        ]
        (folder / RECORDS_FILE).write_text(json.dumps(records))
