"""Transforms of clips, one step after the other, as the released code names them."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


def transform_picture(picture, draw):
    if draw.flip and draw.flip_first:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if draw.window is not None:
        window = draw.window
        picture = resize(picture, draw.crop_size)
        right, bottom = window.left + window.width, window.top + window.height
        picture = picture.crop((window.left, window.top, right, bottom))
    picture = resize(picture, draw.size)
    if draw.flip and not draw.flip_first:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return picture


def resize(picture, size):
    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def transform_masks(masks, draw):
    """[T, H, W] bool."""
    masks = torch.from_numpy(masks)
    if draw.flip and draw.flip_first:
        masks = masks.flip(-1)
    if draw.window is not None:
        window = draw.window
        masks = resize_masks(masks, draw.crop_size)
        masks = masks[:, window.top : window.top + window.height]
        masks = masks[:, :, window.left : window.left + window.width]
    masks = resize_masks(masks, draw.size)
    if draw.flip and not draw.flip_first:
        masks = masks.flip(-1)
    return masks.numpy()


def resize_masks(masks, size):
    return F.interpolate(masks[:, None].float(), size, mode="nearest")[:, 0] > 0.5


def distort(picture, draw):
    """[H, W, 3] uint8 through hue, saturation and value in float32; what overflows wraps around."""
    image = picture.astype(np.float32)
    if draw.brightness is not None:
        image = np.clip(image + np.float32(draw.brightness), 0, 255)
    if draw.contrast_first:
        image = image * np.float32(draw.contrast)
    hue, saturation, value = to_hsv(image)
    image = from_hsv(hue, saturation * np.float32(draw.saturation), value)
    if not draw.contrast_first:
        image = image * np.float32(draw.contrast)
    image = image[..., list(draw.order)]
    return np.mod(np.trunc(image), 256).astype(np.uint8), image


def to_hsv(image):
    """Hue in 0..6, saturation in 0..1, value in the unit of the image."""
    red, green, blue = np.moveaxis(image, -1, 0)
    value = image.max(axis=-1)
    chroma = value - image.min(axis=-1)
    safe = np.where(chroma > 0, chroma, 1)
    hue = np.where(
        value == red,
        (green - blue) / safe % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    saturation = chroma / np.where(value > 0, value, 1)
    return np.where(chroma > 0, hue, 0), saturation, value


def from_hsv(hue, saturation, value):
    sector = np.floor(hue).astype(int) % 6
    part = hue - np.floor(hue)
    p = value * (1 - saturation)
    q = value * (1 - saturation * part)
    t = value * (1 - saturation * (1 - part))
    table = [
        (value, t, p),
        (q, value, p),
        (p, value, t),
        (p, q, value),
        (t, p, value),
        (value, p, q),
    ]
    channels = [np.choose(sector, [row[c] for row in table]) for c in range(3)]
    return np.stack(channels, axis=-1)
