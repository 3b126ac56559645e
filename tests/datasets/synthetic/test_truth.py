"""What a clip says of itself agrees: masks, boxes, depth, tracks and flow, over random scenes."""

import hashlib

import numpy as np
import pytest
from torch.utils.data import DataLoader

from vdit.datasets.synthetic.cameras import project
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.recipes import RECIPES, make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.scene import ObjectSpec, Scene
from vdit.datasets.synthetic.sprites import load_sprites

NAMES = sorted(set(RECIPES) - {"image"})
SCENES = 500
CHUNKS = 10


def small(seed, num_frames=3, height=40, width=56, num_tracks=24):
    name = NAMES[seed % len(NAMES)]
    return render(make_scene(name, seed, num_frames, height, width), num_tracks)


@pytest.fixture(scope="module", params=range(CHUNKS))
def clips(request):
    step = SCENES // CHUNKS
    return [small(seed) for seed in range(request.param * step, (request.param + 1) * step)]


def neighbors(image, row, column):
    """3 x 3 values around a pixel."""
    return image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]


def visible_points(tracks):
    """(point, frame, row, column) of every point that is seen."""
    for p, t in np.argwhere(tracks.visible):
        x, y = np.floor(tracks.positions[p, t]).astype(int)
        yield p, t, y, x


def test_boxes_hold_their_masks_tightly(clips):
    for clip in clips:
        for masks, boxes in ((clip.masks, clip.boxes_xyxy), (clip.amodal, clip.amodal_boxes_xyxy)):
            for n, t in np.ndindex(masks.shape[:2]):
                rows, columns = np.nonzero(masks[n, t])
                if not rows.size:
                    assert (boxes[n, t] == 0).all()
                    continue
                tight = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                assert boxes[n, t].tolist() == list(tight)


def test_what_is_seen_of_an_object_is_part_of_it(clips):
    for clip in clips:
        assert not (clip.masks & ~clip.amodal).any()
        covered = clip.amodal.any(axis=0)
        behind = covered & (clip.instances == 0)
        assert behind.sum() <= 0.02 * max(covered.sum(), 100), "only the backdrop may hide the rest"


def test_the_nearer_object_hides_the_farther(clips):
    overlaps = 0
    for clip in clips:
        depths = clip.center_depths()
        reach = [1.2 * spec.size for spec in clip.scene.objects]
        for n, t in np.ndindex(depths.shape):
            for other in range(n):
                both = clip.amodal[n, t] & clip.amodal[other, t]
                if abs(depths[n, t] - depths[other, t]) < reach[n] + reach[other]:
                    continue
                near, far = (n, other) if depths[n, t] < depths[other, t] else (other, n)
                overlaps += both.sum()
                assert not (both & clip.masks[far, t]).any()
                order = clip.depth_order[t].tolist()
                assert order.index(near) < order.index(far)
        hidden = clip.amodal.sum(axis=0) > 1
        assert (clip.instances[hidden] > 0).all()
    assert overlaps > 0


def test_points_lie_on_the_masks_of_their_objects(clips):
    seen = exact = near = 0
    for clip in clips:
        for p, t, row, column in visible_points(clip.tracks):
            expected = clip.tracks.objects[p] + 1
            around = neighbors(clip.instances[t], row, column)
            seen += 1
            near += expected in around
            exact += clip.instances[t, row, column] == expected
    assert seen > 1000
    assert exact / seen > 0.95
    assert near / seen > 0.995, "what is thinner than a pixel may miss its center"


def test_points_have_the_depth_of_what_is_seen(clips):
    seen = fitting = 0
    for clip in clips:
        for p, t, row, column in visible_points(clip.tracks):
            around = neighbors(clip.depth[t], row, column)
            around = around[np.isfinite(around)]
            slack = 0.02 + np.ptp(around)
            seen += 1
            fitting += around.min() - slack < clip.tracks.depths[p, t] < around.max() + slack
    assert fitting / seen > 0.995


def test_hidden_points_are_behind_something(clips):
    hidden = behind = 0
    for clip in clips:
        tracks = clip.tracks
        inside = ((tracks.positions >= 1) & (tracks.positions < (55, 39))).all(axis=-1)
        for p, t in np.argwhere(inside & ~tracks.visible & (tracks.depths > 0)):
            x, y = np.floor(tracks.positions[p, t]).astype(int)
            behind += neighbors(clip.depth[t], y, x).min() < tracks.depths[p, t] + 0.05
            hidden += 1
    assert hidden > 50
    assert behind / hidden > 0.99, "what is thinner than a pixel may hide a point"


def test_flow_moves_points_along_their_tracks(clips):
    checked = 0
    for clip in clips:
        for p, t, row, column in visible_points(clip.tracks):
            if t + 1 >= clip.scene.num_frames:
                continue
            around = neighbors(clip.instances[t], row, column)
            if around.size < 9 or (around != clip.tracks.objects[p] + 1).any():
                continue
            flow = neighbors(clip.flow[t], row, column).reshape(9, 2)
            moved = clip.tracks.positions[p, t + 1] - clip.tracks.positions[p, t]
            slack = 0.05 + np.ptp(flow, axis=0)
            assert (moved > flow.min(axis=0) - slack).all()
            assert (moved < flow.max(axis=0) + slack).all()
            checked += 1
    assert checked > 300


def test_the_middle_of_a_whole_object_lies_in_its_box(clips):
    for clip in clips:
        camera = clip.camera
        for t in range(clip.scene.num_frames):
            xy, depth = project(
                clip.positions[:, t], camera.intrinsics[t], camera.world_to_camera[t]
            )
            for n, (x0, y0, x1, y1) in enumerate(clip.amodal_boxes_xyxy[:, t]):
                whole = x0 > 0 and y0 > 0 and x1 < clip.scene.width and y1 < clip.scene.height
                if whole and depth[n] > 0 and x1 - x0 > 3:
                    assert x0 - 1 < xy[n, 0] < x1 + 1
                    assert y0 - 1 < xy[n, 1] < y1 + 1


def test_key_points_are_on_their_objects():
    on = seen = 0
    for seed in range(12):
        clip = render(make_scene("referring", seed, 2, 96, 96))
        for p, t, row, column in visible_points(clip.keypoints):
            seen += 1
            on += clip.keypoints.objects[p] + 1 in neighbors(clip.instances[t], row, column)
    assert seen > 50
    assert on / seen > 0.9


def digest(clip):
    parts = (clip.frames, clip.instances, clip.depth, clip.flow, clip.tracks.positions)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest(), clip.captions


@pytest.mark.parametrize("recipe", ["referring", "movi-e", "tracking"])
def test_one_seed_gives_the_same_bytes_on_any_number_of_workers(recipe):
    clips = RenderedClips(recipe, 6, first_seed=10, num_frames=3, height=40, width=56)
    here = [digest(clips[i]) for i in reversed(range(6))][::-1]
    loader = DataLoader(clips, batch_size=None, num_workers=2)
    assert [digest(clip) for clip in loader] == here
    assert len({pair[0] for pair in here}) == 6


@pytest.mark.parametrize("name", ["cat", "bicycle", "umbrella"])
def test_sprites_cover_what_is_opaque_in_their_picture(name):
    scene = Scene((ObjectSpec(name, color="", size=2.5, sprite=True),), num_frames=1)
    mask = render(scene, num_tracks=0).masks[0, 0]
    rows, columns = np.nonzero(mask)
    mask = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    opaque = load_sprites()[name].image[..., 3] > 0.5
    assert abs(mask.mean() - opaque.mean()) < 0.05
    row, column = (
        (np.indices(mask.shape).reshape(2, -1).T / mask.shape * opaque.shape).astype(int).T
    )
    assert (opaque[row, column] == mask.ravel()).mean() > 0.9


def test_frames_show_what_the_masks_say():
    """Painting an object in another color changes its pixels, and few others."""
    scene = make_scene("kubric-similar", 0, 2, 64, 64)
    ball = scene.objects[0]
    other = type(ball)(**{**vars(ball), "color": "blue" if ball.color != "blue" else "red"})
    before = render(scene)
    after = render(type(scene)(**{**vars(scene), "objects": (other, scene.objects[1])}))
    changed = (before.frames != after.frames).any(axis=-1)
    mask = before.masks[0]
    assert changed[mask].mean() > 0.98
    assert (changed & ~mask).sum() < 0.35 * mask.sum(), "edges only"
