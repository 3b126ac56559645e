"""Rays meet solids where marching along them says so, and normals point outwards."""

import numpy as np
import pytest

from vdit.datasets.synthetic.solids import intersect, normals

INSIDE = {
    "ball": lambda p: (p**2).sum(-1) <= 1,
    "box": lambda p: (np.abs(p) <= 1).all(-1),
    "cylinder": lambda p: (p[..., 0] ** 2 + p[..., 2] ** 2 <= 1) & (np.abs(p[..., 1]) <= 1),
    "cone": lambda p: (
        (p[..., 0] ** 2 + p[..., 2] ** 2 <= ((p[..., 1] + 1) / 2) ** 2) & (np.abs(p[..., 1]) <= 1)
    ),
}
STEP = 0.004


@pytest.fixture
def rays():
    rng = np.random.default_rng(0)
    origin = np.array([0.7, -1.1, -4.0])
    targets = rng.uniform(-1.4, 1.4, (400, 3))
    return origin, targets - origin


@pytest.mark.parametrize("solid", INSIDE)
def test_first_hit_is_where_marching_enters(solid, rays):
    origin, direction = rays
    t = intersect(solid, origin, tuple(direction.T))
    steps = np.arange(0, 2, STEP)
    inside = INSIDE[solid](origin + steps[None, :, None] * direction[:, None])
    entered = np.where(inside.any(1), steps[inside.argmax(1)], np.inf)
    assert (np.isfinite(t) | ~np.isfinite(entered)).all(), "a hit was missed"
    grazing = np.isfinite(t) & ~np.isfinite(entered)
    assert grazing.mean() < 0.02
    both = np.isfinite(t) & np.isfinite(entered)
    assert both.sum() > 80
    assert (entered[both] - t[both] >= -1e-9).all()
    assert (entered[both] - t[both] <= STEP + 1e-9).all()


@pytest.mark.parametrize("solid", INSIDE)
def test_normals_point_out_of_the_solid(solid, rays):
    origin, direction = rays
    t = intersect(solid, origin, tuple(direction.T))
    hit = np.isfinite(t)
    points = origin + t[hit, None] * direction[hit]
    normal = normals(solid, points)
    assert ((normal * direction[hit]).sum(1) <= 1e-9).all(), "a visible surface faces the eye"
    step = 1e-4 * normal / np.linalg.norm(normal, axis=1, keepdims=True)
    assert not INSIDE[solid](points + step).any()
    assert INSIDE[solid](points - step).mean() > 0.97


def test_a_card_is_seen_from_both_sides():
    for z in (-3.0, 3.0):
        direction = tuple(np.array([[0.5, 0.2, -z], [1.5, 0.0, -z]]).T)
        assert intersect("card", np.array([0.0, 0.0, z]), direction).tolist() == [1.0, np.inf]


def test_what_lies_behind_is_not_met():
    for solid in (*INSIDE, "card"):
        away = tuple(np.array([[0.1, 0.1, -1.0]]).T)
        assert intersect(solid, np.array([0.0, 0.0, -3.0]), away)[0] == np.inf
