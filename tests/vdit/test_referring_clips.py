"""Scores on clips: perfect, blind and confused segmenters are told apart."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vdit.datasets.synthetic.language.captions import KINDS
from vdit.evaluation.referring_clips import ClipCase, no_target_report, score_clips
from vdit.stages.heldout import fix_split, load_cases


def case(name, seed):
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, 3, 24, 32), dtype=bool)
    masks[0, :, 2:8, 2:9] = True
    masks[1, :, 10:22, 12:30] = True
    frames = rng.integers(0, 255, (3, 24, 32, 3), dtype=np.uint8)
    return ClipCase(name, frames, masks, ((f"{name} small", 0), (f"{name} large", 1)))


@pytest.fixture
def cases():
    return [case("a", 0), case("b", 1), case("c", 2)]


class Answering:
    """Answers sentence by sentence with a function of (case, text)."""

    def __init__(self, cases, answer, sure=lambda prompt: 1.0):
        self.cases = {each.frames.tobytes(): each for each in cases}
        self.answer = answer
        self.sure = sure

    def segment(self, video, prompts, **changes):
        mine = self.cases[video.tobytes()]
        return [
            SimpleNamespace(masks=self.answer(mine, text), scores=np.full(3, self.sure(text)))
            for text in prompts
        ]


def test_a_perfect_segmenter(cases):
    def answer(mine, text):
        known = dict(mine.sentences)
        return mine.masks[known[text]] if text in known else np.zeros((3, 24, 32), dtype=bool)

    report = score_clips(Answering(cases, answer), cases)
    assert report["mean"]["J&F"] == 1.0
    assert report["swap"] == 1.0
    assert report["shuffled"] == 0.0
    assert report["largest_object"] == pytest.approx(0.5, abs=0.01)
    assert report["num_sentences"] == 6
    assert report["chosen"] == 1.0


def test_one_that_ignores_the_sentence(cases):
    report = score_clips(Answering(cases, lambda mine, text: mine.masks[1]), cases)
    assert report["mean"]["J&F"] == report["shuffled"] == report["largest_object"]
    assert report["swap"] == 0.0
    assert report["chosen"] == 0.5


def test_kinds_are_scored_apart(cases):
    cases = [replace(each, kinds=("tiny", "huge")) for each in cases]
    report = score_clips(Answering(cases, lambda mine, text: mine.masks[1]), cases)
    assert report["kinds"]["huge"] == {"sentences": 3, "J&F": 1.0, "chosen": 1.0}
    assert report["kinds"]["tiny"]["sentences"] == 3
    assert report["kinds"]["tiny"]["chosen"] == 0.0


def test_an_empty_answer_chooses_nothing(cases):
    empty = np.zeros((3, 24, 32), dtype=bool)
    assert score_clips(Answering(cases, lambda mine, text: empty), cases)["chosen"] == 0.0


def test_one_that_confuses_the_objects(cases):
    def answer(mine, text):
        return mine.masks[0 if "large" in text else 1]

    report = score_clips(Answering(cases, answer), cases)
    assert report["mean"]["J"] == 0.0
    assert report["swap"] == 0.0


def test_what_is_not_there_is_refused_by_its_score(cases):
    cases = [replace(each, absent=("nothing", "small nothing")) for each in cases]
    sure = {"nothing": 0.1, "small nothing": 0.6}
    segmenter = Answering(cases, lambda mine, text: mine.masks[1], lambda text: sure.get(text, 0.9))
    report = score_clips(segmenter, cases, threshold=0.5)["no_target"]
    assert report == {
        "sentences": 6, "threshold": 0.5, "refused": 0.5, "kept": 1.0, "auroc": 1.0,
    }  # fmt: skip
    assert score_clips(segmenter, [replace(each, absent=()) for each in cases])["no_target"] is None


def test_pairs_of_scores_are_in_order_or_not():
    report = no_target_report([0.2, 0.8], [0.2, 0.5], threshold=0.3)
    assert report["auroc"] == (0.5 + 0 + 1 + 1) / 4
    assert (report["refused"], report["kept"]) == (0.5, 0.5)


def test_too_few_clips(cases):
    with pytest.raises(ValueError, match="expected at least two clips"):
        score_clips(Answering(cases, None), cases[:1])


def test_a_split_gives_the_same_clips_or_says_so(tmp_path):
    path = tmp_path / "split.json"
    facts = fix_split(path, "simple", list(KINDS), count=4, num_frames=3, side=48)
    assert 0 <= facts["twins"] <= 1
    assert 0 < facts["median_area"] < 0.5
    cases = load_cases(path)
    assert len(cases) == 4
    for each in cases:
        indices = [index for _, index in each.sentences]
        assert len(set(indices)) == len(indices)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"first_seed": 1}))
    with pytest.raises(ValueError, match="expected the bytes of renderer version"):
        load_cases(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="expected a split file"):
        load_cases(path)
