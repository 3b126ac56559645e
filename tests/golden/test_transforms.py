"""Transforms of clips against the numbers of the released code."""

import numpy as np

from vdit.datasets.clip_making import normalize_boxes
from vdit.datasets.transforms import (
    GeometryDraw,
    Window,
    blank_small_boxes,
    crop_boxes,
    flip_boxes,
    resize_boxes,
    swap_sides,
    transform_boxes,
    transform_masks,
)
from vdit.frame_sizes import output_size


def size_of(arrays):
    return arrays["in_masks"].shape[-2:]


def test_sizes(golden):
    for row in golden("vdit/transforms")["resize_rows_w_h_size_max_outw_outh"].tolist():
        width, height, short_side, max_side, new_width, new_height = row
        found = output_size((height, width), short_side, None if max_side < 0 else max_side)
        assert found == (new_height, new_width), row


def test_crop(golden):
    arrays = golden("vdit/transforms")
    window = Window(*arrays["crop_region_tlhw"].tolist())
    np.testing.assert_array_equal(crop_boxes(arrays["in_boxes"], window), arrays["crop_boxes"])
    cropped = GeometryDraw((window.height, window.width), size_of(arrays), window)
    np.testing.assert_array_equal(
        transform_masks(arrays["in_masks"], cropped), arrays["crop_masks"]
    )


def test_check(golden):
    arrays = golden("vdit/transforms")
    boxes, valid = blank_small_boxes(arrays["crop_boxes"])
    np.testing.assert_array_equal(boxes, arrays["check_boxes"])
    np.testing.assert_array_equal(valid, arrays["check_valid"] != 0)


def test_crop_and_check_in_one_draw(golden):
    arrays = golden("vdit/transforms")
    window = Window(*arrays["crop_region_tlhw"].tolist())
    draw = GeometryDraw((window.height, window.width), size_of(arrays), window)
    unknown = np.ones(len(arrays["in_boxes"]), dtype=bool)
    boxes, valid = transform_boxes(arrays["in_boxes"], unknown, size_of(arrays), draw)
    np.testing.assert_array_equal(boxes, arrays["check_boxes"])
    np.testing.assert_array_equal(valid, arrays["check_valid"] != 0)


def test_mirror(golden):
    arrays = golden("vdit/transforms")
    width = size_of(arrays)[1]
    np.testing.assert_array_equal(flip_boxes(arrays["in_boxes"], width), arrays["flip_boxes"])
    draw = GeometryDraw(size_of(arrays), flip=True)
    np.testing.assert_array_equal(transform_masks(arrays["in_masks"], draw), arrays["flip_masks"])
    caption = str(arrays["flip_caption"])
    assert swap_sides(caption) != caption
    assert swap_sides(swap_sides(caption)) == caption


def test_resize(golden):
    arrays = golden("vdit/transforms")
    size = tuple(arrays["resize45_size"].tolist())
    boxes = resize_boxes(arrays["in_boxes"], size_of(arrays), size)
    np.testing.assert_array_equal(boxes, arrays["resize45_boxes"])
    masks = transform_masks(arrays["in_masks"], GeometryDraw(size))
    np.testing.assert_array_equal(masks, arrays["resize45_masks"])


def test_normalize(golden):
    arrays = golden("vdit/transforms")
    boxes = normalize_boxes(arrays["in_boxes"], size_of(arrays)).numpy()
    np.testing.assert_array_equal(boxes, arrays["norm_boxes"])
