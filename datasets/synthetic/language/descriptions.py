"""Which objects a description fits: nouns with adjectives, places among others, relations.

A description is a verdict on each of the N objects, [N] int8 as in `facts`. An object that is
hardly ever seen cannot be named, so what is true of it counts as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.language.facts import Facts, Orders, compare
from vdit.datasets.synthetic.language.grammar import Meaning, Phrase
from vdit.datasets.synthetic.materials import FINISHES, PATTERNS, second_color

Verdicts = np.ndarray
Statement = tuple[Meaning, Verdicts]

ANY = "object"
"""The noun that fits everything."""
LATERAL_REACH = 0.25
"""Of the picture's width, within which a thing is in front of or behind another."""
NEIGHBOR_RATIO = 1.4
"""Of distances, for one to be the closest to a landmark, in every frame."""

_SIMILAR_COLORS = frozenset(
    frozenset(pair.split())
    for pair in (
        *("red orange", "orange yellow", "orange brown", "red pink", "pink purple", "blue cyan"),
        *("green cyan", "white gray", "black gray", "blue purple"),
    )
)

# Whatever their finish, they have parts of steel or glass.
_PARTLY_SHINY = frozenset(
    name
    for name, each in CATEGORIES.items()
    if any(part.role in ("steel", "glass") for part in each.parts)
)
_ALSO_COLORED = {"house": "brown", "boat": "white", "robot": "gray"}  # roof, sail, limbs


@dataclass(frozen=True, eq=False)
class World:
    """Facts, all that follows from them, and the phrases that may be spoken."""

    facts: Sequence[Facts]
    orders: Orders
    phrases: Mapping[Phrase, Verdicts]

    @classmethod
    def of(cls, facts: Sequence[Facts]) -> World:
        phrases = dict.fromkeys(phrase for each in facts for phrase in phrases_of(each))
        return cls(facts, compare(facts), {phrase: judge(facts, phrase) for phrase in phrases})

    @cached_property
    def short_phrases(self) -> dict[Phrase, Verdicts]:
        """Those with one adjective at most that leave no doubt."""
        return {
            phrase: verdicts
            for phrase, verdicts in self.phrases.items()
            if len(phrase.adjectives) <= 1 and verdicts.all()
        }

    @cached_property
    def landmarks(self) -> list[tuple[int, Phrase]]:
        """Objects with short phrases that name nothing else."""
        return [
            (int(verdicts.argmax()), phrase)
            for phrase, verdicts in self.short_phrases.items()
            if (verdicts > 0).sum() == 1
        ]

    def combined(self, verdicts: Verdicts) -> tuple[list[Phrase], Verdicts]:
        """Short phrases, and what each names of the objects with a property: [phrases, N]."""
        phrases = list(self.short_phrases)
        stacked = np.array(list(self.short_phrases.values()), dtype=np.int8)
        return phrases, self.seen(np.minimum(stacked.reshape(-1, len(self.facts)), verdicts))

    def motion(self, name: str) -> Verdicts:
        return np.array([each.motions[name] for each in self.facts], dtype=np.int8)

    def seen(self, verdicts: Verdicts) -> Verdicts:
        """Doubt what is true of objects that are hardly ever seen."""
        return np.minimum(verdicts, self._can_be_named)

    @cached_property
    def _can_be_named(self) -> Verdicts:
        return np.array([each.can_be_named for each in self.facts], dtype=np.int8)


def judge(facts: Sequence[Facts], phrase: Phrase) -> Verdicts:
    """Judge which objects a noun with adjectives names, [N] int8."""
    verdicts = []
    for each in facts:
        words = [_is_word(each, word) for word in phrase.adjectives]
        verdict = min((_is_noun(each, phrase.noun), *words))
        verdicts.append(min(verdict, int(each.can_be_named)))
    return np.array(verdicts, dtype=np.int8)


def _is_noun(each: Facts, noun: str) -> int:
    if noun in (ANY, each.category):
        return 1
    shares_a_word = set(noun.split()) & set(each.category.split())  # a balloon, a hot air balloon
    return 0 if shares_a_word else -1


def _is_word(each: Facts, word: str) -> int:
    if word in ("big", "small"):
        return (1 if each.size == word else -1) if each.size else 0
    if each.sprite:
        return 0
    if word in PATTERNS:
        return 1 if each.pattern == word else -1
    if word in FINISHES:
        if each.finish == word:
            return 1
        return -1 if each.finish == "matte" and each.category not in _PARTLY_SHINY else 0
    if each.color == word:
        return 1
    shown = {each.color, _ALSO_COLORED.get(each.category, each.color)}
    if each.pattern != "plain":
        shown.add(second_color(each.color))
    return 0 if word in shown or any({color, word} in _SIMILAR_COLORS for color in shown) else -1


def phrases_of(each: Facts) -> Iterator[Phrase]:
    """All that can be said of an object without reference to another."""
    words = [each.size] if each.size else []
    if not each.sprite:
        words += ["shiny"] if each.finish == "shiny" else []
        words += [each.color]
        words += [each.pattern] if each.pattern != "plain" else []
        words += ["metal"] if each.finish == "metal" else []
    for count in range(len(words) + 1):
        for adjectives in combinations(words, count):
            yield Phrase(adjectives, each.category)
            if not each.size or each.size not in adjectives:
                yield Phrase(adjectives, ANY)


def extremes(
    phrase: Phrase, verdicts: Verdicts, order: np.ndarray, names: tuple[str, str]
) -> Iterator[Statement]:
    """Statements of the object that comes first, and of that which comes last, in an order."""
    members = np.flatnonzero(verdicts > 0)
    if len(members) < 2 or not verdicts.all():
        return
    for name, signed in zip(names, (order, -order), strict=True):
        for index in members:
            if name and (signed[index, members[members != index]] > 0).all():
                yield Meaning(name, phrase), _only(index, len(verdicts))


def ranked(verdicts: Verdicts, order: np.ndarray) -> Iterator[tuple[int, Verdicts]]:
    """The place from 1 of every object that is clearly before or after each of the others."""
    members = np.flatnonzero(verdicts > 0)
    for index in members:
        others = order[index, members[members != index]]
        if others.all():
            yield 1 + int((others < 0).sum()), _only(index, len(verdicts))


def closer_to(world: World, landmark: int) -> np.ndarray:
    """Verdicts [N, N] on whether one object is closer to a landmark than another."""
    places = np.stack([each.places for each in world.facts])
    distances = np.linalg.norm(places - places[landmark], axis=-1)  # [N, T]
    closer = (distances[None] >= NEIGHBOR_RATIO * distances[:, None]).all(axis=-1)
    return closer.astype(np.int8) - closer.T.astype(np.int8)


def relations_to(world: World, landmark: int) -> dict[str, Verdicts]:
    """Verdicts on how every object relates to a landmark, which never relates to itself."""
    left, near = world.orders.left[:, landmark], world.orders.near[:, landmark]
    x = np.stack([each.centers[:, 0] for each in world.facts])
    apart = np.abs(x - x[landmark])
    is_close = np.where(np.isnan(apart), 0, apart).max(axis=1) <= LATERAL_REACH
    relations = {
        "left of": left.copy(),
        "right of": -left,
        "in front of": np.where(near > 0, is_close, near),
        "behind": np.where(near < 0, is_close, -near),
        "follows": np.array([_follows(world, i, landmark) for i in range(len(world.facts))]),
    }
    for verdicts in relations.values():
        verdicts[landmark] = -1
    return relations


def _follows(world: World, index: int, landmark: int) -> int:
    """Whether an object follows a landmark; on parallel ways it might seem to."""
    one, other = world.facts[index], world.facts[landmark]
    if one.leader == landmark:
        return min(one.motions["moves"], int((one.visible & other.visible).sum() >= 3))
    stays = min(one.motions["moves"], other.motions["moves"]) < 0
    diverges = one.direction and other.direction and one.direction != other.direction
    return -1 if stays or diverges or other.leader == index else 0


def _only(index: int | np.integer, count: int) -> Verdicts:
    """Verdicts that one of `count` objects is named."""
    verdicts = np.full(count, -1, dtype=np.int8)
    verdicts[index] = 1
    return verdicts
