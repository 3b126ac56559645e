"""A video made of one picture: the picture and random views of it, in random order.

A view changes colors, looks at the picture from another side, turns and shifts it, and is sometimes
blurred along a line. The released code does this with imgaug, which is abandoned. The steps here
are our own, on Pillow: what is drawn has the same distributions, pixels do not match.

Reference: Wu et al., SeqFormer, ECCV 2022, Sec. 4.1, after Athar et al., STEm-Seg, ECCV 2020.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

__all__ = ["PseudoVideoOptions", "ViewDraw", "draw_view", "make_pseudo_video", "make_view"]


@dataclass(frozen=True)
class PseudoVideoOptions:
    """How much views differ from their picture; the defaults are those of the released training.

    Attributes:
        perspective: deviation of the corners, as a fraction of the sides; they move inwards.
        rotation: largest angle in degrees.
        translation: largest shift as a fraction of the sides, the same for both.
        brightness: largest shift in gray levels.
        hue_saturation: largest shift of hue (of 255 for the full circle) and saturation, one draw
            for both.
        blur_probability: of motion blur.
        blur_sizes: of its kernel in pixels, odd.
        thinnest: pictures whose short side is less, once their long side is 640, are left out.
    """

    perspective: float = 0.08
    rotation: float = 20.0
    translation: float = 0.1
    brightness: int = 40
    hue_saturation: int = 5
    blur_probability: float = 0.25
    blur_sizes: list[int] = field(default_factory=lambda: [9, 11])
    thinnest: float = 200.0

    def is_too_thin(self, size: tuple[int, int]) -> bool:
        """Whether a picture of (height, width) is left out."""
        return min(size) / (max(size) / 640) < self.thinnest


@dataclass(frozen=True)
class ViewDraw:
    """What makes one view.

    Attributes:
        corners: distance of the corners, clockwise from the top left one, from those of the
            picture, as fractions (x, y) of the sides inwards, each in 0..0.5.
        angle: in degrees, clockwise.
        shift: to the right and down, as a fraction of the sides.
        brightness: gray levels that are added.
        hue_saturation: shift of both, of 255.
        blur_size: of the kernel in pixels; 0 = no blur.
        blur_angle: of its line in degrees.
        blur_direction: -1..1, where the weight along the line is: 0 = alike everywhere.
    """

    corners: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 4
    angle: float = 0.0
    shift: float = 0.0
    brightness: int = 0
    hue_saturation: int = 0
    blur_size: int = 0
    blur_angle: float = 0.0
    blur_direction: float = 0.0


def draw_view(rng: np.random.Generator, options: PseudoVideoOptions) -> ViewDraw:
    """Draw one view: its brightness, its hue and saturation, or all of them change."""
    changed = ("both", "both", "brightness", "hue")[rng.integers(4)]
    brightness = int(rng.integers(-options.brightness, options.brightness + 1))
    hue_saturation = int(rng.integers(-options.hue_saturation, options.hue_saturation + 1))
    corners = np.abs(rng.normal(0, options.perspective, (4, 2))) % 0.5
    return ViewDraw(
        corners=tuple((float(x), float(y)) for x, y in corners),
        angle=float(rng.uniform(-options.rotation, options.rotation)),
        shift=float(rng.uniform(-options.translation, options.translation)),
        brightness=brightness if changed != "hue" else 0,
        hue_saturation=hue_saturation if changed != "brightness" else 0,
        blur_size=(
            int(rng.choice(options.blur_sizes)) if rng.random() < options.blur_probability else 0
        ),
        blur_angle=float(rng.uniform(0, 360)),
        blur_direction=float(rng.uniform(-1, 1)),
    )


def make_pseudo_video(
    rng: np.random.Generator,
    picture: Image.Image,
    mask: np.ndarray,
    count: int,
    options: PseudoVideoOptions,
) -> tuple[list[Image.Image], np.ndarray]:
    """Make a video of a picture.

    Args:
        rng: source of the draws.
        picture: in RGB.
        mask: [H, W] bool.
        count: frames of the video; one of them is the picture itself.
        options: what to draw from.

    Returns:
        `count` pictures of the same size, and masks [count, H, W] bool.
    """
    views = [make_view(picture, mask, draw_view(rng, options)) for _ in range(count - 1)]
    views.insert(int(rng.integers(count)), (picture, mask))
    pictures, masks = zip(*views, strict=True)
    return list(pictures), np.stack(masks)


def make_view(
    picture: Image.Image, mask: np.ndarray, draw: ViewDraw
) -> tuple[Image.Image, np.ndarray]:
    """Look at a picture and its mask [H, W] bool in the way of a draw; black where nothing is."""
    picture = _shift_colors(picture, draw)
    size = picture.size
    motion = _invert_motion(size, draw)
    steps = _find_homography(size, draw) @ motion  # both at once: one interpolation
    numbers = (steps / steps[2, 2]).ravel()[:8].tolist()
    frame = _place_frame(size, motion)
    view = Image.new("RGB", size)
    view.paste(_look(picture, numbers, Image.Resampling.BILINEAR), mask=frame)
    shape = _look(Image.fromarray(mask.astype(np.uint8)), numbers, Image.Resampling.NEAREST)
    return _blur(view, draw), (np.asarray(shape) > 0) & (np.asarray(frame) > 0)


def _look(picture: Image.Image, numbers: list[float], sampling: Image.Resampling) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.PERSPECTIVE, numbers, sampling)


def _place_frame(size: tuple[int, int], motion: np.ndarray) -> Image.Image:
    """Where the picture seen from its side lies after the motion; what is beside it is black."""
    width, height = size
    corners = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1)])
    moved = corners @ np.linalg.inv(motion).T
    frame = Image.new("L", size)
    outline = [(float(x) - 0.5, float(y) - 0.5) for x, y, _ in moved]  # centers of pixels
    ImageDraw.Draw(frame).polygon(outline, fill=255)
    return frame


def _shift_colors(picture: Image.Image, draw: ViewDraw) -> Image.Image:
    if draw.brightness:
        picture = picture.point([min(max(v + draw.brightness, 0), 255) for v in range(256)] * 3)
    if draw.hue_saturation:
        turn = round(draw.hue_saturation * 256 / 255)
        hue = [(v + turn) % 256 for v in range(256)]
        saturation = [min(max(v + draw.hue_saturation, 0), 255) for v in range(256)]
        hsv = picture.convert("HSV").point([*hue, *saturation, *range(256)])
        picture = hsv.convert("RGB")
    return picture


def _find_homography(size: tuple[int, int], draw: ViewDraw) -> np.ndarray:
    """Matrix [3, 3] that leads from the full frame to the four corners of the view."""
    width, height = size
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=float)
    inwards = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * (width, height)
    corners = frame + inwards * np.array(draw.corners)
    rows, values = [], []
    for (x, y), (u, v) in zip(frame, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    numbers = np.linalg.solve(np.array(rows), np.array(values))
    return np.append(numbers, 1.0).reshape(3, 3)


def _invert_motion(size: tuple[int, int], draw: ViewDraw) -> np.ndarray:
    """Matrix [3, 3] that undoes a shift in whole pixels and a turn about the center."""
    width, height = size
    x0, y0 = width / 2, height / 2
    dx, dy = round(draw.shift * width), round(draw.shift * height)
    cos, sin = np.cos(np.deg2rad(draw.angle)), np.sin(np.deg2rad(draw.angle))
    offset_x = x0 - cos * (x0 + dx) - sin * (y0 + dy)
    offset_y = y0 + sin * (x0 + dx) - cos * (y0 + dy)
    return np.array([[cos, sin, offset_x], [-sin, cos, offset_y], [0, 0, 1]])


def blur_kernel(draw: ViewDraw) -> np.ndarray:
    """Weights [k, k] along a line through the center; they sum to 1."""
    k = draw.blur_size
    first = (draw.blur_direction + 1) / 2
    kernel = np.zeros((k, k), dtype=np.float32)
    kernel[:, k // 2] = np.linspace(first, 1 - first, k)
    kernel = np.clip(ndimage.rotate(kernel, draw.blur_angle, reshape=False, order=1), 0, None)
    return kernel / kernel.sum()


def _blur(picture: Image.Image, draw: ViewDraw) -> Image.Image:
    """Add up shifted copies: few weights of the kernel are not zero."""
    if not draw.blur_size:
        return picture
    reach = draw.blur_size // 2
    pixels = np.asarray(picture)
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), "reflect").astype(np.float32)
    height, width = pixels.shape[:2]
    total = np.zeros(pixels.shape, dtype=np.float32)
    kernel = blur_kernel(draw)
    for y, x in np.argwhere(kernel > 0):
        total += kernel[y, x] * padded[y : y + height, x : x + width]
    return Image.fromarray(np.clip(np.rint(total), 0, 255).astype(np.uint8))
