"""Light on surfaces: sun, sky, gloss, and the soft shadows that objects cast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdit.datasets.synthetic.backdrop import HORIZON
from vdit.datasets.synthetic.materials import albedo
from vdit.datasets.synthetic.scene import Light
from vdit.datasets.synthetic.solids import normals
from vdit.datasets.synthetic.tracing import Hits, PlacedObject, PlacedPart, picture_at
from vdit.datasets.synthetic.view import View, Window

SHADOW_DEPTH = 0.85
CONTACT_METRES = 0.35
"""Height above the ground below which surfaces and ground darken each other."""
GLOSS = {"matte": (0.0, 1.0), "shiny": (0.45, 40.0), "metal": (0.8, 24.0)}
"""Strength and exponent of highlights, by finish."""


def sun_direction(light: Light) -> np.ndarray:
    """Unit vector towards the sun, [3] in the world."""
    across = np.cos(light.elevation)
    return np.array(
        [
            across * np.cos(light.azimuth),
            -np.sin(light.elevation),
            -across * np.sin(light.azimuth),
        ]
    )


class Occluder:
    """The ellipsoid that stands for an object where it casts a shadow."""

    def __init__(self, each: PlacedObject) -> None:
        points = np.concatenate(
            [
                part.center + sign * np.linalg.inv(part.inverse).T
                for part in each.parts
                for sign in (-1, 1)
            ]
        )
        own = each.to_own(points)
        low, high = own.min(axis=0), own.max(axis=0)
        half = np.maximum((high - low) / 2, 0.06)
        self.linear = np.diag(1 / half) @ np.linalg.inv(each.pose[:, :3])
        self.center = each.pose[:, :3] @ ((low + high) / 2) + each.pose[:, 3]
        scale = np.cbrt(np.linalg.det(each.pose[:, :3]))
        self.radius = float(scale * half.max())
        self.lowest = float(points[:, 1].max())

    def shadow(self, points: np.ndarray, sun: np.ndarray) -> np.ndarray:
        """Share of the sun that it takes away at world points [..., 3], 0..1."""
        o = (points - self.center) @ self.linear.T
        d = self.linear @ sun
        d = d / np.linalg.norm(d)
        along = o @ d
        miss = np.sqrt(np.maximum((o * o).sum(axis=-1) - along * along, 0))
        soft = np.clip((1.2 - miss) / 0.6, 0, 1)
        return np.where(along < 0, soft * soft * (3 - 2 * soft), 0)

    def contact(self, points: np.ndarray) -> np.ndarray:
        """Darkness of the ground below it at ground points [..., 3], 0..1."""
        gap = np.clip(1 + self.lowest / CONTACT_METRES, 0, 1)
        across = (points - self.center)[..., [0, 2]] / self.radius
        return gap * np.exp(-3.0 * (across * across).sum(axis=-1))


def ground_shade(view: View, occluders: Sequence[Occluder], sun: np.ndarray) -> np.ndarray:
    """Share of sunlight that reaches the ground, [1, H, W] float32."""
    shade = np.ones((1, view.height, view.width), dtype=np.float32)
    for each in occluders:
        spot = each.center - sun * (each.center[1] / sun[1])
        middle = np.array([each.center[0], 0.0, each.center[2]])
        windows = [
            view.window_of_ball(spot, 1.2 * each.radius / -sun[1]),
            view.window_of_ball(middle, 1.2 * each.radius),
        ]
        for window, kind in zip(windows, ("shadow", "contact"), strict=True):
            if window is None:
                continue
            points = _ground_points(view, window)
            if kind == "shadow":
                dark = SHADOW_DEPTH * each.shadow(points, sun)
            else:
                dark = 0.6 * each.contact(points)
            shade[(slice(None), *window)] *= (1 - dark).astype(np.float32)
    return shade


def _ground_points(view: View, window: Window) -> np.ndarray:
    """Where the rays of a window meet the ground, [S, h, w, 3]; far away above the horizon."""
    x, y, z = view.rays(window, np.eye(3), np.float64)
    t = -view.center[1] / np.maximum(y, 1e-4)
    return np.stack([view.center[0] + t * x, np.zeros_like(t), view.center[2] + t * z], axis=-1)


def paint(
    view: View,
    hits: Hits,
    objects: Sequence[PlacedObject],
    light: Light,
    occluders: Sequence[Occluder],
    canvas: np.ndarray,
) -> None:
    """Shade all hits into `canvas` [S, H, W, 3], in place."""
    sun = sun_direction(light)
    whole = (slice(0, view.height), slice(0, view.width))
    x, y = (slope.astype(np.float32) for slope in view.slopes(whole))
    shape = hits.depth.shape
    x, y = np.broadcast_to(x, shape), np.broadcast_to(y, shape)
    index = 0
    for i, each in enumerate(objects):
        others = [occluders[j] for j in range(len(objects)) if j != i]
        for part in each.parts:
            window = view.window_of_ball(part.center, part.radius)
            index += 1
            if window is None:
                continue
            area = (slice(None), *window)
            seen = hits.part[area] == index - 1
            if not seen.any():
                continue
            depth = hits.depth[area][seen]
            ray = np.stack([x[area][seen], y[area][seen], np.ones_like(depth)], axis=1)
            ray = ray @ view.rotation.astype(np.float32)
            points = view.center.astype(np.float32) + depth[:, None] * ray
            canvas[area][seen] = _shade(each, part, points, ray, light, sun, others)


def _shade(
    each: PlacedObject,
    part: PlacedPart,
    points: np.ndarray,
    rays: np.ndarray,
    light: Light,
    sun: np.ndarray,
    others: Sequence[Occluder],
) -> np.ndarray:
    """Linear color [K, 3] of world points [K, 3] on one solid, seen along rays [K, 3]."""
    unit = part.to_unit(points)
    visible = np.ones(len(points))
    for other in others:
        reach = np.linalg.norm(other.center - part.center)
        if reach < 4 * (other.radius + part.radius):
            visible *= 1 - SHADOW_DEPTH * other.shadow(points, sun)
    if each.sprite is not None:
        picture = picture_at(each.sprite, unit[:, 0], unit[:, 1])[:, :3] ** 2
        return picture * (0.55 + 0.5 * (light.ambient + (1 - light.ambient) * visible))[:, None]

    normal = normals(part.part.solid, unit) @ part.inverse
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    facing = normal @ sun
    sky = 0.62 - 0.38 * normal[:, 1]
    near_ground = np.clip(-points[:, 1] / CONTACT_METRES, 0, 1)
    ambient = light.ambient * sky * (0.6 + 0.4 * near_ground)
    sunlight = (1 - light.ambient) * 1.3 * np.maximum(facing, 0) * visible
    role, spec = part.part.role, each.spec
    is_main = role == "main"
    base = albedo(
        spec.color if is_main else role,
        spec.pattern if is_main else "plain",
        each.to_own(points) if is_main and spec.pattern != "plain" else points,
    )
    color = (ambient + sunlight)[:, None] * base
    finish = spec.finish if is_main else ("shiny" if role in ("glass", "steel") else "matte")
    if finish == "matte":
        return color
    strength, exponent = GLOSS[finish]
    view = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    mirror = view - 2 * (view * normal).sum(axis=1, keepdims=True) * normal
    highlight = strength * np.maximum(mirror @ sun, 0) ** exponent * visible
    if finish == "metal":
        sky_share = 1 / (1 + np.exp(9 * mirror[:, 1:2]))
        reflected = base * (0.12 + 0.95 * sky_share * HORIZON)
        color = 0.35 * color + 0.65 * reflected
    return color + highlight[:, None]
