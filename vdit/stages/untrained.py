"""The UNet as it is before training: what a trained one is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vdit.stages.parts import fresh_networks, save_part


@dataclass(frozen=True)
class UntrainedConfig:
    """Seed of the weights."""

    seed: int = 0


def write_untrained(config: UntrainedConfig, folder: Path) -> None:
    """Write a UNet with random weights and its schedule into the model folder."""
    networks = fresh_networks(folder, config.seed)
    for name in ("unet", "scheduler"):
        save_part(networks[name], folder, name)
