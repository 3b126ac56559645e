"""Reads an English sentence and finds the objects that it names; shares nothing with the grammar.

It has its own words, and decides by plain signs and extremes, without margins. A sentence with
words that it does not know is a `ValueError`.
"""

from __future__ import annotations

import re

import numpy as np

PLURALS = {
    "mouse": "mice",
    "snowman": "snowmen",
    "goose": "geese",
    "person": "people",
    "child": "children",
    "man": "men",
    "woman": "women",
    "fish": "fish",
    "sheep": "sheep",
    "deer": "deer",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "wolf": "wolves",
    "tooth": "teeth",
    "foot": "feet",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "scissors": "scissors",
    "glasses": "glasses",
}
KNOWN = "ball cube can cone egg pill car bus house tree mushroom snowman".split()
KNOWN += "duck dog rocket robot boat lamp".split()
COLORS = "red orange yellow green blue purple pink brown white black gray cyan".split()
LOOKS = {
    "striped": ("pattern", "striped"),
    "checkered": ("pattern", "checkered"),
    "checked": ("pattern", "checkered"),
    "dotted": ("pattern", "dotted"),
    "spotted": ("pattern", "dotted"),
    "shiny": ("finish", "shiny"),
    "glossy": ("finish", "shiny"),
    "metal": ("finish", "metal"),
    "metallic": ("finish", "metal"),
    "grey": ("color", "gray"),
    **{color: ("color", color) for color in COLORS},
}
SIZES = {"big": 1, "large": 1, "small": -1, "little": -1}
ORDINALS = "first second third fourth fifth sixth seventh eighth".split()
FILLERS = set("a an the all every each only two three four five six seven eight nine ten".split())


def plural_of(noun: str) -> str:
    head, _, last = noun.rpartition(" ")
    if last in PLURALS:
        last = PLURALS[last]
    elif re.search(r"(s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


class Clip:
    """The plain measures of a clip.

    Args:
        scene: has `objects`, each with the words of its looks and its `motion`.
        camera: has `world_to_camera` [T, 3, 4].
        positions: [N, T, 3] in metres.
        boxes: [N, T, 4] in pixels, zeros where invisible.
        sizes: [N, T] in metres.
    """

    def __init__(self, scene, camera, positions, boxes, sizes):
        self.specs = scene.objects
        self.indices = range(len(self.specs))
        self.positions, self.sizes = positions, sizes
        self.visible = boxes[..., 2] > boxes[..., 0]
        weight = self.visible / np.maximum(self.visible.sum(axis=1, keepdims=True), 1)
        self.x = ((boxes[..., 0] + boxes[..., 2]) / 2 * weight).sum(axis=1)
        pose = camera.world_to_camera
        depth = np.einsum("tj,ntj->nt", pose[:, 2, :3], positions) + pose[:, 2, 3]
        self.depth = depth.mean(axis=1)
        self.shift = (positions[:, -1] - positions[:, 0]) @ pose[0, :, :3].T
        self.steps = np.linalg.norm(np.diff(positions[..., [0, 2]], axis=1), axis=2)
        self.length = self.steps.sum(axis=1)
        self.lift = np.ptp(positions[..., 1] + sizes / 2, axis=1)

    def heads(self, index: int) -> str:
        """Where a traveller goes: the largest part of its displacement."""
        right, _, away = self.shift[index]
        if not self.travels(index) or np.hypot(right, away) < self.length[index] / 2:
            return ""
        parts = {"left": -right, "right": right, "away": away, "closer": -away}
        return max(parts, key=parts.__getitem__)

    def travels(self, index: int) -> bool:
        return bool(self.length[index] > 1e-3)

    def circles(self, index: int) -> bool:
        return self.travels(index) and not self.heads(index)

    def changes(self, index: int) -> float:
        return float(np.log(self.sizes[index, -1] / self.sizes[index, 0]))

    def spins(self, index: int) -> bool:
        return self.specs[index].motion.program == "spin"

    def is_still(self, index: int) -> bool:
        active = self.travels(index) or self.spins(index) or self.lift[index] > 1e-3
        return not active and abs(self.changes(index)) < 1e-3

    def waits(self, index: int) -> bool:
        return self.travels(index) and bool(self.steps[index, 0] < 1e-9)

    def halts(self, index: int) -> bool:
        return self.travels(index) and bool(self.steps[index, -1] < 1e-9)

    def sets_off(self, index: int) -> int:
        return int(np.argmax(self.steps[index] > 1e-9))


# In the order in which they are tried: what follows or surrounds the noun X, and who fits.
CLAUSES = (
    (r"starts? to move after a while|starting to move later", Clip.waits),
    (r"stands? first and then moves?|waits? before (it|they) moves?", Clip.waits),
    (r"stops? halfway|moves? and then stops?|comes? to a halt|stops? moving", Clip.halts),
    (
        r"enters? the picture|comes? into view|entering the scene|moves? into the frame",
        lambda clip, i: not clip.visible[i, 0] and clip.visible[i, -1],
    ),
    (
        r"leaves? the picture|goe?s? out of view|leaving the scene|moves? out of the frame",
        lambda clip, i: clip.visible[i, 0] and not clip.visible[i, -1],
    ),
    (
        r"disappears? for a while|hidden for a while|vanish(es)? and appears? again"
        r"|goe?s? out of sight and comes? back",
        lambda clip, i: clip.visible[i, 0] and clip.visible[i, -1] and not clip.visible[i].all(),
    ),
    (r"(goe?s?|moving|travels?) (in|along) a circle|circles? around", Clip.circles),
    (r"(moves?|moving|heads?|travels?) to the left|going left", "left"),
    (r"(moves?|moving|heads?|travels?) to the right|going right", "right"),
    (r"(moves?|going) away from the camera|moving away|travels? into the distance", "away"),
    (
        r"moves? towards the camera|com(es?|ing) closer( to the camera)?|approaching the camera",
        "closer",
    ),
    (r"(stands?|standing) still|never moves?|stays? in place", Clip.is_still),
    (
        r"bounces?|bouncing up and down|hops? up and down|jumps? again and again",
        lambda clip, i: clip.lift[i] > 1e-3,
    ),
    (r"spins?|spinning on the spot|turns? in place", Clip.spins),
    (r"rotates? without leaving (its|their) place", Clip.spins),
    (
        r"grows?|growing bigger|becomes? larger|gets? bigger",
        lambda clip, i: clip.changes(i) > 1e-3,
    ),
    (
        r"shrinks?|becomes? smaller|gets? smaller and smaller|getting smaller",
        lambda clip, i: clip.changes(i) < -1e-3,
    ),
    (r"moves?|moving|in motion|goe?s? somewhere", Clip.travels),
)

# Who of several it is: the least by a measure.
EXTREMES = (
    (r"the (biggest|largest) X|X that is the biggest", lambda clip, i: -clip.sizes[i].mean()),
    (r"the (smallest|tiniest) X|X that is the smallest", lambda clip, i: clip.sizes[i].mean()),
    (
        r"leftmost X|X (on the left|farthest to the left)( side of the picture)?",
        lambda clip, i: clip.x[i],
    ),
    (
        r"rightmost X|X (on the right|farthest to the right)( side of the picture)?",
        lambda clip, i: -clip.x[i],
    ),
    (
        r"X closest to the camera|nearest X|X (at the front|in the foreground)",
        lambda clip, i: clip.depth[i],
    ),
    (
        r"X farthest from the camera|most distant X|X (at the back|in the background)",
        lambda clip, i: -clip.depth[i],
    ),
    (r"fastest X|X that moves fastest|X moving at the highest speed", lambda c, i: -c.length[i]),
    (r"slowest X|X that moves slowest|X moving at the lowest speed", lambda c, i: c.length[i]),
)
RELATIONS = (
    (r"X .*\bleft of the Y", lambda clip, i, j: clip.x[i] < clip.x[j]),
    (r"X .*\bright of the Y", lambda clip, i, j: clip.x[i] > clip.x[j]),
    (
        r"X .*(follows|following|moves along behind|goes after) the Y",
        lambda clip, i, j: clip.specs[i].motion.leader == j,
    ),
    (
        r"X .*(in front of the|nearer to the camera than the) Y",
        lambda clip, i, j: clip.depth[i] < clip.depth[j],
    ),
    (
        r"X .*(behind the|farther from the camera than the) Y",
        lambda clip, i, j: clip.depth[i] > clip.depth[j],
    ),
)


def solve(sentence, scene, camera, positions, boxes, sizes, plurals=None) -> set[int]:
    """Find the objects that a sentence names; the arrays are those of `Clip`.

    `plurals` maps nouns to plurals that are not formed by rule.
    """
    clip = Clip(scene, camera, positions, boxes, sizes)
    text, groups = _noun_phrases(sentence, clip, plurals or {})
    if match := re.fullmatch(r"(?:everything|\w+ X) (?:except|other than|but) the (.)", text):
        return set(clip.indices) - groups[match[1]]
    if "X" not in groups:
        raise ValueError(f"no noun in {sentence!r}")
    named = sorted(groups["X"])
    if "Y" in groups:
        return _related(text, clip, named, groups["Y"])
    order = _ordered(text, clip, named)
    if order is not None:
        return order
    for pattern, measure in EXTREMES:
        if re.search(rf"\b({pattern})$", text):
            if "speed" in pattern:
                named = [i for i in named if clip.travels(i)]
            values = {i: measure(clip, i) for i in named}
            return {min(values, key=values.__getitem__)} if values else set()
    for pattern, rule in CLAUSES:
        if match := re.search(rf"X (that (is |are )?)?({pattern})$", text):
            text = text[: match.start() + 1]
            if isinstance(rule, str):
                named = [i for i in named if clip.heads(i) == rule]
            else:
                named = [i for i in named if rule(clip, i)]
            break
    rest = set(text.removesuffix(" in the video").split()) - FILLERS - {"X"}
    if rest:
        raise ValueError(f"unknown words {sorted(rest)} in {sentence!r}")
    return set(named)


def _noun_phrases(sentence, clip, plurals):
    """Replace the first noun phrase by X and the second by Y, and list what each fits."""
    nouns = {noun: noun for noun in KNOWN} | {spec.category: spec.category for spec in clip.specs}
    nouns |= {"object": "", "thing": ""}
    forms = nouns | {
        plurals.get(noun, plural_of(noun)): category for noun, category in nouns.items()
    }
    noun = "|".join(sorted(map(re.escape, forms), key=len, reverse=True))
    words = "|".join((*LOOKS, *SIZES))
    groups: dict[str, set[int]] = {}

    def replace(match):
        category = forms[match["noun"]]
        fits = {i for i in clip.indices if category in ("", clip.specs[i].category)}
        for word in match["words"].split():
            if word in SIZES:
                fits = {i for i in fits if _is_sized(clip, i, SIZES[word])}
            else:
                field, value = LOOKS[word]
                plain = [i for i in fits if not clip.specs[i].sprite]
                fits = {i for i in plain if getattr(clip.specs[i], field) == value}
        name = "XYZ"[len(groups)]
        groups[name] = fits
        return name

    text = re.sub(rf"\b(?P<words>(?:(?:{words}) )*)(?P<noun>{noun})\b", replace, sentence)
    return text, groups


def _is_sized(clip, index, sign):
    """Bigger, or smaller, than the middle of the sizes of its category."""
    category = clip.specs[index].category
    peers = [clip.sizes[i].mean() for i in clip.indices if clip.specs[i].category == category]
    return sign * (clip.sizes[index].mean() - (max(peers) + min(peers)) / 2) > 0


def _related(text, clip, named, landmarks):
    if len(landmarks) != 1:
        raise ValueError(f"{len(landmarks)} landmarks in {text!r}")
    (landmark,) = landmarks
    others = [i for i in named if i != landmark]
    for pattern, holds in RELATIONS:
        if re.search(pattern, text):
            return {i for i in others if holds(clip, i, landmark)}
    if not re.search(r"X (that is closest to|closest to|nearest to) the Y", text):
        raise ValueError(f"unknown relation in {text!r}")
    gaps = np.linalg.norm(clip.positions - clip.positions[landmark], axis=2).mean(axis=1)
    return {min(others, key=gaps.__getitem__)}


def _ordered(text, clip, named):
    """What a place in a row names, or None."""
    by_x = sorted(named, key=clip.x.__getitem__)
    by_depth = sorted(named, key=clip.depth.__getitem__)
    if re.search(r"X in the middle|middle X|X between the other two", text):
        return {by_x[len(by_x) // 2]}
    movers = sorted((i for i in named if clip.travels(i)), key=clip.sets_off)
    if re.search(r"first X to move|X that moves first|to move before the others", text):
        return set(movers[:1])
    if re.search(r"last X to move|X that moves last|to move after the others", text):
        return set(movers[-1:])
    place = re.search(rf"\b({'|'.join(ORDINALS)})\b", text)
    if not place or re.search(r"stands? first", text):
        return None
    if re.search(r"(from|counted from) the left", text):
        row = by_x
    elif re.search(r"(from|counted from) the right", text):
        row = by_x[::-1]
    elif re.search(r"from the front|closest to the camera|nearest X", text):
        row = by_depth
    else:
        raise ValueError(f"unknown row in {text!r}")
    rank = ORDINALS.index(place[1])
    return {row[rank]} if rank < len(row) else set()
