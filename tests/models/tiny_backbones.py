"""Every family of backbones at a tiny size, by name."""

from collections.abc import Callable

from tests.models import tiny_convnets, tiny_transformers, tiny_unets, tiny_vits, tiny_walt
from vdit.build import build_backbone
from vdit.models.backbones.base import Backbone

TINY: dict[str, Callable[[], Backbone]] = {
    "mini": lambda: build_backbone("mini"),
    **tiny_unets.TINY,
    **tiny_transformers.TINY,
    **tiny_walt.TINY,
    **tiny_convnets.TINY,
    **tiny_vits.TINY,
}
