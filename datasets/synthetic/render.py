"""Render a scene: frames for the eye, and exact truth at the centers of pixels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from vdit.datasets.synthetic.backdrop import backdrop_color, backdrop_depth
from vdit.datasets.synthetic.cameras import camera_track
from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.clip import Annotation, CameraTrack, Caption, RenderedClip
from vdit.datasets.synthetic.language.captions import write_captions
from vdit.datasets.synthetic.language.facts import observe
from vdit.datasets.synthetic.materials import COLORS, FINISHES, PATTERNS
from vdit.datasets.synthetic.motions import PROGRAMS, poses, sizes
from vdit.datasets.synthetic.points import key_points, optical_flow, random_tracks
from vdit.datasets.synthetic.scene import Scene
from vdit.datasets.synthetic.shading import Occluder, ground_shade, paint, sun_direction
from vdit.datasets.synthetic.sprites import Sprite, load_sprites
from vdit.datasets.synthetic.textures import FLOORS, WALLS
from vdit.datasets.synthetic.tracing import PlacedObject, object_depth, place, trace
from vdit.datasets.synthetic.view import View

CENTER = np.array([[0.5, 0.5]])
SUBPIXELS = np.array([[0.375, 0.125], [0.875, 0.375], [0.125, 0.625], [0.625, 0.875]])
"""Four rays a pixel on a rotated grid."""
SHUTTER_SAMPLES = 3
MOST_OBJECTS = 255


def render(scene: Scene, num_tracks: int = 32, captions_per_kind: int = 2) -> RenderedClip:
    """Render frames and everything that is true of them.

    Args:
        scene: what to render; the same scene gives the same bytes.
        num_tracks: random point tracks.
        captions_per_kind: most sentences of one kind.

    Raises:
        ValueError: the scene has a word that nothing is known by, or more than 255 objects.
    """
    sprites = _sprites_of(scene)
    times = scene.times()
    camera = camera_track(scene.camera, times, scene.height, scene.width)
    placed = place_all(scene, sprites, times)
    instances, amodal, depth = _truth(scene, placed, camera)
    rng = np.random.default_rng((scene.seed, 1))
    clip = RenderedClip(
        scene=scene,
        frames=_frames(scene, sprites, placed, camera),
        instances=instances,
        amodal=amodal,
        depth=depth,
        flow=optical_flow(placed, camera, instances, depth),
        camera=camera,
        positions=_middles(scene, placed),
        captions=(),
        keypoints=key_points(scene, placed, camera),
        tracks=random_tracks(scene, placed, camera, instances, depth, num_tracks, rng),
    )
    sentences = _sentences(
        scene, camera, clip.positions, clip.boxes_xyxy, sprites, captions_per_kind
    )
    return replace(clip, captions=sentences)


def render_frames(scene: Scene, chosen: Sequence[int] | None = None) -> np.ndarray:
    """Render the pictures only, [T, H, W, 3] uint8.

    Args:
        scene: what to render.
        chosen: indices of frames; None = all.
    """
    sprites = _sprites_of(scene)
    times = scene.times()
    camera = camera_track(scene.camera, times, scene.height, scene.width)
    return _frames(scene, sprites, place_all(scene, sprites, times), camera, chosen)


def annotate(scene: Scene, captions_per_kind: int = 2) -> Annotation:
    """Find what is visible and write the sentences, as `render` does, without the pictures."""
    sprites = _sprites_of(scene)
    times = scene.times()
    camera = camera_track(scene.camera, times, scene.height, scene.width)
    placed = place_all(scene, sprites, times)
    found = Annotation(scene, _truth(scene, placed, camera)[0], ())
    sentences = _sentences(
        scene, camera, _middles(scene, placed), found.boxes_xyxy, sprites, captions_per_kind
    )
    return replace(found, captions=sentences)


def _sentences(
    scene: Scene,
    camera: CameraTrack,
    positions: np.ndarray,
    boxes_xyxy: np.ndarray,
    sprites: Sequence[Sprite | None],
    per_kind: int,
) -> tuple[Caption, ...]:
    heights = np.array([sizes(spec, scene.times()) for spec in scene.objects])
    facts = observe(scene, camera, positions, boxes_xyxy, heights)
    plurals = {each.name: each.plural for each in sprites if each is not None}
    return write_captions(facts, np.random.default_rng((scene.seed, 2)), per_kind, plurals)


def place_all(
    scene: Scene, sprites: Sequence[Sprite | None], times: Sequence[float]
) -> list[list[PlacedObject]]:
    """Put all objects into the world at every time: [T] lists of N."""
    paths = [poses(spec, times) for spec in scene.objects]
    return [
        [
            place(spec, sprite, path[t])
            for spec, sprite, path in zip(scene.objects, sprites, paths, strict=True)
        ]
        for t in range(len(times))
    ]


def _sprites_of(scene: Scene) -> list[Sprite | None]:
    atlas = load_sprites() if any(spec.sprite for spec in scene.objects) else {}
    _check_words(scene, atlas)
    return [atlas[spec.category] if spec.sprite else None for spec in scene.objects]


def _check_words(scene: Scene, atlas: Collection[str]) -> None:
    """Refuse names that nothing is known by, and more objects than masks can number."""
    if len(scene.objects) > MOST_OBJECTS:
        raise ValueError(f"expected at most {MOST_OBJECTS} objects, got {len(scene.objects)}")
    _expect("floor", scene.backdrop.floor, FLOORS)
    _expect("wall", scene.backdrop.wall, WALLS)
    for spec in scene.objects:
        _expect("motion program", spec.motion.program, PROGRAMS)
        if spec.sprite:
            _expect("sprite", spec.category, atlas)
            continue
        _expect("category", spec.category, CATEGORIES)
        _expect("color", spec.color, COLORS)
        _expect("pattern", spec.pattern, PATTERNS)
        _expect("finish", spec.finish, FINISHES)


def _expect(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ValueError(f"expected a {kind} among {', '.join(sorted(known))}; got {name!r}")


def _middles(scene: Scene, placed: Sequence[Sequence[PlacedObject]]) -> np.ndarray:
    """Middle of every object, [N, T, 3]."""
    middle = np.array([0.0, -0.5, 0.0])
    found = [[each.pose[:, :3] @ middle + each.pose[:, 3] for each in frame] for frame in placed]
    return np.array(found).reshape(len(placed), len(scene.objects), 3).transpose(1, 0, 2)


def _view(scene: Scene, camera: CameraTrack, t: int, offsets: np.ndarray) -> View:
    size = scene.height, scene.width
    return View.of(camera.intrinsics[t], camera.world_to_camera[t], size, offsets)


def _truth(
    scene: Scene, placed: Sequence[Sequence[PlacedObject]], camera: CameraTrack
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Instances [T, H, W], whole objects [N, T, H, W] and depth [T, H, W]."""
    T, H, W = scene.num_frames, scene.height, scene.width
    instances = np.zeros((T, H, W), dtype=np.uint8)
    amodal = np.zeros((len(scene.objects), T, H, W), dtype=bool)
    depth = np.zeros((T, H, W), dtype=np.float32)
    whole = (slice(0, H), slice(0, W))
    for t in range(T):
        view = _view(scene, camera, t, CENTER)
        nearest = backdrop_depth(view, scene.backdrop, whole, np.float64)[0]
        for index, each in enumerate(placed[t]):
            own = object_depth(view, each)[0]
            amodal[index, t] = np.isfinite(own)
            nearer = own < nearest
            instances[t][nearer] = index + 1
            nearest = np.where(nearer, own, nearest)
        depth[t] = nearest
    return instances, amodal, depth


def _frames(
    scene: Scene,
    sprites: Sequence[Sprite | None],
    placed: Sequence[Sequence[PlacedObject]],
    camera: CameraTrack,
    chosen: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw all frames or those chosen, [T, H, W, 3] uint8."""
    brightness = _brightness(scene)
    indices = range(scene.num_frames) if chosen is None else chosen
    frames = np.zeros((len(indices), scene.height, scene.width, 3), dtype=np.uint8)
    for row, t in enumerate(indices):
        if scene.motion_blur > 0:
            picture = _blurred(scene, sprites, t)
        else:
            picture = _picture(scene, placed[t], camera, t)
        picture = picture * brightness[t]
        if scene.blur > 0:
            picture = gaussian_filter(picture, (scene.blur, scene.blur, 0))
        frames[row] = np.sqrt(np.clip(picture, 0, 1)) * 255 + 0.5
    return frames


def _blurred(scene: Scene, sprites: Sequence[Sprite | None], t: int) -> np.ndarray:
    """Linear color of frame t, [H, W, 3]: the mean of the time that the shutter is open."""
    step = scene.motion_blur / max(scene.num_frames - 1, 1)
    shares = (np.arange(SHUTTER_SAMPLES) + 0.5) / SHUTTER_SAMPLES - 0.5
    times = [min(max(scene.times()[t] + share * step, 0.0), 1.0) for share in shares]
    camera = camera_track(scene.camera, times, scene.height, scene.width)
    instants = place_all(scene, sprites, times)
    return np.mean([_picture(scene, each, camera, k) for k, each in enumerate(instants)], axis=0)


def _picture(
    scene: Scene, objects: Sequence[PlacedObject], camera: CameraTrack, t: int
) -> np.ndarray:
    """Linear color of one instant, seen by camera t, [H, W, 3] float32."""
    light = scene.light
    occluders = [Occluder(each) for each in objects]
    view = _view(scene, camera, t, CENTER)
    shade = ground_shade(view, occluders, sun_direction(light))
    behind = backdrop_color(view, scene.backdrop, light, shade)
    fine = _view(scene, camera, t, SUBPIXELS)
    hits = trace(fine, objects)
    canvas = np.repeat(behind, len(SUBPIXELS), axis=0)
    paint(fine, hits, objects, light, occluders, canvas)
    return np.minimum(canvas, 1).mean(axis=0)


def _brightness(scene: Scene) -> np.ndarray:
    """Factor on the light of every frame, [T]: slow random changes around 1."""
    rng = np.random.default_rng((scene.seed, 3))
    u = np.array(scene.times())
    waves = 2 * np.pi * rng.uniform(1, 3, size=3)
    phases = 2 * np.pi * rng.random(3)
    return 1 + scene.light.flicker * np.sin(u[:, None] * waves + phases).mean(axis=1)
