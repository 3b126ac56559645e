"""Training clips of several recipes in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch.utils.data import Dataset

from vdit.stages.clips import ClipConfig, ClipExample, TrainingClips


class MixedClips(Dataset[ClipExample]):
    """Clips from nothing: index -> example; the index also chooses the recipe.

    Args:
        config: what they look like.
        recipes: in turn; none = that of `config`.
        seed: another seed gives other clips.
    """

    def __init__(self, config: ClipConfig, recipes: Sequence[str], seed: int) -> None:
        self.sets = [
            TrainingClips(replace(config, recipe=name), seed) for name in recipes or [config.recipe]
        ]

    def __getitem__(self, index: int) -> ClipExample:
        return self.sets[index % len(self.sets)][index]
