"""The study as pictures: principal components of clips, blocks, noise levels, one moving quarter.

T frames, T' feature frames, C channels, h x w cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from vdit.build import build_backbone
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render_frames
from vdit.feature_options import FeatureOptions
from vdit.feature_pictures import (
    block_strip,
    noise_strip,
    pca_rows,
    sheet_of_rows,
    write_picture,
    write_rows,
)
from vdit.features import collect_features, extract_features
from vdit.models.backbones.base import Backbone
from vdit.study.cells import main_cell
from vdit.study.networks import check_weights
from vdit.study.quadrants import render_quadrants
from vdit.study.study import Study
from vdit.study.study_config import KINDS

FRAMES_PER_SECOND = 6.0


def draw_pictures(study: Study, folder: Path) -> tuple[list[Path], list[str]]:
    """Draw the pictures of the first seed whose networks are there.

    Args:
        study: whose networks are there or not.
        folder: that gets them.

    Returns:
        The files, and a sentence for each kind of network that is missing.

    Raises:
        ValueError: weights are others than those of earlier results.
    """
    config = study.config
    probe = next(iter(config.probes))
    cells = {kind: main_cell(config, probe, kind) for kind in KINDS}
    seeds = config.seeds(config.size)
    complete = [s for s in seeds if all(study.network(cell, s).is_there for cell in cells.values())]
    seed = (complete or seeds)[0]
    networks: dict[str, Backbone] = {}
    missing = []
    for kind, cell in cells.items():
        network = study.network(cell, seed)
        if network.is_there:
            check_weights(network, study.results(cell, seed))
            networks[KINDS[kind]] = build_backbone("walt", path=network.folder)
        else:
            missing.append(f"pictures of {KINDS[kind]}: {study.why_missing(cell, seed)}")
    if not networks:
        return [], missing
    return list(_draw(study, networks, folder)), missing


def _draw(study: Study, networks: Mapping[str, Backbone], folder: Path) -> list[Path]:
    config, options = study.config, study.config.pictures
    tree = config.trees[next(iter(config.probes.values()))]
    size = (tree.frames, tree.height, tree.width)
    clips = {
        recipe: render_frames(make_scene(recipe, options.seed, *size)) for recipe in options.recipes
    }
    written = []
    for recipe, clip in clips.items():
        path = folder / f"components_{recipe}.png"
        _write_components(study, networks, clip, [path])
        written.append(path)
    moving = [folder / f"quadrants{suffix}" for suffix in (".png", ".gif")]
    clip = render_quadrants(options.quadrants, options.seed, size)
    _write_components(study, networks, clip, moving)
    clip = clips[options.recipes[0]] if options.recipes else clip
    for name, backbone in networks.items():
        strips = _strips(study, backbone, clip)
        for kind, strip in strips.items():
            path = folder / f"{kind}_{name.lower()}.png"
            write_picture(path, strip)
            written.append(path)
    return written + moving


def _write_components(
    study: Study, networks: Mapping[str, Backbone], clip: np.ndarray, paths: Sequence[Path]
) -> None:
    """Show a clip above three components of each network, in colors of its own."""
    block = study.config.sizes[study.config.size].block
    options = _options(study, [block], study.config.timestep)
    found = {name: features_of(backbone, clip, options) for name, backbone in networks.items()}
    shown = min((spans for _, spans in found.values()), key=len)
    moments = [stop - 1 for _, stop in shown]  # what a feature frame has seen by then
    rows = {}
    for name, (features, spans) in found.items():
        chosen = [k for t in moments for k, (a, b) in enumerate(spans) if a <= t < b]
        rows[name] = pca_rows({name: features[block][chosen]})[name]
    for path in paths:
        if path.suffix == ".png":
            write_picture(path, sheet_of_rows([clip[t] for t in moments], rows))
        else:
            write_rows(path, [clip[t] for t in moments], rows, FRAMES_PER_SECOND)


def _strips(study: Study, backbone: Backbone, clip: np.ndarray) -> dict[str, np.ndarray]:
    """The middle of a clip in all blocks, and at all noise levels, that are swept."""
    config = study.config
    block, sweep = config.sizes[config.size].block, config.sweep
    strips = {}
    middle = len(clip) // 2

    def at_middle(blocks: Sequence[str], timestep: float) -> dict[str, Tensor]:
        features, spans = features_of(backbone, clip, _options(study, blocks, timestep))
        (step,) = [k for k, (a, b) in enumerate(spans) if a <= middle < b]
        return {name: maps[step : step + 1] for name, maps in features.items()}

    if sweep.blocks:
        strips["blocks"] = block_strip(clip[middle], at_middle(sweep.blocks, config.timestep))
    if sweep.timesteps:
        levels: dict[float | None, Tensor] = {
            timestep: at_middle([block], timestep)[block] for timestep in sweep.timesteps
        }
        strips["noise"] = noise_strip(clip[middle], levels)
    return strips


def _options(study: Study, blocks: Sequence[str], timestep: float) -> FeatureOptions:
    ensemble = study.config.pictures.ensemble
    return FeatureOptions(blocks=tuple(blocks), timestep=timestep, ensemble=ensemble, fit="resize")


def features_of(
    backbone: Backbone, clip: np.ndarray, options: FeatureOptions
) -> tuple[dict[str, Tensor], list[tuple[int, int]]]:
    """Compute features of a clip.

    Args:
        backbone: V-WALT or I-WALT.
        clip: [T, H, W, 3] uint8.
        options: blocks, noise level, ensemble.

    Returns:
        Block -> [T', C, h, w], and the half-open range of frames that each of the T' stands for.
    """
    chunks = list(extract_features(backbone, clip, options))
    return collect_features(chunks), [span for chunk in chunks for span in chunk.spans]
