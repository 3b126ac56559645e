"""What a careful viewer could dispute is not said."""

import dataclasses
import re

import numpy as np
import pytest

from vdit.datasets.synthetic.clip import CameraTrack
from vdit.datasets.synthetic.language.captions import KINDS, write_captions
from vdit.datasets.synthetic.language.descriptions import World, judge, relations_to
from vdit.datasets.synthetic.language.facts import compare, observe
from vdit.datasets.synthetic.language.grammar import Phrase, article, plural
from vdit.datasets.synthetic.scene import Motion, ObjectSpec


def test_sides_need_a_margin(worlds):
    clear = worlds.texts_of([worlds.at(-1, 0), worlds.at(1, 0, color="blue")])
    close = worlds.texts_of([worlds.at(-0.3, 0), worlds.at(0.3, 0, color="blue")])
    assert any("left" in text for text in clear["spatial"])
    assert not any("left" in text for text in close["spatial"] + close["relation"])


def test_depth_needs_a_margin(worlds):
    clear = worlds.texts_of([worlds.at(-1, 0), worlds.at(1, 1, color="blue")])
    close = worlds.texts_of([worlds.at(-1, 0), worlds.at(1, 0.4, color="blue")])
    words = re.compile("nearest|closest|front|foreground")
    assert any(words.search(text) for text in clear["spatial"])
    assert not any(words.search(text) for text in close["spatial"])


def test_in_front_needs_to_be_near_the_line_of_sight(worlds):
    def verdict(x):
        facts = observe(*worlds.world([worlds.at(x, 0), worlds.at(0, 1.5, "cube")]))
        return relations_to(World.of(facts), 1)["in front of"][0]

    assert [verdict(x) for x in (0.0, 1.0, 2.5)] == [1, 1, 0]


def test_sizes_need_a_margin(worlds):
    clear = worlds.texts_of([worlds.at(-1, 0, size=1.0), worlds.at(1, 0, size=0.7)])
    close = worlds.texts_of([worlds.at(-1, 0, size=1.0), worlds.at(1, 0, size=0.8)])
    assert {"big", "large"} & {word for text in clear["appearance"] for word in text.split()}
    assert not close["appearance"]


def test_oblique_ways_have_no_direction(worlds):
    def facts(end):
        return observe(*worlds.world([ObjectSpec("car", motion=Motion("straight", (0, 0), end))]))[
            0
        ]

    assert [facts(end).direction for end in [(2, 0), (-2, 0.5), (0, 2), (0, -2)]] == [
        *("right", "left", "away", "closer")
    ]
    oblique = facts((2, 2))
    assert oblique.direction == ""
    assert oblique.motions["right"] == oblique.motions["away"] == 0
    assert facts((0.3, 0)).motions["right"] == 0
    assert facts((0, 0)).motions["right"] == -1


def test_a_moving_camera_moves_nothing(worlds):
    facts = observe(*worlds.world([worlds.at(0, 0)], shift=2.0))[0]
    assert facts.motions["still"] == 1
    assert facts.motions["left"] == -1


def test_what_is_never_seen_is_not_named_and_raises_doubt(worlds):
    hidden = worlds.at(30, 0, color="blue")
    texts = worlds.texts_of([worlds.at(-1, 0, "cube"), worlds.at(0, 0), hidden])
    spoken = [text for kind in KINDS for text in texts[kind]]
    assert any(text.endswith(" cube") for text in texts["category"])
    assert not any(text.endswith(" ball") and "blue" in text for text in spoken)
    assert not any(text.endswith(" ball") for text in texts["category"])
    assert any(text.endswith(" red ball") for text in texts["appearance"])


def test_a_round_plain_thing_does_not_seem_to_spin(worlds):
    def verdict(**fields):
        spec = ObjectSpec(**fields, motion=Motion("spin", amount=1.0))
        return observe(*worlds.world([spec]))[0].motions["spin"]

    assert verdict(category="ball") == 0
    assert verdict(category="ball", pattern="dotted") == 1
    assert verdict(category="car") == 1


def test_colors_of_patterns_and_parts_of_steel_raise_doubt(worlds):
    def verdict(word, **fields):
        return judge(observe(*worlds.world([worlds.at(0, 0, **fields)])), Phrase((word,), "object"))

    assert verdict("white", color="black") == -1
    assert verdict("white", color="black", pattern="striped") == 0
    assert verdict("black", color="yellow", pattern="dotted") == 0
    assert verdict("red", color="yellow", pattern="dotted") == -1
    assert verdict("brown", category="house", color="blue") == 0
    assert verdict("metal", category="ball") == -1
    assert verdict("metal", category="robot") == 0
    assert verdict("metal", category="robot", finish="metal") == 1


def test_what_comes_back_or_is_hidden_for_a_while_raises_doubt(worlds):
    spec = ObjectSpec("ball", motion=Motion("straight", (-1, 0), (1, 0)))
    scene, camera, positions, boxes, sizes = worlds.world([spec])

    def verdicts(change):
        changed = boxes.copy()
        change(changed[0])
        motions = observe(scene, camera, positions, changed, sizes)[0].motions
        return [motions[name] for name in ("enter", "leave", "occlude")]

    def hide(boxes):
        boxes[5:8] = 0

    def touch_the_border(boxes):
        boxes[5:8, 0] = 0

    def almost_hide(boxes):
        boxes[5:8, 2] = boxes[5:8, 0] + 2

    assert verdicts(lambda boxes: None) == [-1, -1, -1]
    assert verdicts(hide) == [0, 0, 0]
    assert verdicts(touch_the_border) == [0, 0, -1]
    assert verdicts(almost_hide) == [-1, -1, 0]
    hidden = dataclasses.replace(spec, motion=Motion("occlude", (-1, 0), (1, 0)))
    assert observe(*worlds.world([hidden]))[0].motions["occlude"] == 1


def test_slivers_are_not_named(worlds):
    scene, camera, positions, boxes, sizes = worlds.world(
        [worlds.at(0, 0), worlds.at(2, 0, "cube")]
    )
    boxes[0, :, 2] = boxes[0, :, 0] + 2
    facts = observe(scene, camera, positions, boxes, sizes)
    assert [each.can_be_named for each in facts] == [False, True]
    assert judge(facts, Phrase((), "ball")).tolist() == [0, -1]


def test_similar_colors_and_names_raise_doubt(worlds):
    texts = worlds.texts_of([worlds.at(-1, 0, color="red"), worlds.at(1, 0, color="orange")])
    assert not texts["appearance"]
    assert not any("pink ball" in text for text in texts["no target"])
    texts = worlds.texts_of(
        [worlds.at(-1, 0, "balloon"), worlds.at(1, 0, "hot air balloon", sprite=True)]
    )
    assert not any(re.fullmatch("(a|the|the only) balloon.*", text) for text in texts["category"])


def test_orders_are_antisymmetric(worlds):
    orders = compare(observe(*worlds.random_world(5)))
    for field in dataclasses.fields(orders):
        order = getattr(orders, field.name)
        np.testing.assert_array_equal(order, -order.T)


def test_one_frame_has_sentences_but_no_motion(worlds, solver):
    three = [
        worlds.at(-1.5, 0),
        worlds.at(1.5, 1, color="blue"),
        worlds.at(0, 2, "cube", pattern="striped"),
    ]
    scene, camera, positions, boxes, sizes = worlds.world(three)
    camera = CameraTrack(camera.intrinsics[:1], camera.world_to_camera[:1])
    made = (scene, camera, positions[:, :1], boxes[:, :1], sizes[:, :1])
    captions = write_captions(observe(*made), np.random.default_rng(0), 50)
    assert {"category", "appearance", "spatial"} <= {caption.kind for caption in captions}
    assert "motion" not in {caption.kind for caption in captions}
    for caption in captions:
        assert solver.solve(caption.text, *made) == set(caption.objects), caption


def test_plurals_of_others_are_used(worlds):
    made = worlds.world([worlds.at(x, 0, "octopus", sprite=True) for x in (-1, 1)])
    texts = {
        caption.text
        for seed in range(30)
        for caption in write_captions(
            observe(*made), np.random.default_rng(seed), 3, plurals={"octopus": "octopodes"}
        )
    }
    assert {"the octopodes", "every octopus"} <= texts


def test_no_objects_no_captions(worlds):
    assert observe(*worlds.world([])) == []
    assert write_captions([], np.random.default_rng(0)) == ()


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("mouse", "mice"),
        ("bus", "buses"),
        ("snowman", "snowmen"),
        ("computer mouse", "computer mice"),
        ("cherry", "cherries"),
        ("monkey", "monkeys"),
        ("box", "boxes"),
        ("hot air balloon", "hot air balloons"),
    ],
)
def test_plurals(noun, expected):
    assert plural(noun, {}) == expected
    assert plural(noun, {noun: "many"}) == "many"


def test_articles():
    assert [article(word) for word in ("egg", "ball", "unicorn", "umbrella", "hourglass")] == [
        *("an", "a", "a", "an", "an")
    ]
