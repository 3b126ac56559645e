"""The pictures of the package, how they are read and how an atlas is made."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vdit.datasets.synthetic.sprites import ATLAS, load_sprites

TOOL = Path(__file__).parents[3] / "tools" / "fetch_sprites.py"
WORDS = re.compile(r"[a-z]+( [a-z]+)?")
TEXTURES = ("brick", "grass", "gravel")


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("fetch_sprites", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entry(name="cat", source="1.webp", **changes):
    known = {"name": name, "plural": f"{name}s", "faces": "left", "natural_height": 0.7}
    return known | {"source": source} | changes


def write_package(folder):
    """A package with two pictures: a wide red box in the middle and a tall half-clear green one."""
    assets = folder / "assets"
    assets.mkdir(parents=True)
    for source, box, color in (
        ("1.webp", (40, 100, 200, 140), (255, 0, 0, 255)),
        ("2.webp", (100, 20, 150, 220), (0, 255, 0, 128)),
    ):
        picture = Image.new("RGBA", (256, 256))
        picture.paste(color, box)
        picture.save(assets / source, lossless=True)
    return folder


def write_atlas(folder, entries, size=(8, 8), color=(255, 255, 255, 255)):
    folder.mkdir(exist_ok=True)
    (folder / "sprites.json").write_text(json.dumps(entries))
    Image.new("RGBA", size, color).save(folder / "sprites.png")
    return folder


# ---- the atlas of the package ------------------------------------------------------------------


def test_sprites_of_the_package():
    sprites = load_sprites()
    assert len(sprites) == 40
    for name, sprite in sprites.items():
        assert sprite.name == name
        assert WORDS.fullmatch(name), name
        assert WORDS.fullmatch(sprite.plural), name
        assert 0.5 <= sprite.natural_height <= 1.6, name
        assert 0.4 <= sprite.aspect <= 2.5, name
        assert sprite.image.dtype == np.float32
        assert sprite.image.max() <= 1, name
        assert sprite.image.min() >= 0, name
    assert len({sprite.plural for sprite in sprites.values()}) == 40
    assert {sprites[name].faces for name in ("horse", "penguin", "airplane")} == {
        "left",
        "right",
        "",
    }


def test_sprites_are_cropped_and_clear_where_they_are_transparent():
    for name, sprite in load_sprites().items():
        alpha = sprite.image[..., 3]
        assert max(alpha.shape) == 96, name
        assert 0.15 < (alpha > 0.5).mean() < 0.98, name
        for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
            assert edge.max() > 0.03, name
        assert not sprite.image[alpha == 0].any(), name
        assert np.array_equal(sprite.premultiplied[..., 3], alpha)
        np.testing.assert_allclose(
            sprite.premultiplied[..., 1], sprite.image[..., 1] * alpha, atol=1e-6
        )


def test_sprites_are_read_once_and_nobody_can_change_them():
    first = load_sprites()
    cat = first.pop("cat")
    assert load_sprites()["cat"] is cat
    with pytest.raises(ValueError, match="read-only"):
        cat.image[0] = 0


def test_sprites_do_not_overlap_in_the_atlas():
    entries = json.loads((ATLAS / "sprites.json").read_text())
    with Image.open(ATLAS / "sprites.png") as picture:
        taken = np.zeros(picture.size[::-1], dtype=int)
    for e in entries:
        taken[e["y"] : e["y"] + e["height"], e["x"] : e["x"] + e["width"]] += 1
    assert taken.max() == 1
    assert len({e["source"] for e in entries}) == len(entries)


def test_pictures_are_small_and_licensed():
    assert (ATLAS / "sprites.png").stat().st_size < 600_000
    text = (ATLAS / "LICENSE").read_text()
    for words in ("Copyright (c) Microsoft Corporation", "MIT License", "CC0", "Permission is"):
        assert words in text
    found = {path.stem for path in (ATLAS / "textures").glob("*.jpg")}
    assert found == set(TEXTURES)
    assert all(name in text for name in TEXTURES)


@pytest.mark.parametrize("name", TEXTURES)
def test_textures_repeat_without_a_seam(name):
    path = ATLAS / "textures" / f"{name}.jpg"
    assert path.stat().st_size < 40_000
    with Image.open(path) as picture:
        assert (picture.size, picture.mode) == ((256, 256), "L")
        gray = np.asarray(picture).astype(float)
    for axis in (0, 1):
        steps = np.abs(gray - np.roll(gray, 1, axis)).mean(axis=1 - axis)
        assert steps[0] <= np.percentile(steps[1:], 95)
    corners = gray.reshape(2, 128, 2, 128).mean(axis=(1, 3))
    assert np.ptp(corners) < 8
    assert 110 < gray.mean() < 146


# ---- errors ------------------------------------------------------------------------------------


def test_a_folder_without_an_atlas_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sprites\.json cannot be read .*fetch_sprites\.py"):
        load_sprites(tmp_path)
    (tmp_path / "sprites.json").write_text("[{}]")
    with pytest.raises(ValueError, match=r"sprites\.png is no readable picture .*fetch_sprites"):
        load_sprites(tmp_path)
    (tmp_path / "sprites.png").write_text("no picture")
    with pytest.raises(ValueError, match="is no readable picture"):
        load_sprites(str(tmp_path))
    (tmp_path / "sprites.json").write_text("[")
    with pytest.raises(ValueError, match=r"sprites\.json is no JSON"):
        load_sprites(tmp_path)
    (tmp_path / "sprites.json").write_text("[]")
    with pytest.raises(ValueError, match="has no list of sprites"):
        load_sprites(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 9}, "outside the picture of 8 x 8 pixels"),
        ({"y": -1}, "outside the picture"),
        ({"height": 0}, "outside the picture"),
        ({"faces": "up"}, "'cat' faces 'up', expected one of"),
        ({"natural_height": 0}, "natural_height of 0.0, expected more than 0 m"),
        ({"natural_height": None}, "without a proper name"),
        ({"x": "left"}, "without a proper name"),
    ],
)
def test_bad_entries_are_refused(tmp_path, changes, message):
    good = entry(x=0, y=0, width=8, height=8)
    assert list(load_sprites(write_atlas(tmp_path, [good]))) == ["cat"]
    with pytest.raises(ValueError, match=message):
        load_sprites(write_atlas(tmp_path, [good | changes]))


def test_entries_that_miss_a_key_repeat_or_are_clear_are_refused(tmp_path):
    good = entry(x=0, y=0, width=8, height=8)
    missing = {key: value for key, value in good.items() if key != "plural"}
    for bad in (missing, "cat", None):
        with pytest.raises(ValueError, match="without a proper name"):
            load_sprites(write_atlas(tmp_path, [bad]))
    with pytest.raises(ValueError, match="two sprites named 'cat'; rename"):
        load_sprites(write_atlas(tmp_path, [good, good]))
    with pytest.raises(ValueError, match=r"'cat' of .* is transparent"):
        load_sprites(write_atlas(tmp_path, [good], color=(255, 255, 255, 0)))


# ---- the tool ----------------------------------------------------------------------------------


def test_build_cuts_scales_and_packs(tool, tmp_path):
    package = write_package(tmp_path / "package")
    entries = [entry(), entry("lamp", "2.webp", faces="")]
    tool.build(entries, package, tmp_path / "atlas", size=40)
    cat, lamp = load_sprites(tmp_path / "atlas").values()
    assert cat.image.shape == (10, 40, 4)
    assert lamp.image.shape == (40, 10, 4)
    np.testing.assert_allclose(cat.image, np.broadcast_to([1.0, 0, 0, 1], (10, 40, 4)))
    np.testing.assert_allclose(lamp.image[20, 5], [0, 1, 0, 128 / 255], atol=0.01)
    assert (cat.faces, lamp.faces, lamp.plural) == ("left", "", "lamps")
    assert (tmp_path / "atlas" / "LICENSE").read_text() == (ATLAS / "LICENSE").read_text()


def test_build_replaces_an_atlas_as_a_whole(tool, tmp_path):
    package, output = write_package(tmp_path / "package"), tmp_path / "atlas"
    tool.build([entry(), entry("lamp", "2.webp")], package, output)
    (output / "LICENSE").write_text("mine")
    with pytest.raises(ValueError, match=r"3\.webp is no readable picture"):
        tool.build([entry(), entry("lamp", "3.webp")], package, output)
    assert list(load_sprites(output)) == ["cat", "lamp"]
    tool.build([entry("lamp", "2.webp")], package, output)
    assert list(load_sprites(output)) == ["lamp"]
    assert (output / "LICENSE").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["atlas", "package"]


def test_build_refuses_a_folder_with_other_things(tool, tmp_path):
    package = write_package(tmp_path / "package")
    with pytest.raises(ValueError, match="has other files in it; pass a new folder"):
        tool.build([entry()], package, package)


def test_build_refuses_incomplete_lists(tool, tmp_path):
    package = write_package(tmp_path / "package")
    for entries in ([], [{"name": "cat"}], ["cat"]):
        with pytest.raises(ValueError, match="expected a list of sprites with name, plural"):
            tool.build(entries, package, tmp_path / "atlas")
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        tool.build([entry()], package, tmp_path / "atlas", size=0)


def test_the_command_reads_a_list(tool, tmp_path, monkeypatch):
    package = write_package(tmp_path / "package")
    (tmp_path / "list.json").write_text(json.dumps([entry()]))
    output = tmp_path / "atlas"
    command = f"x {output} --list {tmp_path / 'list.json'} --package {package} --size 16"
    monkeypatch.setattr(sys, "argv", command.split())
    tool.main()
    assert load_sprites(output)["cat"].image.shape == (4, 16, 4)
    (tmp_path / "list.json").write_text("{")
    with pytest.raises(SystemExit, match="error: "):
        tool.main()


def test_without_npm_the_command_says_what_to_do(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "atlas")])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"npm is not on the PATH; install Node\.js, or unpack"):
        tool.main()
    assert not (tmp_path / "atlas").exists()


def test_a_failed_download_is_an_error(tool, tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ValueError, match=r"could not download .*\(no route to host\)"):
        tool.download(tmp_path)


def test_default_list_has_plain_unique_names(tool):
    entries = tool.default_entries()
    assert len(entries) > 150
    for key in ("name", "plural", "source"):
        assert len({e[key] for e in entries}) == len(entries), key
    assert all(WORDS.fullmatch(e["name"]) and WORDS.fullmatch(e["plural"]) for e in entries)
    plurals = {e["name"]: e["plural"] for e in entries}
    expected = {"fox": None, "cookie": "cookies", "butterfly": "butterflies", "key": "keys"}
    expected |= {"sheep": "sheep", "peach": "peaches", "mouse": "mice", "compass": "compasses"}
    assert all(plurals.get(name) == plural for name, plural in expected.items())
