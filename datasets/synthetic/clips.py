"""Rendered clips as a data set: index -> clip, made when it is asked for."""

from __future__ import annotations

from torch.utils.data import Dataset

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render


class RenderedClips(Dataset[RenderedClip]):
    """Clips of one recipe.

    Rendering needs no state, so any number of `DataLoader` workers gives the same clips.

    Args:
        recipe: name, see `vdit.datasets.synthetic.recipes.RECIPES`.
        count: number of clips.
        first_seed: clip i has the seed `first_seed + i`.
        num_frames: T; None = the recipe's own, likewise the sizes.
        height: H in pixels.
        width: W in pixels.
        num_tracks: random point tracks of each clip.
    """

    def __init__(
        self,
        recipe: str,
        count: int,
        first_seed: int = 0,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_tracks: int = 32,
    ) -> None:
        self.recipe = recipe
        self.count = count
        self.first_seed = first_seed
        self.size = (num_frames, height, width)
        self.num_tracks = num_tracks

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> RenderedClip:
        if not 0 <= index < self.count:
            raise IndexError(f"expected an index in 0..{self.count - 1}, got {index}")
        scene = make_scene(self.recipe, self.first_seed + index, *self.size)
        return render(scene, self.num_tracks)
