"""Random changes of color, drawn for each frame or for a whole clip."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ColorOptions"]


@dataclass(frozen=True)
class ColorOptions:
    """How much colors change; the defaults are those of the released VD-IT.

    Attributes:
        brightness: largest shift in gray levels.
        contrast: largest factor away from 1, as for saturation.
        saturation: 0.2 draws factors from 0.8 to 1.2.
        probability: of each of the three, each by itself.
        shuffle: probability that the channels change places, all six orders alike.
    """

    brightness: float = 32.0
    contrast: float = 0.2
    saturation: float = 0.2
    probability: float = 0.5
    shuffle: float = 0.2
