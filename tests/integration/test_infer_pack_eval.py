"""Predictions as `vdit infer` writes them are packed and scored: the truth scores 1."""

import json

import numpy as np
import pytest

from vdit.cli import main
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.layouts import LAYOUTS
from vdit.evaluation.inference import run_inference
from vdit.evaluation.inference_config import read_inference_config
from vdit.evaluation.prediction_layouts import LABEL_DATASETS, MASK_DATASETS
from vdit.prediction import FramePrediction

WRITTEN = {"ref-davis": "val"}  # splits as the writers call them
SPLITS = {"ref-youtube-vos": "train"}  # that has truth
MAIN_METRIC = {
    "ref-youtube-vos": "J&F",
    "ref-davis": "J&F",
    "mevis": "J&F",
    "a2d": "overall IoU",
    "jhmdb": "overall IoU",
    "refcoco": "overall IoU",
}


class Oracle:
    """A segmenter that looks the answers up; it is told the video where encodings would be."""

    def stream(self, frames, prompts, options, *, encodings):
        truth = {sample.text: sample for sample in encodings}
        truth |= {sample.caption: sample for sample in encodings}
        for index, frame in enumerate(frames):
            masks = np.stack([self.mask(truth[prompt], index) for prompt in prompts])
            yield self.answer(index, frame.name, frame.image, masks)

    def segment_frame(self, images, numbers, position, prompts, options, *, encodings):
        index = numbers[position]
        truth = {
            sample.caption: sample
            for sample in encodings
            if sample.labelled is None or index in sample.labelled
        }
        masks = np.stack([self.mask(truth[prompt], index) for prompt in prompts])
        wrong = np.zeros_like(masks)
        frame = self.answer(index, "", images[position], masks)
        frame.query_masks = np.stack([wrong, masks], axis=1)
        frame.query_scores = np.tile(np.array([0.2, 0.9], np.float32), (len(prompts), 1))
        return frame

    def mask(self, sample, index):
        return sample.masks([index])[:, 0].any(axis=0)

    def answer(self, index, name, image, masks):
        scores = np.ones(len(masks), np.float32)
        boxes = np.zeros((len(masks), 4), np.float32)
        probabilities = masks.astype(np.float32)
        return FramePrediction(
            index, name, None, image, masks, scores, boxes, probabilities=probabilities
        )


class Answers:
    def __init__(self, videos):
        self.videos = videos

    def video(self, name):
        return self.videos[name]


@pytest.mark.parametrize("dataset", sorted(MAIN_METRIC))
def test_the_truth_scores_one(dataset, tmp_path, capsys):
    if dataset == "a2d":
        pytest.importorskip("h5py")
    clips = [(f"v{k}", render(make_scene("referring", k, 4, 40, 56))) for k in (0, 1)]
    config = read_inference_config(dataset)
    split = SPLITS.get(dataset, config.split)
    root, out = tmp_path / "data", tmp_path / "out"
    LAYOUTS[dataset](clips, root, WRITTEN.get(dataset, split))
    videos = REFERRING_DATASETS[dataset].read(root, split).by_video()
    run_inference(Oracle(), videos, config, out, encodings=Answers(videos))
    words = ["eval", dataset, "--root", str(root), "--predictions", str(out), "--split", split]
    assert main([*words, "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics[MAIN_METRIC[dataset]] == pytest.approx(1.0)
    if dataset in (*MASK_DATASETS, *LABEL_DATASETS):
        archive = tmp_path / "submission.zip"
        assert main(["pack", *words[1:], "-o", str(archive), "--json"]) == 0
        capsys.readouterr()
        words[words.index(str(out))] = str(archive)
        assert main([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["metrics"]["J&F"] == pytest.approx(1.0)
    if dataset == "ref-davis":
        assert main([*words, "--protocol", "strict", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["metrics"]["J&F"] == pytest.approx(1.0)
