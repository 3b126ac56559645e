"""Clips as data sets for action recognition: folders of classes, UCF101 and HMDB51."""

from __future__ import annotations

from pathlib import Path

from vdit.datasets.synthetic.scene import Scene
from vdit.datasets.synthetic.writers.records import (
    NamedClips,
    name_folder,
    record_clips,
    write_lines,
    write_video,
)

_CLIPS_PER_GROUP = 7  # of UCF101, whose groups are never split between training and testing


def write_class_folders(
    clips: NamedClips, root: Path, split: str = "train", label: str = "action"
) -> None:
    """Write one split as <split>/<class>/<clip>.mp4, the layout of Kinetics and ImageNet.

    Args:
        clips: names and clips.
        root: folder of the tree.
        split: "train", "val" or "test".
        label: "action" = the scene's action, "category" = that of the first object.

    Raises:
        ValueError: no clip, or one without the label.
    """
    root = Path(root)
    for name, clip in record_clips(clips, root, split):
        folder = name_folder(_find_label(name, clip.scene, label))
        write_video(root / split / folder / f"{name}.mp4", clip)


def write_ucf101(train: NamedClips, test: NamedClips, root: Path) -> None:
    """Write split 1 of a tree like UCF101.

        UCF-101/<Class>/v_<Class>_g%02d_c%02d.mp4
        ucfTrainTestlist/classInd.txt       "<id> <Class>", ids from 1 in the order of the names
        ucfTrainTestlist/trainlist01.txt    "<Class>/<file> <id>"
        ucfTrainTestlist/testlist01.txt     "<Class>/<file>"

    An action "roll left" is the class RollLeft. Videos are numbered as they come, seven in a
    group; the real ones are .avi, which cannot be written here.

    Args:
        train: names, which only rendered.json keeps, and clips for training.
        test: the same for testing.
        root: folder of the tree.

    Raises:
        ValueError: no clip for one of the two, or one without an action.
    """
    root = Path(root)
    counts: dict[str, int] = {}
    files: dict[str, list[tuple[str, str]]] = {}
    for split, clips in (("train", train), ("test", test)):
        files[split] = []
        # the next split starts a new group
        counts = {
            name: -(-count // _CLIPS_PER_GROUP) * _CLIPS_PER_GROUP for name, count in counts.items()
        }
        for name, clip in record_clips(clips, root, split):
            words = _find_label(name, clip.scene, "action").replace("_", " ").split()
            class_name = "".join(word[0].upper() + word[1:] for word in words)
            group, place = divmod(counts.get(class_name, 0), _CLIPS_PER_GROUP)
            counts[class_name] = counts.get(class_name, 0) + 1
            file_name = f"v_{class_name}_g{group + 1:02d}_c{place + 1:02d}.mp4"
            write_video(root / "UCF-101" / class_name / file_name, clip)
            files[split].append((class_name, f"{class_name}/{file_name}"))
    ids = {class_name: number for number, class_name in enumerate(sorted(counts), start=1)}
    lists = root / "ucfTrainTestlist"
    write_lines(lists / "classInd.txt", (f"{number} {name}" for name, number in ids.items()))
    write_lines(
        lists / "trainlist01.txt", (f"{file} {ids[name]}" for name, file in sorted(files["train"]))
    )
    write_lines(lists / "testlist01.txt", (file for _, file in sorted(files["test"])))


def write_hmdb51(train: NamedClips, test: NamedClips, root: Path) -> None:
    """Write split 1 of a tree like HMDB51.

        <class>/<clip>.mp4
        testTrainMulti_7030_splits/<class>_test_split1.txt    "<clip>.mp4 1 " = train, 2 = test

    Args:
        train: names and clips for training.
        test: the same for testing; names differ from those for training.
        root: folder of the tree; the real videos are .avi, which cannot be written here.

    Raises:
        ValueError: no clip for one of the two, one without an action, or a name that comes twice.
    """
    root = Path(root)
    lines: dict[str, list[str]] = {}
    names: set[str] = set()
    for flag, split, clips in ((1, "train", train), (2, "test", test)):
        for name, clip in record_clips(clips, root, split):
            if name in names:
                raise ValueError(
                    f"clip {name} is for training and for testing, expected different names; "
                    "rename one"
                )
            names.add(name)
            action = name_folder(_find_label(name, clip.scene, "action"))
            write_video(root / action / f"{name}.mp4", clip)
            lines.setdefault(action, []).append(f"{name}.mp4 {flag} ")
    for action, rows in lines.items():
        path = root / "testTrainMulti_7030_splits" / f"{action}_test_split1.txt"
        write_lines(path, sorted(rows))


def _find_label(name: str, scene: Scene, label: str) -> str:
    if label == "action":
        found = scene.action
    elif label == "category":
        found = scene.objects[0].category if scene.objects else ""
    else:
        raise ValueError(f"label={label!r} is unknown, expected 'action' or 'category'")
    if not found:
        raise ValueError(f"clip {name} has no {label}, expected one; leave the clip out")
    return found
