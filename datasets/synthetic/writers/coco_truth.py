"""The truth of A2D- and JHMDB-Sentences in the form of COCO: one image for each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from vdit.masks import encode_rle, masks_to_boxes_xyxy


def box_xywh(mask: np.ndarray) -> list[float]:
    """Give the tight box around one mask [H, W] as COCO's x, y, width, height in pixels."""
    x1, y1, x2, y2 = masks_to_boxes_xyxy(mask[None])[0].tolist()
    return [x1, y1, x2 - x1, y2 - y1]


class CocoTruth:
    """Collect masks, each of an image of its own, with the one category "dummy_class"."""

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, image_id: str, mask: np.ndarray) -> None:
        """Append one sample; mask: [H, W] bool."""
        height, width = mask.shape
        self._images.append({"id": image_id, "height": height, "width": width})
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": 1,
                "segmentation": encode_rle(mask),
                "area": float(mask.sum()),
                "bbox": box_xywh(mask),
                "iscrowd": 0,
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Give the data that COCO's evaluation reads."""
        return {
            "categories": [{"id": 1, "name": "dummy_class"}],
            "images": self._images,
            "annotations": self._annotations,
        }
