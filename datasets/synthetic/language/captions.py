"""What is said about a clip: sentences that name exactly the objects they are meant for.

A statement is a meaning with a verdict on each of the N objects; it is made only where no verdict
is 0, so that nobody could argue about what it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.clip import Caption
from vdit.datasets.synthetic.language.descriptions import (
    ANY,
    Statement,
    Verdicts,
    World,
    closer_to,
    extremes,
    judge,
    ranked,
    relations_to,
)
from vdit.datasets.synthetic.language.facts import Facts
from vdit.datasets.synthetic.language.grammar import Meaning, Phrase, word_one, word_several
from vdit.datasets.synthetic.language.wordings import CLAUSES, COUNTS, ORDINALS
from vdit.datasets.synthetic.materials import COLORS, FINISHES, PATTERNS

KINDS = (
    *("category", "appearance", "spatial", "relation", "ordinal", "motion", "several"),
    "no target",
)


def write_captions(
    facts: Sequence[Facts],
    rng: np.random.Generator,
    per_kind: int = 1,
    plurals: Mapping[str, str] | None = None,
) -> tuple[Caption, ...]:
    """Write sentences about a clip.

    Args:
        facts: of its objects, in the order of the scene.
        rng: chooses what is said and how.
        per_kind: most captions of each kind, beside one more for each object that they leave out;
            a scene may have nothing to say of some kinds.
        plurals: of nouns, where they are known.

    Returns:
        Captions in the order of `KINDS`, none twice. Each names exactly its objects.
    """
    if not facts:
        return ()
    world = World.of(facts)
    statements = {kind: list(_STATEMENTS[kind](world)) for kind in KINDS}
    chosen = [
        (kind, statement) for kind in KINDS for statement in _draw(statements[kind], rng, per_kind)
    ]
    if per_kind > 0:
        chosen += _name_the_rest(statements, chosen, len(facts), rng)
    captions: dict[str, Caption] = {}
    for kind, (meaning, verdicts) in sorted(chosen, key=lambda pair: KINDS.index(pair[0])):
        objects = tuple(int(i) for i in np.flatnonzero(verdicts > 0))
        if kind == "several":
            text = word_several(meaning, len(objects), plurals or {}, rng)
        else:
            text = word_one(meaning, rng)
        captions.setdefault(text, Caption(text, kind, objects, meaning.name))
    return tuple(captions.values())


def _draw(statements: list[Statement], rng: np.random.Generator, count: int) -> list[Statement]:
    """Choose a meaning, then one of its statements, so that frequent meanings do not crowd out."""
    groups: dict[str, list[Statement]] = {}
    for statement in statements:
        groups.setdefault(statement[0].name, []).append(statement)
    drawn = []
    for _ in range(min(count, len(statements))):
        names = [name for name, group in groups.items() if group]
        group = groups[names[int(rng.integers(len(names)))]]
        drawn.append(group.pop(int(rng.integers(len(group)))))
    return drawn


def _name_the_rest(
    statements: Mapping[str, list[Statement]],
    chosen: Sequence[tuple[str, Statement]],
    count: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, Statement]]:
    """Choose a statement on each of `count` objects that none chosen yet names alone."""
    named = {int(v.argmax()) for _, (_, v) in chosen if (v > 0).sum() == 1}
    for index in sorted(set(range(count)) - named):
        on_it = [
            (kind, statement)
            for kind, each in statements.items()
            for statement in each
            if statement[1][index] > 0 and (statement[1] > 0).sum() == 1
        ]
        if on_it:
            yield on_it[int(rng.integers(len(on_it)))]


def _names_one(verdicts: Verdicts) -> np.ndarray:
    """Whether each description leaves no doubt and names one object: [..., N] -> [...]."""
    return verdicts.all(axis=-1) & ((verdicts > 0).sum(axis=-1) == 1)


# ---- one kind of sentences each ----------------------------------------------------------------


def _category(world: World) -> Iterator[Statement]:
    for phrase, verdicts in world.phrases.items():
        if not phrase.adjectives and phrase.noun != ANY and _names_one(verdicts):
            yield Meaning("name", phrase), verdicts


def _appearance(world: World) -> Iterator[Statement]:
    for phrase, verdicts in world.phrases.items():
        if phrase.adjectives and _names_one(verdicts):
            yield Meaning("name", phrase), verdicts
        if not phrase.adjectives and phrase.noun != ANY:
            yield from extremes(phrase, verdicts, world.orders.big, ("biggest", "smallest"))


def _spatial(world: World) -> Iterator[Statement]:
    orders = world.orders
    for phrase, verdicts in world.short_phrases.items():
        for meaning, named in extremes(phrase, verdicts, orders.left, ("leftmost", "rightmost")):
            x = float(np.nanmean(world.facts[int(named.argmax())].centers[:, 0]))
            if x < 0.5 if meaning.name == "leftmost" else x > 0.5:
                yield meaning, named
        yield from extremes(phrase, verdicts, orders.near, ("nearest", "farthest"))
        if (verdicts > 0).sum() == 3:
            yield from (
                (Meaning("middle", phrase), named)
                for number, named in ranked(verdicts, orders.left)
                if number == 2
            )


def _relation(world: World) -> Iterator[Statement]:
    for landmark, other in world.landmarks:
        for name, relation in relations_to(world, landmark).items():
            phrases, named = world.combined(relation)
            for i in np.flatnonzero(_names_one(named)):
                yield Meaning(name, phrases[i], other), named[i]
        closer = closer_to(world, landmark)
        for phrase, verdicts in world.short_phrases.items():
            if (verdicts > 0).sum() > 1:
                others = verdicts.copy()
                others[landmark] = -1
                for meaning, named in extremes(phrase, others, closer, ("next to", "")):
                    yield replace(meaning, other=other), named


def _ordinal(world: World) -> Iterator[Statement]:
    orders = world.orders
    rows = (("from left", orders.left), ("from right", -orders.left), ("from front", orders.near))
    for phrase, verdicts in world.short_phrases.items():
        if (verdicts > 0).sum() < 3:
            continue
        for name, order in rows:
            for number, named in ranked(verdicts, order):
                if number <= len(ORDINALS) and (name != "from front" or number > 1):
                    yield Meaning(name, phrase, number=number), named


def _motion(world: World) -> Iterator[Statement]:
    moves = world.motion("moves")
    for name in CLAUSES:
        phrases, named = world.combined(world.motion(name))
        for i in np.flatnonzero(_names_one(named)):
            yield Meaning(name, phrases[i]), named[i]
    for phrase, verdicts in world.short_phrases.items():
        movers = world.seen(np.minimum(verdicts, moves))
        if not movers.all():
            continue
        if (movers > 0).sum() == (verdicts > 0).sum():
            names = ("fastest", "slowest")
        else:
            names = ("fastest", "")
        yield from extremes(phrase, movers, world.orders.fast, names)
        if all(world.facts[int(i)].visible[0] for i in np.flatnonzero(movers > 0)):
            names = ("first to move", "last to move")
            yield from extremes(phrase, movers, world.orders.early, names)


def _several(world: World) -> Iterator[Statement]:
    most = len(COUNTS) + 1
    for phrase, verdicts in world.phrases.items():
        if verdicts.all() and 2 <= (verdicts > 0).sum() <= most:
            yield Meaning("name", phrase), verdicts
    for name in CLAUSES:
        phrases, named = world.combined(world.motion(name))
        count = (named > 0).sum(axis=1)
        for i in np.flatnonzero(named.all(axis=1) & (count >= 2) & (count <= most)):
            yield Meaning(name, phrases[i]), named[i]
    everything = world.seen(np.ones(len(world.facts), dtype=np.int8))
    for landmark, other in world.landmarks:
        named = everything.copy()
        named[landmark] = -1
        if named.all() and (named > 0).sum() >= 2:
            yield Meaning("except", Phrase((), ANY), other), named


def _no_target(world: World) -> Iterator[Statement]:
    nothing = np.full(len(world.facts), -1, dtype=np.int8)
    nouns = dict.fromkeys(each.category for each in world.facts)
    colors = dict.fromkeys(each.color for each in world.facts if each.color)
    wrong = (*COLORS, *PATTERNS[1:], *FINISHES[1:])
    absent = [Phrase((), noun) for noun in CATEGORIES]
    absent += [Phrase((word,), noun) for noun in nouns for word in wrong]
    for phrase in absent:
        if (judge(world.facts, phrase) < 0).all():
            yield Meaning("name", phrase), nothing
            for color in () if phrase.adjectives else colors:
                yield Meaning("name", Phrase((color,), phrase.noun)), nothing
    for name in CLAUSES:
        phrases, named = world.combined(world.motion(name))
        for i in np.flatnonzero((named < 0).all(axis=1)):
            if phrases[i] != Phrase((), ANY):
                yield Meaning(name, phrases[i]), nothing
    for landmark, other in world.landmarks:
        for name, relation in relations_to(world, landmark).items():
            phrases, named = world.combined(relation)
            for i in np.flatnonzero((named < 0).all(axis=1)):
                if world.short_phrases[phrases[i]][landmark] < 0:
                    yield Meaning(name, phrases[i], other), nothing


_STATEMENTS: dict[str, Callable[[World], Iterator[Statement]]] = {
    "category": _category,
    "appearance": _appearance,
    "spatial": _spatial,
    "relation": _relation,
    "ordinal": _ordinal,
    "motion": _motion,
    "several": _several,
    "no target": _no_target,
}
