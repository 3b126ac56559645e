"""ScanNet: depth on the pixels of the color frame, order of frames, damaged trees."""

import numpy as np
import pytest
from PIL import Image

from vdit.datasets.checking import check
from vdit.datasets.scannet_depth import SCANNET_DEPTH, read_scannet_depth
from vdit.datasets.synthetic.writers.scannet import write_scannet

SCENE = "scene5001_00"


@pytest.fixture
def tree(clip, make_clip, tmp_path):
    write_scannet([("a", make_clip(seed=1)), ("b", clip)], tmp_path, "val")
    return tmp_path


def path_of(tree, name):
    return tree / "scans" / SCENE / name


def problems(tree):
    return {p.what: p for p in check(SCANNET_DEPTH, tree).splits["val"].problems}


def write_intrinsics(path, focal, center):
    matrix = np.diag([focal[0], focal[1], 1.0, 1.0])
    matrix[:2, 2] = center
    path.write_text("\n".join(" ".join(map(str, row)) for row in matrix))


def test_depth_at_the_size_of_the_color_frame(clip, tree):
    video = read_scannet_depth(tree)[1]
    assert (video.name, video.size, video.labelled) == (SCENE, (24, 32), (0, 1, 2, 3))
    depth = video.depth(2)
    assert (depth.dtype, depth.shape) == (np.float32, (24, 32))
    true = np.where(np.isfinite(clip.depth[2]) & (clip.depth[2] <= 65.535), clip.depth[2], 0)
    np.testing.assert_allclose(depth[::2, ::2], true[::2, ::2], atol=0.0006)
    report = check(SCANNET_DEPTH, tree).splits["val"]
    assert (report.videos, report.frames_found, report.labelled) == (2, 8, 8)
    assert report.problems == []


def test_color_pixels_see_the_depth_pixel_on_their_ray(tree):
    """Against a loop over pixels, with cameras whose views differ."""
    stored = np.random.default_rng(0).integers(1, 9000, (6, 9)).astype(np.uint16)
    Image.fromarray(stored).save(path_of(tree, "depth/1.png"))
    color, depth = ((50.0, 52.0), (15.2, 11.9)), ((20.0, 12.5), (4.1, 2.4))
    write_intrinsics(path_of(tree, "intrinsic/intrinsic_color.txt"), *color)
    write_intrinsics(path_of(tree, "intrinsic/intrinsic_depth.txt"), *depth)
    expected = np.zeros((24, 32))
    for v in range(24):
        for u in range(32):
            ray = [(p - c) / f for p, f, c in zip((u, v), *color, strict=True)]
            x, y = (round(r * f + c) for r, f, c in zip(ray, *depth, strict=True))
            if 0 <= x < 9 and 0 <= y < 6:
                expected[v, u] = stored[y, x] / 1000
    found = read_scannet_depth(tree)[1].depth(1)
    assert (expected == 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_frames_are_in_the_order_of_their_numbers(tree):
    for kind, ending in (("color", "jpg"), ("depth", "png")):
        path = path_of(tree, f"{kind}/3.{ending}")
        path.rename(path.with_stem("10"))
    video = read_scannet_depth(tree)[1]
    assert video.frame_names == ("0", "1", "2", "10")
    assert read_scannet_depth(tree, step=2)[1].frame_names == ("0", "2")
    video.depth(3)


DAMAGE = {
    "no depth": (lambda tree: path_of(tree, "depth/0.png").unlink(), "does not exist"),
    "8 bits": (
        lambda tree: Image.new("L", (16, 12)).save(path_of(tree, "depth/0.png")),
        "8 bits a pixel, expected 16",
    ),
    "no intrinsics": (
        lambda tree: path_of(tree, "intrinsic/intrinsic_depth.txt").unlink(),
        "does not exist",
    ),
    "words": (
        lambda tree: path_of(tree, "intrinsic/intrinsic_color.txt").write_text("fx 500"),
        "holds no matrix of numbers",
    ),
    "2 x 2": (
        lambda tree: path_of(tree, "intrinsic/intrinsic_color.txt").write_text("1 0\n0 1"),
        r"holds a matrix \[2, 2\], expected 4 x 4",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_depth(tree, case):
    damage, sentence = DAMAGE[case]
    damage(tree)
    assert list(problems(tree)) == ["depth cannot be read"]
    with pytest.raises(ValueError, match=sentence) as error:
        read_scannet_depth(tree)[1].depth(0)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_noted(tree):
    path_of(tree, "color/1.jpg").unlink()
    (tree / "scannetv2_val.txt").write_text(f"scene5000_00\n{SCENE}\nscene7777_00\n")
    assert set(problems(tree)) == {"frames are missing", "videos have no frames"}


def test_what_cannot_be_listed_is_one_sentence(tree):
    with pytest.raises(ValueError, match="expected one of train, val"):
        read_scannet_depth(tree, "test")
    with pytest.raises(ValueError, match=r"train\.txt does not exist"):
        read_scannet_depth(tree, "train")
    with pytest.raises(ValueError, match="a step of 1 frame or more, got 0"):
        read_scannet_depth(tree, step=0)
    path_of(tree, "color/frame-000001.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="has a frame 'frame-000001', expected numbers"):
        read_scannet_depth(tree)
    (tree / "scannetv2_val.txt").write_text(f"{SCENE}\n{SCENE}\n")
    with pytest.raises(ValueError, match="names a scene twice"):
        read_scannet_depth(tree)
