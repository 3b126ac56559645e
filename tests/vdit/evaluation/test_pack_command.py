"""`vdit pack`: what is right is packed the same every time, what is wrong is named and refused."""

import gzip
import hashlib
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.vdit.evaluation.prediction_trees import TREES, read_tree, write_predictions
from vdit.cli import main
from vdit.masks import read_mask_png, write_mask_png, write_palette_png


def run(capsys, dataset, root, predictions, output, *words):
    """Exit code, the summary if there is one, and what was said on stderr."""
    capsys.readouterr()
    split = [] if "--split" in words or dataset not in TREES else ["--split", TREES[dataset][2]]
    paths = ["--root", str(root), "--predictions", str(predictions), "-o", str(output)]
    code = main(["pack", dataset, *paths, *split, "--json", *words])
    out, error = capsys.readouterr()
    return code, json.loads(out) if out else None, error


@pytest.mark.parametrize("dataset", ["ref-youtube-vos", "mevis", "ref-davis"])
def test_archives_score_as_their_folder(dataset, trees, tmp_path, capsys):
    root = trees(dataset)
    samples = read_tree(dataset, root)
    write_predictions(samples, tmp_path / "P")
    (tmp_path / "P" / ".inference").mkdir()
    (tmp_path / "P" / ".inference" / "run.json").write_text("{}")
    code, packed, _ = run(capsys, dataset, root, tmp_path / "P", tmp_path / "a" / "x.zip")
    assert code == 0
    content = (tmp_path / "a" / "x.zip").read_bytes()
    assert packed["sha256"] == hashlib.sha256(content).hexdigest()
    assert packed["num_bytes"] == len(content)
    assert packed["num_expressions"] == len(samples)
    if dataset == "ref-youtube-vos":
        assert packed["notes"][0].endswith("(published: 3471 videos)")
    names = zipfile.ZipFile(tmp_path / "a" / "x.zip").namelist()
    assert names == sorted(names)
    assert len(names) == packed["num_pictures"] == len(list((tmp_path / "P").rglob("*.png")))
    firsts = {name.split("/")[0] for name in names}
    videos = set(samples.by_video())
    roots = {"ref-youtube-vos": {"Annotations"}, "mevis": videos}
    assert firsts == roots.get(dataset, {f"anno_{a}" for a in range(4)})
    words = ["--root", str(root), "--predictions", str(tmp_path / "a" / "x.zip"), "--json"]
    assert main(["eval", dataset, *words, "--split", TREES[dataset][2]]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["J&F"] == 1.0


def test_the_same_predictions_give_the_same_archive(trees, tmp_path, capsys):
    root = trees("mevis")
    write_predictions(read_tree("mevis", root), tmp_path / "P")
    shutil.copytree(tmp_path / "P", tmp_path / "Q", copy_function=shutil.copyfile)
    digests = set()
    for number, source in enumerate(("P", "Q", "0.zip")):
        archive = tmp_path / f"{number}.zip"
        code, packed, _ = run(capsys, "mevis", root, tmp_path / source, archive)
        assert code == 0
        digests.add(packed["sha256"])
        members = zipfile.ZipFile(archive).infolist()
        assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert len(digests) == 1
    assert "are not the counts that a server knows (MeViS v1: 50 videos" in packed["notes"][0]


def first_mask(folder):
    return sorted(folder.rglob("*.png"))[0]


def drop_video(folder):
    shutil.rmtree(first_mask(folder).parents[1])


def drop_sentence(folder):
    shutil.rmtree(first_mask(folder).parent)


def drop_frame(folder):
    first_mask(folder).unlink()


def add_file(folder):
    shutil.copy(first_mask(folder), first_mask(folder).with_name("99999.png"))


def shrink(folder):
    for path in sorted(folder.rglob("*.png"))[:3]:
        write_mask_png(path, read_mask_png(path)[:-1] > 0)


def write_ones(folder):
    for path in sorted(folder.rglob("*.png"))[:2]:
        Image.fromarray(np.ones_like(read_mask_png(path))).save(path)


def write_palette(folder):
    write_palette_png(first_mask(folder), np.zeros_like(read_mask_png(first_mask(folder))))


def write_colors(folder):
    height, width = read_mask_png(first_mask(folder)).shape
    Image.new("RGB", (width, height)).save(first_mask(folder))


def tear(folder):
    first_mask(folder).write_bytes(first_mask(folder).read_bytes()[:50])


def nest(folder):
    shutil.move(folder / "Annotations", folder / "valid" / "Annotations")


def unwrap(folder):
    for path in (folder / "Annotations").iterdir():
        shutil.move(path, folder / path.name)
    (folder / "Annotations").rmdir()


def empty(folder):
    shutil.rmtree(folder / "Annotations")


@pytest.mark.parametrize(
    ("damage", "sentences"),
    [
        (drop_video, ["video ", " of ref-youtube-vos train is missing, expected such as "]),
        (drop_sentence, ["00000.png is missing (and 3 more pictures); every frame"]),
        (drop_frame, ["00000.png is missing; every frame of every sentence needs one"]),
        (add_file, ["99999.png is no picture that ref-youtube-vos train asks for; remove it"]),
        (shrink, ["00000.png is 56x39, expected 56x40 as its frame (and 2 more pictures); write"]),
        (
            write_ones,
            ["holds the value 1, expected only 0 and 255 (and 1 more picture); threshold"],
        ),
        (write_palette, ["has the picture mode P, expected gray of 8 bits (L); write"]),
        (write_colors, ["has the picture mode RGB"]),
        (tear, ["cannot be read as a picture"]),
        (
            nest,
            ["begins with 'valid/Annotations'", "ref-youtube-vos train begins with Annotations"],
        ),
        (unwrap, ["an archive of ref-youtube-vos train begins with Annotations; pass the folder"]),
        (empty, ["none of the 0 files of", "is a picture of ref-youtube-vos train"]),
    ],
)
def test_what_is_wrong_is_refused(damage, sentences, trees, tmp_path, capsys):
    root = trees("ref-youtube-vos")
    write_predictions(read_tree("ref-youtube-vos", root), tmp_path / "P")
    damage(tmp_path / "P")
    archive = tmp_path / "x.zip"
    archive.write_bytes(b"older")
    code, packed, error = run(capsys, "ref-youtube-vos", root, tmp_path / "P", archive)
    assert code == 2
    assert packed is None
    for sentence in sentences:
        assert sentence in error
    assert error.count("\n") == 1
    assert archive.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["P", "x.zip"]


def test_folder_above_the_videos_of_mevis(trees, tmp_path, capsys):
    root = trees("mevis")
    write_predictions(read_tree("mevis", root), tmp_path / "P" / "Annotations")
    code, _, error = run(capsys, "mevis", root, tmp_path / "P", tmp_path / "x.zip")
    assert code == 2
    assert (
        "begins with 'Annotations', but an archive of mevis valid_u begins with the names" in error
    )


def paint(value):
    def change(path, labels):
        write_palette_png(path, np.full_like(labels, value))

    return change


def use_other_colors(path, labels):
    picture = Image.fromarray(np.ones_like(labels))
    picture.putpalette([0, 0, 0, 9, 9, 9])
    picture.save(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (paint(7), "holds the id 7, expected only 0 and 1"),
        (lambda path, labels: write_mask_png(path, labels > 0), "expected a palette (P)"),
        (use_other_colors, "has not the palette of DAVIS"),
    ],
)
def test_maps_of_ids(change, sentence, trees, tmp_path, capsys):
    root = trees("ref-davis")
    write_predictions(read_tree("ref-davis", root), tmp_path / "P")
    path = sorted((tmp_path / "P" / "anno_3").rglob("*.png"))[-1]
    change(path, read_mask_png(path))
    code, _, error = run(capsys, "ref-davis", root, tmp_path / "P", tmp_path / "x.zip")
    assert code == 2
    assert sentence in error
    assert str(path) in error


@pytest.mark.parametrize(
    ("dataset", "output", "sentence"),
    [
        ("a2d", "x.zip", "expected a data set among ref-youtube-vos, mevis, ref-davis"),
        ("mevis", "x.tar", "expected an archive that ends in .zip"),
        ("mevis", "y.zip", "does not exist, expected a folder or a zip"),
    ],
)
def test_mistakes(dataset, output, sentence, tmp_path, capsys):
    code, _, error = run(capsys, dataset, tmp_path, tmp_path / "P", tmp_path / output)
    assert code == 2
    assert sentence in error


def test_sizes_need_the_frames_unless_said(trees, tmp_path, capsys):
    samples = read_tree("ref-youtube-vos", trees("ref-youtube-vos"))
    write_predictions(samples, tmp_path / "P")
    root = tmp_path / "tree"
    shutil.copytree(trees("ref-youtube-vos"), root, ignore=shutil.ignore_patterns("*.jpg"))
    code, _, error = run(capsys, "ref-youtube-vos", root, tmp_path / "P", tmp_path / "x.zip")
    assert code == 2
    assert ".jpg does not exist" in error
    words = ("ref-youtube-vos", root, tmp_path / "P", tmp_path / "x.zip", "--without-frames")
    assert run(capsys, *words)[0] == 0
    shrink(tmp_path / "P")
    code, _, error = run(capsys, *words)
    assert code == 2
    assert "is 56x40, expected 56x39 as its frame" in error


# ---- the real list -----------------------------------------------------------------------------


def encode(array):
    content = io.BytesIO()
    Image.fromarray(array).save(content, format="PNG")
    return content.getvalue()


MASK = encode(np.array([[0, 255, 0], [0, 255, 255]], dtype=np.uint8))
WRONG_SIZE = encode(np.zeros((3, 3), dtype=np.uint8))
WRONG_VALUES = encode(np.array([[0, 254, 0], [0, 255, 255]], dtype=np.uint8))


@pytest.fixture(scope="module")
def real_valid(assets, tmp_path_factory):
    """The published list, a list of test that leaves 202 of its videos, and a frame of each."""
    root = tmp_path_factory.mktemp("real")
    source = assets / "refer" / "ref_youtube_vos_valid_meta_expressions.json.gz"
    listed = json.loads(gzip.decompress(source.read_bytes()))["videos"]
    assert len(listed) == 507
    scored = sorted(listed)[::2][:202]
    lists = {"valid": listed, "test": {v: listed[v] for v in listed if v not in scored}}
    for split, videos in lists.items():
        path = root / "meta_expressions" / split / "meta_expressions.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"videos": videos}))
    for video in scored:
        frame = root / "valid" / "JPEGImages" / video / f"{listed[video]['frames'][0]}.jpg"
        frame.parent.mkdir(parents=True)
        Image.new("RGB", (3, 2)).save(frame)
    names = [
        f"Annotations/{video}/{number}/{frame}.png"
        for video in scored
        for number in listed[video]["expressions"]
        for frame in listed[video]["frames"]
    ]
    return root, names


def write_archive(path, pictures):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in pictures.items():
            archive.writestr(name, content)


@pytest.mark.assets
@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        pytest.param("right", None, marks=pytest.mark.slow),
        ("missing video", "of ref-youtube-vos valid is missing, expected such as"),
        ("missing frame", ".png is missing; every frame"),
        pytest.param(
            "wrong size", "is 3x3, expected 3x2 as its frame; write masks", marks=pytest.mark.slow
        ),
        pytest.param(
            "wrong values", "holds the value 254, expected only 0 and 255", marks=pytest.mark.slow
        ),
        ("wrong root", "begins with 'masks', but an archive of ref-youtube-vos valid begins with"),
    ],
)
def test_real_list_of_valid(case, sentence, real_valid, tmp_path, capsys):
    root, names = real_valid
    pictures = dict.fromkeys(names, MASK)
    last = names[-1]
    if case == "missing video":
        video = last.split("/")[1]
        pictures = {n: content for n, content in pictures.items() if n.split("/")[1] != video}
    elif case == "missing frame":
        del pictures[last]
    elif case == "wrong size":
        pictures[last] = WRONG_SIZE
    elif case == "wrong values":
        pictures[last] = WRONG_VALUES
    elif case == "wrong root":
        pictures = {n.replace("Annotations", "masks"): MASK for n in names}
    write_archive(tmp_path / "P.zip", pictures)
    output = tmp_path / "x.zip"
    code, packed, error = run(capsys, "ref-youtube-vos", root, tmp_path / "P.zip", output,
                              "--split", "valid")  # fmt: skip
    if sentence is None:
        assert code == 0
        assert (packed["num_videos"], packed["num_pictures"]) == (202, len(names))
        assert packed["notes"] == ["as many videos and sentences as published"]
        return
    assert code == 2
    assert sentence in error
    wrong_root = last.replace("Annotations", "masks").split("/")[0]
    assert (last.split("/")[1] in error) or wrong_root in error
    assert not output.exists()
