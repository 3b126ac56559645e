"""RefSynth's parts show what they promise, and nothing of one leaks into another."""

from dataclasses import replace

import numpy as np
import pytest

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.clip import Caption
from vdit.datasets.synthetic.materials import COLORS
from vdit.datasets.synthetic.refsynth import (
    PARTS,
    REFSYNTH_VERSION,
    TARGET_KINDS,
    RefSynth,
    choose_sentences,
)
from vdit.datasets.synthetic.refsynth_recipes import HELD_OUT, is_held_out
from vdit.datasets.synthetic.render import annotate
from vdit.stages.clips import FIRST_TRAINING_SEED

DIGESTS = {
    "train": "ab716ad83f70b47f",
    "val": "b445f222c60938ac",
    "seen": "03a07ee540cc93eb",
    "combinations": "ef5fcec773cd984a",
    "identical": "1bedd1be92bbc9a0",
    "no-target": "4cc448714dce5efe",
    "lighting": "872aaa7ced41ec8b",
}
"""Of the first ten scenes of every part of version 1.0."""


def scenes(part, count=60):
    clips = RefSynth(part)
    return [clips.scene(index) for index in range(min(count, len(clips)))]


def test_every_category_and_every_color_is_seen_and_held_out():
    for category in CATEGORIES:
        assert sum(name == category for name, _ in HELD_OUT) == 2
    for color in COLORS:
        held_out = sum(name == color for _, name in HELD_OUT)
        assert 2 <= held_out <= 4


@pytest.mark.parametrize("part", [name for name in PARTS if name != "combinations"])
def test_held_out_looks_are_shown_nowhere_else(part):
    solids = [spec for scene in scenes(part) for spec in scene.objects if not spec.sprite]
    assert len(solids) > 100
    assert not any(is_held_out(spec) for spec in solids)


def test_unseen_combinations_need_both_words():
    looks = set()
    for scene in scenes("combinations"):
        first, twin, other = scene.objects[:3]
        assert is_held_out(first)
        assert not any(is_held_out(spec) for spec in scene.objects[1:])
        assert twin.category == first.category
        assert twin.color != first.color
        assert other.color == first.color
        assert other.category != first.category
        looks.add((first.category, first.color))
    assert len(looks) > 20


def test_equal_objects_are_equal():
    for scene in scenes("identical"):
        looks = {(spec.category, spec.color, spec.pattern, spec.size) for spec in scene.objects}
        assert len(looks) == 1
        assert len({spec.motion.program for spec in scene.objects}) == len(scene.objects) >= 2


def test_dim_clips_are_those_of_seen_but_for_the_light():
    seen, dim = RefSynth("seen", 2), RefSynth("lighting", 2)
    assert replace(dim.scene(1), light=seen.scene(1).light) == seen.scene(1)
    bright, dark = seen[1], dim[1]
    assert bright.captions == dark.captions
    np.testing.assert_array_equal(bright.instances, dark.instances)
    assert dark.frames.mean() < 0.95 * bright.frames.mean()

    def swing(frames):
        brightness = frames.mean(axis=(1, 2, 3))
        return np.ptp(brightness) / brightness.mean()

    assert swing(dark.frames) > 3 * swing(bright.frames)


def test_parts_share_no_seed():
    spans = {
        name: range(part.first_seed, part.first_seed + part.count)
        for name, part in PARTS.items()
        if name != "lighting"  # the clips of seen
    }
    seeds = [seed for span in spans.values() for seed in span]
    assert len(seeds) == len(set(seeds))
    assert spans.pop("train")[0] == FIRST_TRAINING_SEED
    assert max(span[-1] for span in spans.values()) < FIRST_TRAINING_SEED


def test_which_sentences_count():
    scene = RefSynth("combinations").scene(0)
    told = [
        Caption("the new look", "appearance", (0,)),
        Caption("its twin", "appearance", (1,)),
        Caption("both", "several", (0, 1)),
        Caption("the mover", "motion", (0,)),
        Caption("nothing", "no target", ()),
    ]

    def chosen(part):
        return [caption.text for caption in choose_sentences(told, scene, PARTS[part])]

    assert chosen("train") == ["the new look", "its twin", "the mover", "nothing"]
    assert chosen("seen") == ["the new look", "its twin", "the mover"]
    assert chosen("combinations") == ["the new look", "the mover"]
    assert chosen("identical") == ["the mover"]


@pytest.mark.parametrize("part", PARTS)
def test_parts_have_sentences_of_their_kinds(part):
    kinds = set()
    for scene in scenes(part, 12):
        told = annotate(scene, PARTS[part].per_kind).captions
        kinds |= {caption.kind for caption in choose_sentences(told, scene, PARTS[part])}
    assert kinds <= set(PARTS[part].kinds)
    missing = {"category"} if part == "combinations" else set()  # its twin is of one category
    assert kinds >= (set(PARTS[part].kinds) & set(TARGET_KINDS)) - missing


@pytest.mark.parametrize("part", PARTS)
def test_another_scene_needs_another_version(part):
    assert (REFSYNTH_VERSION, RefSynth(part, 10).digest()) == ("1.0", DIGESTS[part])


def test_mistakes():
    with pytest.raises(ValueError, match=r"expected a part among train, val.*got 'unseen'"):
        RefSynth("unseen")
    with pytest.raises(ValueError, match=r"expected a count in 1..150, the clips of seen; got 151"):
        RefSynth("seen", 151)
    with pytest.raises(IndexError, match=r"0..149, got 150"):
        RefSynth("seen")[150]
