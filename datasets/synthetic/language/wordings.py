"""The words of every meaning, each in several ways.

Placeholders: {n} the noun phrase of what is named, {m} of a landmark, {k} an ordinal, {a} "a", "an"
or "the", {count} a number; {s}, {es}, {is}, {it}, {its} inflect a clause for one object or several.
"""

from __future__ import annotations

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

SYNONYMS: dict[str, tuple[str, ...]] = {
    "big": ("big", "large"),
    "small": ("small", "little"),
    "gray": ("gray", "grey"),
    "checkered": ("checkered", "checked"),
    "dotted": ("dotted", "spotted"),
    "shiny": ("shiny", "glossy"),
    "metal": ("metal", "metallic"),
    "object": ("object", "thing"),
}

_LEFT = (
    "that move{s} to the left",
    "moving to the left",
    "that head{s} to the left",
    "that travel{s} to the left",
    "going left",
)

CLAUSES: dict[str, tuple[str, ...]] = {
    "left": _LEFT,
    "right": tuple(each.replace("left", "right") for each in _LEFT),
    "away": (
        "that move{s} away from the camera",
        "moving away",
        "that travel{s} into the distance",
        "going away from the camera",
    ),
    "closer": (
        "that move{s} towards the camera",
        "coming closer",
        "that come{s} closer to the camera",
        "approaching the camera",
    ),
    "moves": ("that move{s}", "that {is} moving", "in motion", "that go{es} somewhere"),
    "still": (
        "that stand{s} still",
        "that never move{s}",
        "that stay{s} in place",
        "that {is} standing still",
    ),
    "bounce": (
        "that bounce{s}",
        "that hop{s} up and down",
        "bouncing up and down",
        "that jump{s} again and again",
    ),
    "circle": (
        "that go{es} in a circle",
        "moving in a circle",
        "that circle{s} around",
        "that travel{s} along a circle",
    ),
    "spin": (
        "that spin{s}",
        "spinning on the spot",
        "that turn{s} in place",
        "that rotate{s} without leaving {its} place",
    ),
    "grow": (
        "that grow{s}",
        "growing bigger",
        "that become{s} larger",
        "that get{s} bigger",
    ),
    "shrink": (
        "that shrink{s}",
        "getting smaller",
        "that become{s} smaller",
        "that get{s} smaller and smaller",
    ),
    "start": (
        "that start{s} to move after a while",
        "that stand{s} first and then move{s}",
        "that wait{s} before {it} move{s}",
        "starting to move later",
    ),
    "stop": (
        "that stop{s} halfway",
        "that move{s} and then stop{s}",
        "that come{s} to a halt",
        "that stop{s} moving",
    ),
    "enter": (
        "that enter{s} the picture",
        "that come{s} into view",
        "entering the scene",
        "that move{s} into the frame",
    ),
    "leave": (
        "that leave{s} the picture",
        "that go{es} out of view",
        "leaving the scene",
        "that move{s} out of the frame",
    ),
    "occlude": (
        "that disappear{s} for a while",
        "that vanish{es} and appear{s} again",
        "that go{es} out of sight and come{s} back",
        "that {is} hidden for a while",
    ),
}
"""What follows the noun, for one object and for several."""

_LEFTMOST = (
    "the {n} on the left",
    "the leftmost {n}",
    "the {n} farthest to the left",
    "the {n} on the left side of the picture",
)
_LEFT_ORDINAL = (
    "the {k} {n} from the left",
    "the {n} that is {k} from the left",
    "the {k} {n} counted from the left",
)
_LEFT_OF = (
    "the {n} to the left of the {m}",
    "the {n} left of the {m}",
    "the {n} that is to the left of the {m}",
    "{a} {n} on the left of the {m}",
)


def _mirrored(templates: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each.replace("left", "right") for each in templates)


WORDINGS: dict[str, tuple[str, ...]] = {
    "name": ("the {n}", "{a} {n}", "the {n} in the video", "the only {n}"),
    "biggest": ("the biggest {n}", "the largest {n}", "the {n} that is the biggest"),
    "smallest": ("the smallest {n}", "the tiniest {n}", "the {n} that is the smallest"),
    "leftmost": _LEFTMOST,
    "rightmost": _mirrored(_LEFTMOST),
    "middle": (
        "the {n} in the middle",
        "the middle {n}",
        "the {n} between the other two",
    ),
    "nearest": (
        "the {n} closest to the camera",
        "the nearest {n}",
        "the {n} at the front",
        "the {n} in the foreground",
    ),
    "farthest": (
        "the {n} farthest from the camera",
        "the most distant {n}",
        "the {n} at the back",
        "the {n} in the background",
    ),
    "from left": _LEFT_ORDINAL,
    "from right": _mirrored(_LEFT_ORDINAL),
    "from front": (
        "the {k} {n} from the front",
        "the {n} that is {k} closest to the camera",
        "the {k} nearest {n}",
    ),
    "left of": _LEFT_OF,
    "right of": _mirrored(_LEFT_OF),
    "in front of": (
        "the {n} in front of the {m}",
        "the {n} nearer to the camera than the {m}",
        "{a} {n} that is in front of the {m}",
    ),
    "behind": (
        "the {n} behind the {m}",
        "the {n} farther from the camera than the {m}",
        "{a} {n} that is behind the {m}",
    ),
    "next to": (
        "the {n} closest to the {m}",
        "the {n} nearest to the {m}",
        "the {n} that is closest to the {m}",
    ),
    "follows": (
        "the {n} that follows the {m}",
        "the {n} following the {m}",
        "the {n} that moves along behind the {m}",
        "{a} {n} that goes after the {m}",
    ),
    "fastest": (
        "the fastest {n}",
        "the {n} that moves fastest",
        "the {n} moving at the highest speed",
    ),
    "slowest": (
        "the slowest {n}",
        "the {n} that moves slowest",
        "the {n} moving at the lowest speed",
    ),
    "first to move": (
        "the first {n} to move",
        "the {n} that moves first",
        "the {n} that starts to move before the others",
    ),
    "last to move": (
        "the last {n} to move",
        "the {n} that moves last",
        "the {n} that starts to move after the others",
    ),
    "except": (
        "everything except the {m}",
        "all objects other than the {m}",
        "every object but the {m}",
    ),
}
"""Whole sentences; those of `CLAUSES` are "{a} {n} " and a clause."""

PLURAL_FRAMES = ("all the {n}", "all {n}", "the {n}", "the {count} {n}")
SINGULAR_FRAMES = ("every {n}", "each {n}")
"""How several objects are named, with a clause or without."""
