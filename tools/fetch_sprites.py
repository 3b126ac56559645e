r"""Cut the pictures of an npm package into an atlas that `load_sprites` reads.

    python tools/fetch_sprites.py sprites

downloads the package with npm and writes every picture that has a plain name to the folder
`sprites`. The atlas of the package itself is made again, with its names and heights, by

    python tools/fetch_sprites.py datasets/synthetic/atlas \
        --list datasets/synthetic/atlas/sprites.json

The pictures are Microsoft's Fluent emoji (MIT); the LICENSE in the folder says so and stays there.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from vdit.atomic import replace_folder_when_complete
from vdit.datasets.synthetic.sprites import ATLAS

PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0"
KEYS = ("name", "plural", "faces", "natural_height", "source")

# What the sprites of the package itself leave out: file, name, < or > where it faces. None of them
# is called like a solid of the renderer.
MORE = """
1f400 rat <, 1f401 mouse <, 1f402 ox <, 1f405 tiger <, 1f406 leopard <, 1f409 dragon <,
1f40b whale <, 1f40d snake >, 1f40f ram <, 1f410 goat <, 1f411 sheep <, 1f412 monkey,
1f413 rooster <, 1f419 octopus, 1f41b caterpillar <, 1f41c ant <, 1f41d bee <, 1f41e ladybug,
1f421 pufferfish <, 1f424 chick <, 1f429 poodle <, 1f42c dolphin <, 1f43f-fe0f squirrel <,
1f982 scorpion, 1f983 turkey <, 1f985 eagle <, 1f987 bat, 1f988 shark <, 1f989 owl,
1f98b butterfly, 1f98c deer <, 1f98d gorilla <, 1f98e lizard, 1f98f rhinoceros <, 1f990 shrimp <,
1f991 squid, 1f994 hedgehog <, 1f998 kangaroo <, 1f999 llama <, 1f99a peacock <,
1f99b hippopotamus <, 1f99c parrot <, 1f99e lobster, 1f9a1 badger <, 1f9a2 swan <, 1f9a3 mammoth <,
1f9a4 dodo <, 1f9a5 sloth, 1f9a6 otter, 1f9a7 orangutan, 1f9a8 skunk <, 1f9ab beaver <,
1f9ac bison <, 1f9ad seal <, 1f54a-fe0f dove <, 1facf donkey <, 1f34b lemon, 1f34a orange,
1f351 peach, 1f346 eggplant, 1f33d corn cob, 1f951 avocado, 1f965 coconut, 1f369 doughnut,
1f36a cookie, 1f382 birthday cake, 1f9c1 cupcake, 1f950 croissant, 1f968 pretzel,
1f9c0 cheese wedge, 1f345 tomato, 1f336-fe0f chili pepper, 1f383 pumpkin, 1f349 watermelon slice,
1f37a beer mug, 1f33b sunflower, 1f337 tulip, 1fab4 potted plant, 1f695 taxi <, 1f691 ambulance <,
1f69a truck <, 1f690 van <, 1f6f4 scooter <, 1f6f7 sled, 1f6f9 skateboard, 1f6d2 shopping cart,
1f3ba trumpet, 1f3b7 saxophone, 1f3bb violin, 1f941 drum, 1fa97 accordion, 1fa95 banjo, 1f511 key,
1f512 padlock, 1f514 bell, 1f4f7 camera, 1f4fa television, 1f4fb radio, 260e-fe0f telephone,
1f4bb laptop, 1f4a1 light bulb, 1f526 flashlight, 1f528 hammer, 1fa93 axe, 1f52d telescope,
1f52c microscope, 1f9f3 suitcase, 1f45f sneaker, 1f462 boot, 1f3a9 top hat, 1f451 crown,
1f9f2 magnet, 1f56f-fe0f candle, 1f6cf-fe0f bed, 1f6aa door, 1f6c1 bathtub, 1fa9c ladder,
1faa3 bucket, 1f9fa basket, 1f381 present, 1f388 balloon, 1f58d-fe0f crayon,
1f9ef fire extinguisher, 1f4ee mailbox, 1f455 shirt, 1f457 dress, 2693 anchor, 1f4e6 parcel,
1f3f0 castle, 231b hourglass, 2615 coffee cup, 1fa86 doll, 1f9ed compass, 1fa81 kite
"""
PLURALS = {"mouse": "mice", "ox": "oxen"}
PLURALS |= {name: name for name in ("sheep", "deer", "shrimp", "bison", "pufferfish", "squid")}


def plural_of(name: str) -> str:
    """Put the last word of a name into the plural."""
    if name in PLURALS:
        return PLURALS[name]
    if name.endswith("y") and not name.endswith("ey"):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh", "tomato")) else "s")


def default_entries() -> list[dict[str, Any]]:
    """List the sprites of the package itself, then those of MORE."""
    entries = json.loads((ATLAS / "sprites.json").read_text(encoding="utf-8"))
    for item in " ".join(MORE.split()).split(", "):
        source, name = item.rstrip("<> ").split(" ", 1)
        faces = {"<": "left", ">": "right"}.get(item[-1], "")
        entry = {"name": name, "plural": plural_of(name), "faces": faces, "natural_height": 0.9}
        entries.append(entry | {"source": f"{source}.webp"})
    return entries


def download(folder: Path) -> Path:
    """Download and unpack the npm package into a folder; give the folder with the pictures."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(
            f"npm is not on the PATH; install Node.js, or unpack {PACKAGE} and pass it as --package"
        )
    done = subprocess.run(
        [npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True
    )
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode or not archives:
        reason = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise ValueError(f"npm could not download {PACKAGE} ({reason}); check the network")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def cut(path: Path, size: int) -> Image.Image:
    """Crop a picture to what is not transparent and fit it into size x size pixels."""
    try:
        with Image.open(path) as picture:
            image = picture.convert("RGBA")
    except OSError as error:
        raise ValueError(f"{path} is no readable picture ({error}); see --package") from error
    box = image.getchannel("A").point(lambda alpha: 255 * (alpha > 8)).getbbox()
    if box is None:
        raise ValueError(f"{path} is transparent; take it off the list")
    image = image.crop(box)
    scale = size / max(image.size)
    width, height = (max(round(side * scale), 1) for side in image.size)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    visible = image.getchannel("A").point(lambda alpha: 255 * (alpha > 0))
    return Image.composite(image, Image.new("RGBA", image.size), visible)


def build(entries: list[dict[str, Any]], package: Path, output: Path, size: int = 96) -> None:
    """Write an atlas of the listed pictures; other files of an atlas that is there stay.

    Args:
        entries: name, plural, faces, natural_height and source of each sprite.
        package: folder that has the sources in `assets`.
        output: folder to write; an older atlas, or new.
        size: longest side of a sprite in pixels.

    Raises:
        ValueError: an entry is not complete, a picture is missing, or `output` has other things.
    """
    if not entries or not all(set(KEYS) <= set(entry) for entry in entries):
        raise ValueError(f"expected a list of sprites with {', '.join(KEYS)}; correct the list")
    if size < 1:
        raise ValueError(f"expected a size of at least 1 pixel, got {size}")
    if output.is_dir() and any(output.iterdir()) and not (output / "sprites.json").exists():
        raise ValueError(f"{output} has other files in it; pass a new folder or an older atlas")
    columns = math.ceil(math.sqrt(len(entries) * 1.25))
    rows = math.ceil(len(entries) / columns)
    atlas = Image.new("RGBA", (columns * size, rows * size))
    placed = []
    for index, entry in enumerate(entries):
        image = cut(package / "assets" / entry["source"], size)
        x, y = index % columns * size, index // columns * size
        atlas.paste(image, (x, y))
        where = {"x": x, "y": y, "width": image.width, "height": image.height}
        placed.append({key: entry[key] for key in KEYS} | where)
    lines = ",\n".join("  " + json.dumps(entry) for entry in placed)
    with replace_folder_when_complete(output) as folder:
        if output.is_dir():
            shutil.copytree(output, folder, dirs_exist_ok=True)
        atlas.save(folder / "sprites.png", optimize=True)
        (folder / "sprites.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        if not (folder / "LICENSE").exists():
            shutil.copy(ATLAS / "LICENSE", folder)


def main() -> None:
    """Fetch, choose, write."""
    parser = argparse.ArgumentParser(description="Make an atlas of sprites from an npm package.")
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("--package", type=Path, help="the unpacked npm package; else npm gets it")
    parser.add_argument("--list", type=Path, help="sprites.json of the sprites to take, else all")
    parser.add_argument("--size", type=int, default=96, help="longest side in pixels")
    arguments = parser.parse_args()
    try:
        entries = json.loads(arguments.list.read_text()) if arguments.list else default_entries()
        with tempfile.TemporaryDirectory() as folder:
            package = arguments.package or download(Path(folder))
            build(entries, package, arguments.output, arguments.size)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
