"""Sentences about scenes, read back by a solver that shares nothing with the grammar."""

import dataclasses
import importlib.util
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vdit.datasets.synthetic.clip import CameraTrack
from vdit.datasets.synthetic.language.captions import KINDS, write_captions
from vdit.datasets.synthetic.language.facts import compare, observe
from vdit.datasets.synthetic.language.grammar import article, plural
from vdit.datasets.synthetic.language.wordings import (
    CLAUSES,
    PLURAL_FRAMES,
    SINGULAR_FRAMES,
    WORDINGS,
)
from vdit.datasets.synthetic.motions import sizes
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.scene import Motion, ObjectSpec, Scene
from vdit.datasets.synthetic.sprites import load_sprites

NUM_SCENES = 500
WIDTH = HEIGHT = 128
T = 16
SOLIDS = ("ball", "cube", "egg", "car", "bus", "tree", "dog", "duck", "snowman")
SPRITES = ("banana", "hot air balloon", "mouse", "turtle", "umbrella")
PLURALS = {
    **{noun: noun + "s" for noun in (*SOLIDS, *SPRITES, "object", "thing")},
    "bus": "buses",
    "mouse": "mice",
    "snowman": "snowmen",
}
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")


def load_solver():
    path = Path(__file__).with_name("caption_solver.py")
    spec = importlib.util.spec_from_file_location("caption_solver", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- a small world of its own ------------------------------------------------------------------


def camera_at(shift=0.0):
    """A camera 2 m above the ground that looks along z and slides by `shift` metres."""
    focal = 0.5 * WIDTH / np.tan(np.deg2rad(27))
    intrinsics = np.array([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    poses = np.tile(np.eye(3, 4), (T, 1, 1))
    poses[:, 0, 3] = -shift * np.linspace(0, 1, T)
    poses[:, 1, 3], poses[:, 2, 3] = 1.5, 8.0
    return CameraTrack(np.tile(intrinsics, (T, 1, 1)), poses)


def walk(objects):
    """Middles [N, T, 3] and heights [N, T] of objects."""
    u = np.linspace(0, 1, T)
    positions, sizes = np.zeros((len(objects), T, 3)), np.zeros((len(objects), T))
    for i, spec in enumerate(objects):
        motion = spec.motion
        start, end = np.array(motion.start), np.array(motion.end)
        share, lift = np.zeros(T), np.zeros(T)
        size = np.full(T, spec.size)
        if motion.program in ("straight", "enter", "leave", "follow", "bounce"):
            share = u
        elif motion.program == "start":
            share = np.maximum(u - motion.moment, 0) / (1 - motion.moment)
        elif motion.program == "stop":
            share = np.minimum(u / motion.moment, 1)
        elif motion.program in ("grow", "shrink"):
            size = spec.size * motion.amount**u
        ground = start + share[:, None] * (end - start)
        if motion.program == "circle":
            angle = 2 * np.pi * (u + motion.phase)
            ground = start + motion.amount * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        elif motion.program == "bounce":
            lift = motion.amount * np.abs(np.sin(3 * np.pi * u))
        positions[i] = np.stack([ground[:, 0], -lift - size / 2, ground[:, 1]], axis=1)
        sizes[i] = size
    return positions, sizes


def look(camera, positions, sizes):
    """Boxes [N, T, 4] around squares that stand upright, cut to the picture; zeros outside."""
    pose = camera.world_to_camera
    seen = np.einsum("tij,ntj->nti", pose[..., :3], positions) + pose[..., 3]
    focal = camera.intrinsics[0, 0, 0]
    middle = focal * seen[..., :2] / seen[..., 2:] + WIDTH / 2
    half = (focal * sizes / seen[..., 2] / 2)[..., None]
    boxes = np.concatenate([middle - half, middle + half], axis=-1).clip(0, WIDTH)
    is_seen = (boxes[..., 2] - boxes[..., 0] > 1) & (boxes[..., 3] - boxes[..., 1] > 1)
    return (boxes * is_seen[..., None]).astype(np.float32)


def world(objects, shift=0.0):
    """All that the facts, and the solver, take."""
    scene = Scene(tuple(objects), num_frames=T, height=HEIGHT, width=WIDTH)
    camera = camera_at(shift)
    positions, sizes = walk(objects)
    return scene, camera, positions, look(camera, positions, sizes), sizes


def random_motion(rng, index):
    start = (rng.uniform(-3, 3), rng.uniform(-2, 4))
    turn = rng.integers(4) * np.pi / 2 + rng.uniform(-0.4, 0.4)
    way = rng.uniform(0.8, 3.5) * np.array([np.cos(turn), np.sin(turn)])
    end = (start[0] + way[0], start[1] + way[1])
    programs = "still still straight straight bounce circle spin grow shrink".split()
    programs += "start stop enter leave".split() + ["follow"] * (index > 0)
    program = rng.choice(programs)
    moment, side = rng.uniform(0.3, 0.7), rng.choice([-1.0, 1.0])
    outside = (8.5 * side, start[1])
    amounts = {"bounce": 0.6, "circle": 1.0, "spin": 1.5, "grow": 1.8, "shrink": 0.5}
    leader = None
    if program == "enter":
        start, end = outside, start
    elif program == "leave":
        end = outside
    elif program == "bounce" and rng.random() < 0.5:
        end = start
    elif program == "follow":
        leader = int(rng.integers(index))
    return Motion(str(program), start, end, amounts.get(program, 0.0), 0.0, moment, leader)


def random_object(rng, index, nouns):
    noun = str(rng.choice(nouns))
    return ObjectSpec(
        category=noun,
        color=str(rng.choice(COLORS)),
        pattern=str(rng.choice(["plain", "plain", "striped", "checkered", "dotted"])),
        finish=str(rng.choice(["matte", "matte", "shiny", "metal"])),
        size=float(rng.choice([0.6, 0.7, 1.0, 1.3])),
        motion=random_motion(rng, index),
        sprite=noun in SPRITES,
    )


def random_world(seed):
    rng = np.random.default_rng(seed)
    nouns = rng.choice(SOLIDS + SPRITES, size=3, replace=False)
    objects = []
    for index in range(int(rng.integers(2, 7))):
        spec = random_object(rng, index, nouns)
        if spec.motion.leader is not None:  # one and a half metres behind
            led = objects[spec.motion.leader].motion
            way = np.array(led.end) - np.array(led.start)
            if led.program not in ("straight", "enter", "leave") or not way.any():
                spec = dataclasses.replace(spec, motion=Motion("still", spec.motion.start))
            else:
                back = 1.5 * way / np.linalg.norm(way)
                ends = tuple(led.start - back), tuple(led.end - back)
                motion = Motion("follow", *ends, leader=spec.motion.leader)
                spec = dataclasses.replace(spec, motion=motion)
        objects.append(spec)
    return world(objects, shift=float(rng.choice([0.0, 0.0, 1.0])))


@pytest.fixture(scope="module")
def solver():
    return load_solver()


@pytest.mark.parametrize("recipe", ["referring", "identical", "mot", "movi-e", "image"])
def test_the_solver_finds_what_captions_of_rendered_clips_name(solver, recipe):
    checked = 0
    plurals = {name: sprite.plural for name, sprite in load_sprites().items()}
    for seed in range(8):
        clip = render(make_scene(recipe, seed, 8 if recipe != "image" else 1, 96, 128), 0)
        heights = np.array([sizes(spec, clip.scene.times()) for spec in clip.scene.objects])
        truth = (clip.scene, clip.camera, clip.positions, clip.boxes_xyxy, heights)
        for caption in clip.captions:
            found = solver.solve(caption.text, *truth, plurals=plurals)
            assert found == set(caption.objects), caption
            checked += 1
    assert checked > 20


@pytest.fixture(scope="module")
def described():
    """(world, captions) of many scenes."""
    scenes = []
    for seed in range(NUM_SCENES):
        made = random_world(seed)
        scenes.append((made, write_captions(observe(*made), np.random.default_rng(seed), 2)))
    return scenes


# ---- over many scenes --------------------------------------------------------------------------


def test_every_sentence_names_exactly_its_objects(described, solver):
    wrong = [
        (caption, solver.solve(caption.text, *made))
        for made, captions in described
        for caption in captions
        if solver.solve(caption.text, *made) != set(caption.objects)
    ]
    assert not wrong


def test_every_kind_is_spoken(described):
    count = Counter(caption.kind for _, captions in described for caption in captions)
    assert set(count) == set(KINDS)
    assert min(count.values()) >= 50, count
    for _, captions in described:
        for caption in captions:
            if caption.kind == "no target":
                assert caption.objects == ()
            elif caption.kind == "several":
                assert len(caption.objects) >= 2
            else:
                assert len(caption.objects) == 1


def test_every_meaning_has_three_wordings_and_each_is_spoken(described):
    texts = {caption.text for _, captions in described for caption in captions}
    hidden = {name: "[a-z ]+" for name in "n m k a count".split()}
    for meaning, templates in (WORDINGS | CLAUSES).items():
        spoken = set()
        for template in templates:
            pattern = template.format(
                **hidden,
                s="s?",
                es="(es)?",
                is_="",
                it="(it|they)",
                its="(its|their)",
                **{"is": "(is|are)"},
            )
            if any(re.search(rf"\b{pattern}$", text) for text in texts):
                spoken.add(template)
        assert len(templates) >= 3, meaning
        assert spoken == set(templates), (meaning, set(templates) - spoken)
    for frame in (*PLURAL_FRAMES, *SINGULAR_FRAMES):
        pattern = frame.format(**hidden)
        assert any(re.match(pattern, text) for text in texts), frame


def test_articles_and_number_agree(described):
    singular = re.compile(rf"\b({'|'.join(PLURALS)})\b")
    plurals = re.compile(rf"\b({'|'.join(PLURALS.values())})\b")
    checked = 0
    for _, captions in described:
        for text in (caption.text for caption in captions):
            assert text == text.strip().lower()
            assert "  " not in text
            assert "{" not in text
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text.replace("a unicorn", "")), text
        for caption in captions:
            text = caption.text
            if caption.kind != "several" or re.search("except|other than|but the", text):
                continue
            is_single = text.startswith(("every ", "each "))
            assert bool(singular.search(text)) == is_single, text
            assert bool(plurals.search(text)) != is_single, text
            verb = re.search(r" that (\w+)", text)
            if verb and verb[1] not in ("never",):
                assert verb[1].endswith("s") == is_single, text
            number = re.match("the (two|three|four|five|six) ", text)
            if number:
                words = ["two", "three", "four", "five", "six"]
                assert len(caption.objects) == 2 + words.index(number[1])
            checked += 1
    assert checked >= 50


def test_opposite_words_name_others(described, solver):
    pairs = [("left", "right"), ("behind", "in front of"), ("grows", "shrinks")]
    pairs += [("biggest", "smallest"), ("fastest", "slowest"), ("enters", "leaves")]
    for one, other in pairs:
        changed = 0
        for made, captions in described:
            for caption in captions:
                word = rf"(?<!along )\b{one}\b"  # "moves along behind" is "follows"
                skipped = caption.kind in ("no target", "ordinal")  # "second" of three stays
                if re.search(word, caption.text) and not skipped:
                    swapped = re.sub(word, other, caption.text)
                    assert solver.solve(swapped, *made) != set(caption.objects), swapped
                    changed += 1
        assert changed >= 3, (one, changed)


def test_solver_refuses_unknown_words(solver):
    made = world([ObjectSpec("ball"), ObjectSpec("cube", motion=Motion(start=(2, 0)))])
    assert solver.solve("the ball", *made) == {0}
    for text in ("the ball that sings", "the wooden ball", "the ball under the cube", "nothing"):
        with pytest.raises(ValueError):
            solver.solve(text, *made)


def test_same_generator_same_sentences():
    facts = observe(*random_world(3))
    first, second, other = (write_captions(facts, np.random.default_rng(s), 2) for s in (1, 1, 2))
    assert first == second
    assert first != other
    assert len({caption.text for caption in first}) == len(first)


# ---- what may not be said ----------------------------------------------------------------------


def texts_of(objects, per_kind=400, shift=0.0):
    captions = write_captions(
        observe(*world(objects, shift)), np.random.default_rng(0), per_kind=per_kind
    )
    return {kind: [each.text for each in captions if each.kind == kind] for kind in KINDS}


def at(x, z, category="ball", **fields):
    return ObjectSpec(category, motion=Motion(start=(x, z)), **fields)


def test_sides_need_a_margin():
    clear = texts_of([at(-1, 0), at(1, 0, color="blue")])
    close = texts_of([at(-0.3, 0), at(0.3, 0, color="blue")])
    assert any("left" in text for text in clear["spatial"])
    assert not any("left" in text for text in close["spatial"] + close["relation"])


def test_depth_needs_a_margin():
    clear = texts_of([at(-1, 0), at(1, 1, color="blue")])
    close = texts_of([at(-1, 0), at(1, 0.4, color="blue")])
    words = re.compile("nearest|closest|front|foreground")
    assert any(words.search(text) for text in clear["spatial"])
    assert not any(words.search(text) for text in close["spatial"])


def test_sizes_need_a_margin():
    clear = texts_of([at(-1, 0, size=1.0), at(1, 0, size=0.7)])
    close = texts_of([at(-1, 0, size=1.0), at(1, 0, size=0.8)])
    assert {"big", "large"} & {word for text in clear["appearance"] for word in text.split()}
    assert not close["appearance"]


def test_oblique_ways_have_no_direction():
    def facts(end):
        return observe(*world([ObjectSpec("car", motion=Motion("straight", (0, 0), end))]))[0]

    assert [facts(end).direction for end in [(2, 0), (-2, 0.5), (0, 2), (0, -2)]] == [
        *("right", "left", "away", "closer")
    ]
    oblique = facts((2, 2))
    assert oblique.direction == ""
    assert oblique.motions["right"] == oblique.motions["away"] == 0
    assert facts((0.3, 0)).motions["right"] == 0
    assert facts((0, 0)).motions["right"] == -1


def test_a_moving_camera_moves_nothing():
    facts = observe(*world([at(0, 0)], shift=2.0))[0]
    assert facts.motions["still"] == 1
    assert facts.motions["left"] == -1


def test_what_is_never_seen_is_not_named_and_raises_doubt():
    hidden = at(30, 0, color="blue")
    texts = texts_of([at(-1, 0, "cube"), at(0, 0), hidden])
    spoken = [text for kind in KINDS for text in texts[kind]]
    assert any(text.endswith(" cube") for text in texts["category"])
    assert not any(text.endswith(" ball") and "blue" in text for text in spoken)
    assert not any(text.endswith(" ball") for text in texts["category"])
    assert any(text.endswith(" red ball") for text in texts["appearance"])


def test_a_round_plain_thing_does_not_seem_to_spin():
    def verdict(**fields):
        spec = ObjectSpec(**fields, motion=Motion("spin", amount=1.0))
        return observe(*world([spec]))[0].motions["spin"]

    assert verdict(category="ball") == 0
    assert verdict(category="ball", pattern="dotted") == 1
    assert verdict(category="car") == 1


def test_similar_colors_and_names_raise_doubt():
    texts = texts_of([at(-1, 0, color="red"), at(1, 0, color="orange")])
    assert not texts["appearance"]
    assert not any("pink ball" in text for text in texts["no target"])
    texts = texts_of([at(-1, 0, "balloon"), at(1, 0, "hot air balloon", sprite=True)])
    assert not any(re.fullmatch("(a|the|the only) balloon.*", text) for text in texts["category"])


def test_orders_are_antisymmetric():
    orders = compare(observe(*random_world(5)))
    for field in dataclasses.fields(orders):
        order = getattr(orders, field.name)
        np.testing.assert_array_equal(order, -order.T)


def test_one_frame_has_sentences_but_no_motion(solver):
    three = [at(-1.5, 0), at(1.5, 1, color="blue"), at(0, 2, "cube", pattern="striped")]
    scene, camera, positions, boxes, sizes = world(three)
    camera = CameraTrack(camera.intrinsics[:1], camera.world_to_camera[:1])
    made = (scene, camera, positions[:, :1], boxes[:, :1], sizes[:, :1])
    captions = write_captions(observe(*made), np.random.default_rng(0), 50)
    assert {"category", "appearance", "spatial"} <= {caption.kind for caption in captions}
    assert "motion" not in {caption.kind for caption in captions}
    for caption in captions:
        assert solver.solve(caption.text, *made) == set(caption.objects), caption


def test_plurals_of_others_are_used():
    made = world([at(x, 0, "octopus", sprite=True) for x in (-1, 1)])
    texts = {
        caption.text
        for seed in range(30)
        for caption in write_captions(
            observe(*made), np.random.default_rng(seed), 3, plurals={"octopus": "octopodes"}
        )
    }
    assert {"the octopodes", "every octopus"} <= texts


def test_no_objects_no_captions():
    assert observe(*world([])) == []
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
