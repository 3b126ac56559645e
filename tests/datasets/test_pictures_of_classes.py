"""ImageNet-1k, Places365 and iNaturalist 2018: pictures as videos of one frame."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io

from tests.datasets.tiny_files import listed, values_of, write_picture, write_text
from vdit.datasets.checking import check
from vdit.datasets.imagenet import IMAGENET_1K, read_imagenet
from vdit.datasets.inaturalist import INATURALIST_2018, read_inaturalist
from vdit.datasets.places365 import PLACES365, read_places365

FISH, COCK = "n01440764", "n01514668"
DEVKIT = "ILSVRC2012_devkit_t12/data"


# ---- ImageNet ----------------------------------------------------------------------------------


def write_train(root):
    write_picture(root / "train" / FISH / f"{FISH}_10.JPEG", 50, (40, 20))
    write_picture(root / "train" / FISH / f"{FISH}_9.JPEG", 60, (16, 24), "L")
    write_picture(root / "train" / COCK / f"{COCK}_1.JPEG", 70, (8, 8), "CMYK")


def write_flat_val(root):
    for number, value in enumerate((10, 30, 20), start=1):
        write_picture(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", value)


def write_devkit(root, truth=(2, 1, 2), numbers=(1, 2, 1001)):
    rows = zip(
        numbers, (FISH, COCK, "n00001740"), ("tench, Tinca tinca", "cock", "entity"), strict=True
    )
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
    folder = root / DEVKIT
    write_text(folder / "ILSVRC2012_validation_ground_truth.txt", *truth)
    synsets = np.array([tuple(row) for row in rows], dtype=fields)[:, None]
    scipy.io.savemat(folder / "meta.mat", {"synsets": synsets})


def test_training_pictures_by_folder(tmp_path):
    write_train(tmp_path)
    dataset = read_imagenet(tmp_path, "train")
    assert dataset.classes == (FISH, COCK)
    assert listed(dataset) == [
        (f"{FISH}/{FISH}_10.JPEG", FISH),
        (f"{FISH}/{FISH}_9.JPEG", FISH),
        (f"{COCK}/{COCK}_1.JPEG", COCK),
    ]
    assert [video.size for video in dataset] == [(20, 40), (24, 16), (8, 8)]
    assert [video.frames().shape for video in dataset] == [
        (1, 20, 40, 3), (1, 24, 16, 3), (1, 8, 8, 3),
    ]  # fmt: skip
    assert values_of(dataset[1]) == pytest.approx([60], abs=2)
    report = check(IMAGENET_1K, tmp_path)
    assert (report.is_complete, report.absent) == (True, ["val"])


def test_validation_in_folders(tmp_path):
    write_train(tmp_path)
    write_picture(tmp_path / "val" / COCK / "ILSVRC2012_val_00000007.JPEG", 70)
    dataset = read_imagenet(tmp_path, "val")
    assert dataset.classes == (FISH, COCK)
    assert listed(dataset) == [(f"{COCK}/ILSVRC2012_val_00000007.JPEG", COCK)]


def test_validation_with_the_devkit(tmp_path):
    write_flat_val(tmp_path)
    write_devkit(tmp_path, numbers=(2, 1, 1001))  # numbers of the devkit are in another order
    dataset = read_imagenet(tmp_path, "val")
    assert dataset.classes == ("tench, Tinca tinca", "cock")
    assert [video.label for video in dataset] == [0, 1, 0]
    assert [values_of(video)[0] for video in dataset] == pytest.approx([10, 30, 20], abs=2)
    assert dataset[2].name == "ILSVRC2012_val_00000003"
    write_train(tmp_path)
    assert read_imagenet(tmp_path, "train").classes == dataset.classes
    assert check(IMAGENET_1K, tmp_path).is_complete
    (tmp_path / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()
    (problem,) = check(IMAGENET_1K, tmp_path, "val").splits["val"].problems
    assert (problem.what, problem.count) == ("frames are missing", 1)


def test_the_tree_of_kaggle(tmp_path):
    data = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    write_train(data)
    write_flat_val(data)
    boxes = [f"ILSVRC2012_val_{number:08d},{wnid} 1 2 3 4 {wnid} 5 6 7 8"
             for number, wnid in ((3, FISH), (1, COCK), (2, FISH))]  # fmt: skip
    write_text(tmp_path / "LOC_val_solution.csv", "ImageId,PredictionString", *boxes)
    names = [f"{FISH} tench, Tinca tinca", f"{COCK} cock"]
    write_text(tmp_path / "LOC_synset_mapping.txt", *names)
    dataset = read_imagenet(tmp_path, "val")
    assert dataset.classes == ("tench, Tinca tinca", "cock")
    assert [video.label for video in dataset] == [1, 0, 0]
    assert len(read_imagenet(tmp_path, "train")) == 3
    assert check(IMAGENET_1K, tmp_path).is_complete


def test_mistakes_of_imagenet(tmp_path):
    with pytest.raises(ValueError, match="split='test' is unknown"):
        read_imagenet(tmp_path, "test")
    with pytest.raises(ValueError, match="holds no folder, expected one for each category"):
        read_imagenet(tmp_path, "train")
    write_flat_val(tmp_path)
    with pytest.raises(ValueError, match="pictures without folders, expected ILSVRC2012_valid"):
        read_imagenet(tmp_path, "val")
    write_devkit(tmp_path, truth=(1, 2, 3))
    with pytest.raises(ValueError, match="line 3 is '3', expected the number of a category"):
        read_imagenet(tmp_path, "val")
    (tmp_path / DEVKIT / "meta.mat").write_bytes(b"no matrix")
    with pytest.raises(ValueError, match=r"meta\.mat cannot be read"):
        read_imagenet(tmp_path, "val")
    (tmp_path / DEVKIT / "meta.mat").unlink()
    with pytest.raises(ValueError, match=r"meta\.mat does not exist"):
        read_imagenet(tmp_path, "val")
    write_text(tmp_path / "LOC_val_solution.csv", "ImageId,PredictionString", "a,")
    with pytest.raises(ValueError, match="has a line without a picture or an id"):
        read_imagenet(tmp_path, "val")


# ---- Places365 ---------------------------------------------------------------------------------


def write_places(root, lists=".", train="data_large", val="val_large"):
    folder = root / lists
    write_text(folder / "categories_places365.txt", "/a/airfield 0", "/b/balcony/exterior 1")
    train_lines = ["/b/balcony/exterior/00000002.jpg 1", "/a/airfield/00000001.jpg 0"]
    write_text(folder / "places365_train_standard.txt", *train_lines)
    write_text(folder / "places365_val.txt", "Places365_val_00000001.jpg 1")
    write_picture(root / train / "a/airfield/00000001.jpg", 30)
    write_picture(root / train / "b/balcony/exterior/00000002.jpg", 60, (20, 30))
    write_picture(root / val / "Places365_val_00000001.jpg", 90)
    return root


def test_places(tmp_path):
    root = write_places(tmp_path)
    train, val = read_places365(root, "train"), read_places365(root, "val")
    assert train.classes == val.classes == ("a/airfield", "b/balcony/exterior")
    assert listed(train) == [
        ("b/balcony/exterior/00000002.jpg", "b/balcony/exterior"),
        ("a/airfield/00000001.jpg", "a/airfield"),
    ]
    assert [values_of(video)[0] for video in train] == pytest.approx([60, 30], abs=2)
    assert [video.label for video in val] == [1]
    assert train[0].size == (30, 20)


@pytest.mark.parametrize(
    ("lists", "train", "val"),
    [
        ("filelist_places365-standard", "data_256", "val_256"),
        ("meta", "data_large_standard", "val_large"),
        (".", "data_256_standard", "val_256"),
    ],
)
def test_where_places_lie(tmp_path, lists, train, val):
    assert check(PLACES365, write_places(tmp_path, lists, train, val)).is_complete


def test_mistakes_of_places(tmp_path):
    root = write_places(tmp_path)
    with pytest.raises(ValueError, match="split='test' is unknown"):
        read_places365(root, "test")
    write_text(root / "places365_val.txt", "Places365_val_00000001.jpg")
    with pytest.raises(ValueError, match=r"line 1 is 'Places365.*expected a path and a number"):
        read_places365(root, "val")
    write_text(root / "places365_val.txt", "a.jpg 2")
    with pytest.raises(ValueError, match=r"a\.jpg is of class 2, expected one below 2"):
        read_places365(root, "val")
    write_text(root / "places365_val.txt", "a 1")
    with pytest.raises(ValueError, match="has no extension, expected a picture"):
        read_places365(root, "val")
    write_text(root / "categories_places365.txt", "/a/airfield 1")
    with pytest.raises(ValueError, match="does not number its classes from 0"):
        read_places365(root, "val")


# ---- iNaturalist -------------------------------------------------------------------------------


@pytest.fixture
def inaturalist(tmp_path):
    categories = [{"id": k, "name": str(k), "supercategory": "Aves"} for k in (4, 0, 2)]
    pictures = {"train": ((7, 4, "Aves/4/b.jpg"), (3, 0, "Plantae/0/a.jpg")),
                "val": ((9, 2, "Aves/2/c.jpg"),)}  # fmt: skip
    for split, rows in pictures.items():
        data = {
            "info": {"year": 2018},
            "images": [{"id": i, "file_name": f"train_val2018/{file}", "height": 24, "width": 32}
                       for i, _, file in rows],
            "annotations": [{"id": i, "image_id": i, "category_id": c} for i, c, _ in rows][::-1],
            "categories": categories,
        }  # fmt: skip
        (tmp_path / f"{split}2018.json").write_text(json.dumps(data))
        for number, _, file in rows:
            write_picture(tmp_path / "train_val2018" / file, 10 * number)
    return tmp_path


def test_inaturalist(inaturalist):
    train = read_inaturalist(inaturalist, "train")
    assert listed(train) == [
        ("train_val2018/Aves/4/b.jpg", "4"), ("train_val2018/Plantae/0/a.jpg", "0"),
    ]  # fmt: skip
    assert [video.label for video in train] == [2, 0]
    assert [values_of(video)[0] for video in train] == pytest.approx([70, 30], abs=2)
    assert [video.label for video in read_inaturalist(inaturalist, "val")] == [1]
    assert check(INATURALIST_2018, inaturalist).is_complete
    names = [{"id": k, "name": name} for k, name in enumerate(["oak", "ash", "owl", "-", "jay"])]
    (inaturalist / "categories.json").write_text(json.dumps(names))
    assert read_inaturalist(inaturalist, "val").classes == ("oak", "owl", "jay")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ({"annotations": None}, "not in the form of COCO"),
        ({"categories": [{"id": 0}]}, "not in the form of COCO"),
        ({"annotations": []}, r"picture train_val2018/Aves/2/c\.jpg has no annotation"),
        ({"annotations": [{"image_id": 9, "category_id": 1}]}, "class 1, which is none of the 3"),
    ],
)
def test_damaged_lists_of_inaturalist(inaturalist, damage, sentence):
    path = inaturalist / "val2018.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(ValueError, match=sentence):
        read_inaturalist(inaturalist, "val")
    with pytest.raises(ValueError, match="split='test' is unknown"):
        read_inaturalist(inaturalist, "test")


# ---- all of them -------------------------------------------------------------------------------


def test_reading_opens_no_picture(tmp_path, inaturalist):
    for path in inaturalist.rglob("*.jpg"):
        path.unlink()
    assert len(read_inaturalist(inaturalist, "train")) == 2
    places = write_places(tmp_path / "places")
    for path in places.rglob("*.jpg"):
        path.unlink()
    assert len(read_places365(places, "train")) == 2


def test_a_hundred_thousand_pictures_are_read_at_once(tmp_path):
    names = [f"/a/place_{k}" for k in range(365)]
    write_text(tmp_path / "categories_places365.txt", *(f"{n} {k}" for k, n in enumerate(names)))
    lines = (f"{names[k % 365]}/{k:08d}.jpg {k % 365}" for k in range(100_000))
    write_text(tmp_path / "places365_train_standard.txt", *lines)
    dataset = read_places365(tmp_path, "train")
    assert len(dataset) == 100_000
    folders = {id(video.frame_source.folder) for video in dataset}
    assert len(folders) == 365  # shared, which keeps the list small
