"""How sentences are built: from a meaning to English, without knowing any scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vdit.datasets.synthetic.language.wordings import (
    CLAUSES,
    COUNTS,
    ORDINALS,
    PLURAL_FRAMES,
    SINGULAR_FRAMES,
    SYNONYMS,
    WORDINGS,
)

_ONE = {"s": "s", "es": "es", "is": "is", "it": "it", "its": "its"}
_MANY = {"s": "", "es": "", "is": "are", "it": "they", "its": "their"}

_IRREGULAR = {
    "mouse": "mice",
    "man": "men",
    "snowman": "snowmen",
    "woman": "women",
    "person": "people",
    "child": "children",
    "goose": "geese",
    "tooth": "teeth",
    "foot": "feet",
    "ox": "oxen",
    "leaf": "leaves",
    "loaf": "loaves",
    "knife": "knives",
    "wolf": "wolves",
    "shelf": "shelves",
    "cactus": "cacti",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
    "scissors": "scissors",
    "glasses": "glasses",
}
_CONSONANT_SOUND = ("uni", "use", "uk", "ufo", "eu", "one")
_SILENT_H = ("hour", "heir", "honest", "honor")


@dataclass(frozen=True)
class Phrase:
    """A noun with its adjectives, in the order of speech.

    Attributes:
        adjectives: canonical words, such as ("small", "red").
        noun: of one object; "object" = any.
    """

    adjectives: tuple[str, ...]
    noun: str


@dataclass(frozen=True)
class Meaning:
    """What a sentence says, before it has words.

    Attributes:
        name: key of `WORDINGS` or of `CLAUSES`.
        phrase: names the kind of object.
        other: names the landmark.
        number: of an ordinal, from 1.
    """

    name: str
    phrase: Phrase
    other: Phrase | None = None
    number: int = 0


def article(phrase: str) -> str:
    """Choose "a" or "an" by the sound that a phrase starts with."""
    if phrase.startswith(_SILENT_H):
        return "an"
    return "an" if phrase[0] in "aeiou" and not phrase.startswith(_CONSONANT_SOUND) else "a"


def plural(noun: str, known: Mapping[str, str]) -> str:
    """Give the plural of a noun, whose last word is its head; `known` goes first."""
    if noun in known:
        return known[noun]
    start, space, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return start + space + last


def word_one(meaning: Meaning, rng: np.random.Generator) -> str:
    """Say what names a single object."""
    if meaning.name in CLAUSES:
        template = "{a} {n} " + _choose(CLAUSES[meaning.name], rng).format(**_ONE)
    else:
        template = _choose(WORDINGS[meaning.name], rng)
    noun = _say_one(meaning.phrase, rng)
    other = meaning.other and _say_one(meaning.other, rng)
    order = ORDINALS[meaning.number - 1]
    determiner = _choose(("the", article(noun)), rng)
    return template.format(n=noun, m=other, k=order, a=determiner)


def word_several(
    meaning: Meaning, count: int, known: Mapping[str, str], rng: np.random.Generator
) -> str:
    """Say what names `count` objects; `known` has plurals of nouns that are irregular."""
    if meaning.other is not None:
        return word_one(meaning, rng)
    frame = _choose((*PLURAL_FRAMES, *SINGULAR_FRAMES), rng)
    is_single = frame in SINGULAR_FRAMES
    noun = meaning.phrase.noun
    if not is_single:
        noun = plural(_choose(SYNONYMS.get(noun, (noun,)), rng), known)
    text = frame.format(n=_say(meaning.phrase, noun, rng), count=COUNTS[count - 2])
    if meaning.name in CLAUSES:
        inflection = _ONE if is_single else _MANY
        text += " " + _choose(CLAUSES[meaning.name], rng).format(**inflection)
    return text


def _say_one(phrase: Phrase, rng: np.random.Generator) -> str:
    return _say(phrase, _choose(SYNONYMS.get(phrase.noun, (phrase.noun,)), rng), rng)


def _say(phrase: Phrase, noun: str, rng: np.random.Generator) -> str:
    words = [_choose(SYNONYMS.get(word, (word,)), rng) for word in phrase.adjectives]
    return " ".join((*words, noun))


def _choose(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
