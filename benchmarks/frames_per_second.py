"""Frames a second of inference on a benchmark, one sentence a pass and all sentences of a video.

    OMP_NUM_THREADS=1 python benchmarks/frames_per_second.py --model vdit-mini -o fps_mini.json

A tree of Ref-YouTube-VOS is rendered. A frame counts once for each sentence; decoding and writing
are left out, and so is the first video. Wall time suffers from other work, so the processor
seconds of the whole run after loading, which include decoding and writing, are given too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from vdit import ReferringSegmenter
from vdit.benchmarking.facts import run_facts
from vdit.build import quiet_libraries
from vdit.cli import main as vdit
from vdit.datasets.ref_youtube_vos import read_ref_youtube_vos
from vdit.encoding_cache import CacheRecipe, describe_encoder, store_encodings
from vdit.evaluation.inference import run_inference
from vdit.evaluation.inference_config import read_inference_config
from vdit.measure import peak_memory
from vdit.segment_options import PAD_MULTIPLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vdit-mini")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--videos", type=int, default=3)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--sentences", type=int, default=4, help="of each video")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    facts = run_facts()
    quiet_libraries()
    segmenter = ReferringSegmenter.from_pretrained(
        options.model, device=options.device, dtype=getattr(torch, options.dtype)
    )
    with tempfile.TemporaryDirectory() as folder:
        words = ["data", "render", "referring", "-o", f"{folder}/data", "--split", "valid"]
        words += ["--layout", "ref-youtube-vos", "--count", str(options.videos)]
        words += ["--frames", str(options.frames), "--height", str(options.height)]
        if vdit([*words, "--width", str(options.width)]):
            raise SystemExit("the clips could not be rendered")
        dataset = read_ref_youtube_vos(Path(folder) / "data", "valid")
        videos = {
            name: samples[: options.sentences] for name, samples in dataset.by_video().items()
        }
        config = read_inference_config("ref-youtube-vos")
        together = replace(config, sentences=None)
        cache = _store(segmenter, videos, Path(folder) / "cache")
        runs = {
            "one_sentence_a_pass": (replace(config, sentences=1), None),
            "all_sentences_of_a_video": (together, None),
            "all_sentences_with_cache": (together, cache),
        }
        results = {}
        for name, (chosen, encodings) in runs.items():
            start = time.process_time()
            report = run_inference(
                segmenter, videos, chosen, Path(folder) / name, encodings=encodings
            )
            results[name] = asdict(report) | {
                "processor_seconds": round(time.process_time() - start, 2)
            }
    result = {
        **facts,
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "short_side": segmenter.short_side,
        "runs": results,
        "peak_memory_bytes": peak_memory(),
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _store(segmenter: ReferringSegmenter, videos: dict, folder: Path):
    backbone = segmenter.model.backbone
    encoder = describe_encoder(backbone)
    recipe = CacheRecipe(
        "ref-youtube-vos", "valid", segmenter.short_side, None, PAD_MULTIPLE, encoder
    )
    wanted = {
        name: (samples[0], range(len(samples[0].frame_names))) for name, samples in videos.items()
    }
    return store_encodings(backbone, wanted, folder, recipe)


if __name__ == "__main__":
    main()
