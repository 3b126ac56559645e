from __future__ import annotations

import numpy as np
import pytest

from vdit.visualize import contact_sheet, draw_legend, object_colors, overlay_masks

GRAY = np.full((60, 80, 3), 100, dtype=np.uint8)


def square(top, left, size, shape=(60, 80)):
    mask = np.zeros((1, *shape), dtype=bool)
    mask[0, top : top + size, left : left + size] = True
    return mask


def test_colors_are_distinct_vivid_and_stable():
    colors = object_colors(12)
    assert colors.dtype == np.uint8
    assert colors.shape == (12, 3)
    np.testing.assert_array_equal(object_colors(3), colors[:3])
    distance = np.linalg.norm(colors[:, None].astype(float) - colors[None], axis=2)
    assert distance[np.triu_indices(12, 1)].min() > 60
    spread = colors.max(axis=1).astype(int) - colors.min(axis=1)
    assert spread.min() > 80
    assert object_colors(0).shape == (0, 3)
    np.testing.assert_array_equal(object_colors(65)[64], colors[0])
    with pytest.raises(ValueError, match="num_objects=-1 is negative"):
        object_colors(-1)


def test_overlay_tints_inside_outlines_the_edge_and_leaves_the_rest():
    red = np.array([[200, 0, 0]], dtype=np.uint8)
    picture = overlay_masks(GRAY, square(20, 30, 20), red, alpha=0.5, outline=2)
    assert picture.dtype == np.uint8
    assert picture[30, 40].tolist() == [150, 50, 50]
    for depth, expected in [(0, [200, 0, 0]), (1, [200, 0, 0]), (2, [150, 50, 50])]:
        assert picture[20 + depth, 40].tolist() == expected
        assert picture[30, 49 - depth].tolist() == expected
    assert picture[19, 40].max() < 60  # the shadow
    untouched = np.ones((60, 80), dtype=bool)
    untouched[19:41, 29:51] = False
    np.testing.assert_array_equal(picture[untouched], GRAY[untouched])
    assert np.all(GRAY == 100)


def test_outline_stops_at_the_border_of_the_frame():
    blue = np.array([[0, 0, 200]], dtype=np.uint8)
    picture = overlay_masks(GRAY, square(0, 0, 20), blue, alpha=0.5)
    assert picture[0, 5].tolist() == [50, 50, 150]
    assert picture[19, 5].tolist() == [0, 0, 200]
    whole = overlay_masks(GRAY, np.ones((1, 60, 80), dtype=bool), blue, alpha=0.5)
    assert np.all(whole == [50, 50, 150])


def test_overlay_extremes():
    mask = square(10, 10, 5)
    color = np.array([[255, 255, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(overlay_masks(GRAY, mask, color, alpha=0.0, outline=0), GRAY)
    solid = overlay_masks(GRAY, mask, color, alpha=1.0, outline=0)
    np.testing.assert_array_equal(solid[mask[0]], np.full((25, 3), 255))
    np.testing.assert_array_equal(solid[~mask[0]], GRAY[~mask[0]])
    np.testing.assert_array_equal(overlay_masks(GRAY, np.zeros((2, 60, 80), dtype=bool)), GRAY)
    np.testing.assert_array_equal(overlay_masks(GRAY, np.zeros((0, 60, 80), dtype=bool)), GRAY)


def test_later_object_lies_on_top():
    masks = np.concatenate([square(10, 10, 20), square(10, 20, 20)])
    colors = np.array([[255, 0, 0], [0, 255, 0]], dtype=np.uint8)
    picture = overlay_masks(GRAY, masks, colors, alpha=1.0)
    assert picture[15, 25].tolist() == [0, 255, 0]
    assert picture[15, 15].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frame": GRAY / 255.0}, r"frame must be \[H, W, 3\] uint8"),
        ({"masks": np.zeros((1, 30, 40), dtype=bool)}, r"\[N, 60, 80\] bool like the frame"),
        ({"masks": np.zeros((1, 60, 80))}, "threshold"),
        ({"colors": object_colors(2)}, r"colors must be \[1, 3\]"),
        ({"alpha": 1.5}, "alpha in 0..1"),
        ({"outline": -1}, "outline >= 0"),
    ],
)
def test_overlay_refuses_wrong_arguments(arguments, message):
    right = {"frame": GRAY, "masks": square(1, 1, 5)}
    with pytest.raises(ValueError, match=message):
        overlay_masks(**(right | arguments))


@pytest.mark.parametrize(("height", "width"), [(240, 320), (480, 854), (1080, 1920), (1920, 1080)])
def test_legend_is_a_readable_band_below_the_frame(height, width):
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    colors = object_colors(2)
    labels = ["the dog on the left", "a person in a red jacket"]
    picture = draw_legend(frame, labels, colors, note="frame 3")
    np.testing.assert_array_equal(picture[:height], frame)
    band = picture[height:]
    assert 20 <= len(band) < 0.35 * height
    for color in colors:
        assert np.all(band == color, axis=2).sum() > 80  # its swatch
    bright = band.min(axis=2) > 200
    assert bright.any(axis=1).sum() >= 9  # letters of some height
    again = draw_legend(frame, labels, colors, note="a much longer note, frame 1234567890 of many")
    assert again.shape == picture.shape


def test_legend_wraps_long_captions_and_ends_somewhere():
    frame = np.zeros((240, 320, 3), dtype=np.uint8)
    one = draw_legend(frame, ["dog"], object_colors(1))
    long = draw_legend(frame, ["a very long caption " * 4], object_colors(1))
    endless = draw_legend(frame, ["x" * 5000], object_colors(1), note="n" * 900)
    assert len(one) < len(long) < len(endless) < 240 + 200
    assert draw_legend(frame, [], object_colors(0)).shape == frame.shape
    assert len(draw_legend(frame, ["dog\n\tcat"], object_colors(1))) == len(one)
    tiny = draw_legend(np.zeros((4, 4, 3), dtype=np.uint8), ["dog"], object_colors(1), note="n")
    assert tiny.shape[1] == 4
    with pytest.raises(ValueError, match=r"colors must be \[1, 3\] uint8"):
        draw_legend(frame, ["dog"], object_colors(2))


def test_contact_sheet_puts_frames_in_reading_order():
    frames = [np.full((10, 20, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(frames, columns=2, gap=4)
    assert sheet.shape == (4 + 2 * 14, 4 + 2 * 24, 3)
    assert sheet[5, 5, 0] == 10
    assert sheet[5, 30, 0] == 20
    assert sheet[20, 5, 0] == 30
    assert sheet[20, 30, 0] == 255
    assert contact_sheet(frames, columns=8, gap=0).shape == (10, 60, 3)
    captioned = contact_sheet(frames, columns=3, captions=["a", "b", "c" * 99], width=300)
    assert captioned.shape[0] > 50
    assert abs(captioned.shape[1] - 300) < 3


def test_contact_sheet_refuses_wrong_arguments():
    frames = [GRAY, GRAY[:30]]
    with pytest.raises(ValueError, match="got 0 frames"):
        contact_sheet([])
    with pytest.raises(ValueError, match="must have one size"):
        contact_sheet(frames)
    with pytest.raises(ValueError, match="1 captions for 2 frames"):
        contact_sheet([GRAY, GRAY], captions=["a"])
    with pytest.raises(ValueError, match="no room for 2 columns"):
        contact_sheet([GRAY, GRAY], width=10)
