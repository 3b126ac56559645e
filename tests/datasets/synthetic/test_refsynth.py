"""RefSynth's parts show what they promise, and nothing of one leaks into another."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.clip import Caption
from vdit.datasets.synthetic.materials import COLORS
from vdit.datasets.synthetic.refsynth import (
    PARTS,
    REFSYNTH_VERSION,
    RefSynth,
    choose_sentences,
)
from vdit.datasets.synthetic.refsynth_recipes import HELD_OUT, is_held_out
from vdit.datasets.synthetic.render import annotate
from vdit.stages.clips import FIRST_TRAINING_SEED

DIGESTS = {
    "train": "52b1ea5dc14877c0",
    "val": "4583aa55d207a319",
    "seen": "2a1f0302e929bb0b",
    "combinations": "230c66326c8681ca",
    "identical": "edccfb5ab7347b1f",
    "no-target": "94f15a11a37a2c79",
    "lighting": "e7c39442a560ded3",
}
"""Of the first ten scenes and the first sentences of every part of version 1.0."""


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
        first = scene.objects[0]
        looks = {replace(spec, motion=first.motion, yaw=first.yaw) for spec in scene.objects}
        assert len(looks) == 1
        assert len({spec.motion.program for spec in scene.objects}) == len(scene.objects) >= 2


@pytest.mark.parametrize("index", [0, 1, 3])
def test_lighting_is_seen_but_for_the_light(index):
    seen, changing = RefSynth("seen"), RefSynth("lighting")
    assert replace(changing.scene(index), light=seen.scene(index).light) == seen.scene(index)
    bright, dark = seen[index], changing[index]
    assert bright.captions == dark.captions
    np.testing.assert_array_equal(bright.instances, dark.instances)

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
    (category, color), other = (
        (spec.category, spec.color) for spec in (scene.objects[0], scene.objects[1])
    )
    told = [
        Caption(f"the big {color} {category}", "appearance", (0,)),
        Caption("the biggest thing", "appearance", (0,)),
        Caption(f"the {other[1]} {category}", "appearance", (1,)),
        Caption("both", "several", (0, 1)),
        Caption("the mover", "motion", (0,)),
        Caption("a zebra", "no target", ()),
        Caption(f"a {color} {category} that hops", "no target", ()),
    ]

    def chosen(part):
        captions = choose_sentences(told, scene, PARTS[part])
        return [told.index(caption) for caption in captions]

    assert chosen("train") == [0, 1, 2, 4, 5], "a held-out look is never said to be absent"
    assert chosen("seen") == [0, 1, 2, 4]
    assert chosen("combinations") == [0]
    assert chosen("identical") == [4]
    assert len(choose_sentences(told[:1] * 5, scene, PARTS["combinations"])) == 3


def test_gray_is_also_spelt_grey():
    category = next(name for name, color in sorted(HELD_OUT) if color == "gray")
    told = [Caption(f"a grey {category}", "no target", ())]
    assert choose_sentences(told, RefSynth("val").scene(0), PARTS["train"]) == ()


@pytest.mark.parametrize("part", PARTS)
def test_parts_have_sentences_of_their_kinds(part):
    kinds = set()
    for scene in scenes(part, 8):
        told = annotate(scene, PARTS[part].per_kind).captions
        kinds |= {caption.kind for caption in choose_sentences(told, scene, PARTS[part])}
    assert kinds == set(PARTS[part].kinds)


@pytest.mark.parametrize("part", PARTS)
def test_another_scene_or_sentence_needs_another_version(part):
    clips = RefSynth(part, 10)
    told = annotate(clips.scene(0), clips.part.per_kind).captions
    texts = [caption.text for caption in choose_sentences(told, clips.scene(0), clips.part)]
    found = hashlib.sha256("\n".join([clips.digest(), *texts]).encode()).hexdigest()[:16]
    assert (REFSYNTH_VERSION, found) == ("1.0", DIGESTS[part])


def test_mistakes():
    with pytest.raises(ValueError, match=r"expected a part among train, val.*got 'unseen'"):
        RefSynth("unseen")
    with pytest.raises(ValueError, match=r"expected a count in 1..150, the clips of seen; got 151"):
        RefSynth("seen", 151)
    with pytest.raises(IndexError, match=r"0..149, got 150"):
        RefSynth("seen")[150]
