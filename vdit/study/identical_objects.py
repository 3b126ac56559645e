"""Which features tell equal objects apart? Labels of two equal balls, carried through a crossing.

For every network the block and the noise level are chosen on clips of their own, then it is scored
on others. The balls have one look; size, place and motion tell them apart, and once they have
met only what was remembered of these.

<output>/clips/{choose,score}/     rendered clips in the layout of Kubric-Similar
<output>/{choose,score}/           results, as `vdit probe -o` leaves them
<output>/weights.json              which weights they are of

Reference: TED, Figs. 7 and 8, on Kubric-Similar; see docs/probing.md.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vdit.atomic import replace_when_complete
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.writers.davis import write_davis
from vdit.datasets.synthetic.writers.records import read_json, write_json
from vdit.probing.feature_sources import FeatureSource
from vdit.probing.label_propagation import run_label_propagation
from vdit.probing.propagation_config import (
    DataOptions,
    LabelPropagationConfig,
    PropagationOptions,
)
from vdit.probing.results import Row, format_value, provenance

RECIPE = "kubric-similar"
METRIC = "J_m"
FIRST_SEEDS = {"choose": 1000, "score": 0}
WEIGHTS_FILE = "weights.json"


@dataclass(frozen=True)
class Candidate:
    """A network, and where its features may be taken.

    Attributes:
        source: the network; its block and noise level are chosen. A path is seen from the folder
            of all checkpoints.
        weights: file in the folder at this path that is there once the network is trained.
        blocks: to choose from.
        timesteps: to choose from.
    """

    source: FeatureSource = field(default_factory=lambda: FeatureSource(block=""))
    weights: str = ""
    blocks: list[str] = field(default_factory=list)
    timesteps: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class IdenticalObjectsConfig:
    """The whole comparison.

    Attributes:
        networks: name -> network.
        choose: clips that block and noise level are chosen on.
        score: clips that are scored.
        frames: T of a clip.
        side: height and width in pixels.
        propagation: how labels travel.

    Raises:
        ValueError: there is nothing to compare, or nothing to choose from.
    """

    networks: dict[str, Candidate] = field(default_factory=dict)
    choose: int = 4
    score: int = 14
    frames: int = 16
    side: int = 256
    propagation: PropagationOptions = field(default_factory=PropagationOptions)

    def __post_init__(self) -> None:
        if not self.networks or self.choose < 1 or self.score < 1:
            raise ValueError(
                f"expected networks and clips, got {len(self.networks)} networks, {self.choose} "
                f"clips to choose on and {self.score} to score"
            )
        for name, each in self.networks.items():
            if not each.blocks or not each.timesteps:
                raise ValueError(f"expected blocks and timesteps of {name}, got none")
            if (each.source.path is None) != (not each.weights):
                raise ValueError(
                    f"expected weights of {name} where it has a path, got path "
                    f"{each.source.path!r} and weights {each.weights!r}"
                )


@dataclass(frozen=True)
class Answer:
    """How one network does.

    Attributes:
        name: of the network.
        chosen: block and noise level; None = its weights are not there.
        chosen_on: J of the choice on the clips that it was made on, in per cent.
        metrics: on the other clips, in per cent.
    """

    name: str
    chosen: tuple[str, float] | None = None
    chosen_on: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)


def compare(
    config: IdenticalObjectsConfig, models: Path, output: Path, device: str = "cpu"
) -> Iterator[Answer]:
    """Choose for one network after another, and score it; what is done already is kept.

    Args:
        config: what is compared.
        models: folder that paths of weights are seen from.
        output: of the comparison.
        device: where networks and propagation run.

    Raises:
        ValueError: there is no such folder; clips or weights are others than those of earlier
            results; a backbone or block is unknown, or the propagation's options are out of range.
    """
    if not models.is_dir():
        raise ValueError(f"expected a folder of checkpoints, got {models}")
    for split, count in (("choose", config.choose), ("score", config.score)):
        _render(config, output / "clips" / split, split, count)
    for name, each in config.networks.items():
        yield _answer(config, name, _found(name, each, models, output), output, device)


def page_of(config: IdenticalObjectsConfig, answers: Sequence[Answer]) -> str:
    """Lay the answers out as Markdown."""
    lines = [
        "# Identical balls",
        f"Labels of the first frame of {config.score} clips of two equal balls that cross, carried "
        "by the features of each network. Block and noise level were chosen on other clips "
        f"({config.choose}).",
        "| network | block, noise level | J, chosen on | J | F | J&F |\n|---|---|---|---|---|---|",
    ]
    for each in answers:
        if each.chosen is None:
            lines[-1] += f"\n| {each.name} | no weights | - | - | - | - |"
            continue
        scores = [each.chosen_on, *(each.metrics[name] for name in (METRIC, "F_m", "J&F_m"))]
        cells = " | ".join(format_value(value) for value in scores if value is not None)
        lines[-1] += f"\n| {each.name} | {each.chosen[0]}, {each.chosen[1]:g} | {cells} |"
    return "\n\n".join(lines)


def write_answers(
    config: IdenticalObjectsConfig, answers: Sequence[Answer], output: Path
) -> list[Path]:
    """Write `identical_objects.md` and `.json`: the files."""
    page, everything = (output / f"identical_objects.{suffix}" for suffix in ("md", "json"))
    with replace_when_complete(page) as partial:
        partial.write_text(page_of(config, answers) + "\n")
    content = provenance() | {
        "config": asdict(config),
        "networks": [asdict(each) for each in answers],
    }
    with replace_when_complete(everything) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
    return [page, everything]


def _found(name: str, candidate: Candidate, models: Path, output: Path) -> Candidate | None:
    """Resolve the path of the weights; None = they are not there."""
    if candidate.source.path is None:
        return candidate
    folder = models / candidate.source.path
    weights = folder / candidate.weights
    if not weights.is_file():
        return None
    path, digest = output / WEIGHTS_FILE, hashlib.sha256(weights.read_bytes()).hexdigest()
    known = read_json(path)
    if known.setdefault(name, digest) != digest:
        raise ValueError(
            f"expected in {weights} the weights that the results of {name} in {output} are of, "
            "found others; remove the results"
        )
    write_json(path, known)
    return replace(candidate, source=replace(candidate.source, path=str(folder.resolve())))


def _answer(
    config: IdenticalObjectsConfig,
    name: str,
    candidate: Candidate | None,
    output: Path,
    device: str,
) -> Answer:
    if candidate is None:
        return Answer(name)
    places = list(itertools.product(candidate.blocks, candidate.timesteps))
    rows = _run(config, candidate, places, output, "choose", device)
    best = max(range(len(rows)), key=lambda index: rows[index]["metrics"][METRIC])
    (row,) = _run(config, candidate, [places[best]], output, "score", device)
    return Answer(name, places[best], rows[best]["metrics"][METRIC], row["metrics"])


def _run(
    config: IdenticalObjectsConfig,
    candidate: Candidate,
    places: Sequence[tuple[str, float]],
    output: Path,
    split: str,
    device: str,
) -> list[Row]:
    root = str((output / "clips" / split).resolve())
    configs = [
        LabelPropagationConfig(
            data=DataOptions(RECIPE, root, "val"),
            sources={"video": replace(candidate.source, block=block, timestep=timestep)},
            propagation=config.propagation,
        )
        for block, timestep in places
    ]
    rows = run_label_propagation(configs, output / split, device)
    if rows is None:
        raise ValueError("expected a process of its own, got one of several; start it alone")
    return rows


def _render(config: IdenticalObjectsConfig, root: Path, split: str, count: int) -> None:
    """Render the clips of a split, unless they are there."""
    first, size = FIRST_SEEDS[split], (config.frames, config.side, config.side)
    names = {f"{RECIPE}-{first + index:06d}": first + index for index in range(count)}
    scenes = {f"val/{name}": make_scene(RECIPE, seed, *size) for name, seed in names.items()}
    known: dict[str, Any] = read_json(root / "rendered.json").get("clips", {})
    wanted = json.loads(json.dumps({name: scene.as_json() for name, scene in scenes.items()}))
    if known and known != wanted:
        raise ValueError(
            f"expected {count} clips of {size[0]} frames of {size[1]}x{size[2]} in {root}, found "
            f"{len(known)} others; remove the folder"
        )
    if not known:
        clips = RenderedClips(RECIPE, count, first, *size)
        write_davis(zip(names, (clips[index] for index in range(count)), strict=True), root, "val")
