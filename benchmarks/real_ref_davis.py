"""Real frames, masks and sentences through inference and strict scoring, as Ref-DAVIS17.

    python benchmarks/real_ref_davis.py --assets DIR -o real_ref_davis.json

DIR holds sequences of DAVIS (`davis/`) and sentences about them (`refer/refvos_a2d/`). They become
a tree as Ref-DAVIS17 is downloaded, in a temporary folder. There is one sentence an object, which
stands for all four annotators. Left out: sequences with several objects, whose masks are joined.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import io
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from vdit.benchmarking.facts import run_facts
from vdit.cli import main
from vdit.masks import read_mask_png, write_palette_png

TEXTS = ("annot1", "annot1_full_video", "annot2", "annot2_full_video")


def read_sentences(assets: Path) -> dict[str, dict[str, str]]:
    """Sentences by sequence and object."""
    path = assets / "refer" / "refvos_a2d" / "DAVIS17_RE_categorization.csv"
    sentences: dict[str, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter=";"):
            of_video = sentences.setdefault(row["video_id"], {})
            of_video[row["instance_id"]] = row["ref_exp"]
    return sentences


def build_tree(
    assets: Path, root: Path, sequences: list[str] | None = None, num_frames: int | None = None
) -> dict[str, str]:
    """Lay the sequences with one object out as Ref-DAVIS17; give their sentences."""
    davis = assets / "davis"
    sentences = read_sentences(assets)
    found = {}
    for folder in sorted((davis / "JPEGImages" / "480p").iterdir()):
        name = folder.name
        if len(sentences.get(name, {})) != 1 or (sequences and name not in sequences):
            continue
        (found[name],) = sentences[name].values()
        frames = root / "DAVIS" / "JPEGImages" / "480p" / name
        frames.mkdir(parents=True)
        for picture in sorted(folder.glob("*.jpg"))[:num_frames]:
            (frames / picture.name).symlink_to(picture.resolve())
            mask = read_mask_png(davis / "Annotations" / "480p" / name / f"{picture.stem}.png")
            labels = root / "DAVIS" / "Annotations_unsupervised" / "480p" / name
            write_palette_png(labels / f"{picture.stem}.png", (mask > 0).astype(np.uint8))
    lists = root / "DAVIS" / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in found))
    texts = root / "davis_text_annotations"
    texts.mkdir()
    for name in TEXTS:
        lines = [f'{video} 1 "{sentence}"\n' for video, sentence in found.items()]
        (texts / f"Davis17_{name}.txt").write_text("".join(lines))
    return found


def import_commands() -> None:
    """Import all code at the start: a long run should not meet a later version of a file."""
    for name in ("data", "infer", "eval"):
        importlib.import_module(f"vdit.commands.{name}")


def call(*words: str) -> dict:
    """Run a command of vdit in this process; give what it prints as JSON."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main([*words, "--json"])
    if code:
        raise SystemExit(code)
    return json.loads(printed.getvalue())


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--model", default="vdit-mini")
    parser.add_argument("--frames", type=int, help="of each sequence; all without")
    parser.add_argument("--sequences", nargs="*")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    import_commands()
    facts = run_facts()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root, predictions = Path(folder) / "ref-davis", Path(folder) / "predictions"
        sentences = build_tree(options.assets, root, options.sequences, options.frames)
        checked = call("data", "check", "ref-davis", str(root), "--split", "valid")
        common = ["ref-davis", "--root", str(root)]
        inferred = call("infer", *common, "--model", options.model, "-o", str(predictions))
        scored = {
            protocol: call(
                "eval", *common, "--predictions", str(predictions), "--protocol", protocol
            )
            for protocol in ("strict", "released")
        }
    result = {
        **facts,
        "sentences": sentences,
        "complete_data": checked["complete"],
        "inference": inferred,
        "metrics": {protocol: report["metrics"] for protocol, report in scored.items()},
        "videos": {
            protocol: {row["video"]: round(row["J&F"], 4) for row in report["videos"]}
            for protocol, report in scored.items()
        },
        "seconds": round(time.perf_counter() - start, 1),
    }
    text = json.dumps(result, indent=2).replace(folder, "TMP").replace(str(options.assets), "DIR")
    options.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    run()
