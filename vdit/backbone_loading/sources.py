"""Names of backbones: which family loads them, and from where unless told otherwise."""

from __future__ import annotations

from typing import NamedTuple

from vdit.model_spec import BUNDLED, MODELSCOPE


class Source(NamedTuple):
    """Where a backbone comes from.

    Attributes:
        family: file of `vdit.backbone_loading`.
        place: hub id, folder, or address where its owners publish it.
    """

    family: str
    place: str


SOURCES = {
    "mini": Source("mini", str(BUNDLED["vdit-mini"])),
    "modelscope": Source("modelscope", MODELSCOPE),
    "zeroscope": Source("modelscope", "cerspense/zeroscope_v2_576w"),
}
