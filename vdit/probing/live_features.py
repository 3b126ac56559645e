"""Features computed in every step: of a backbone that learns, or to draw new noise each time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vdit.feature_options import ClipRule
from vdit.models.backbones.base import Backbone
from vdit.probing.feature_sources import FeatureSource


class LiveFeatures(nn.Module):
    """One block of a backbone as a module.

    Every clip is one pass, so that it has to be of a length that the backbone takes, or passes of
    the source's `clip_length` one after another, of which the last may be shorter. An ensemble is
    not averaged, as every step draws new noise.

    Args:
        backbone: frozen, or with weights that learn.
        source: block, noise level and conditions.

    Raises:
        ValueError: the source asks for an ensemble or for overlapping clips.
    """

    def __init__(self, backbone: Backbone, source: FeatureSource) -> None:
        super().__init__()
        if source.ensemble != 1 or source.overlap:
            raise ValueError(
                "expected ensemble=1 and overlap=0 with features.cached=false, got "
                f"{source.ensemble} and {source.overlap}"
            )
        self.backbone, self.source = backbone, source
        self._text: Tensor | None = None
        if source.text is not None:
            with torch.no_grad():
                self._text = backbone.encode_text([source.text])  # type: ignore[operator]

    def forward(self, video: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute features.

        Args:
            video: [B, T, 3, H, W] in 0..1.
            generator: of the noise; None = torch's own.

        Returns:
            [B, T', C, h, w] float32; with gradients where the backbone learns.
        """
        first = video[:, 0]
        parts = video.split(self.source.clip_length or video.shape[1], dim=1)
        return torch.cat([self._pass(part, first, generator) for part in parts], dim=1)

    def _pass(self, video: Tensor, first: Tensor, generator: torch.Generator | None) -> Tensor:
        """Compute features of frames that are seen together; `first` is that of the clip."""
        source, B = self.source, len(video)
        text = None if self._text is None else self._text.to(video.device).expand(B, -1, -1)
        with torch.set_grad_enabled(bool(self.backbone.learning) and torch.is_grad_enabled()):
            found = self.backbone.extract(
                video,
                blocks=(source.block,),
                timestep=source.timestep,
                text=text,
                image=first if source.image == "first" else None,
                generator=generator,
            )
        return found[source.block].float()

    def spans(self, num_frames: int) -> list[tuple[int, int]]:
        """List the half-open ranges of T frames that feature frames stand for."""
        offset, multiple = self.backbone.frame_offset, self.backbone.frame_multiple
        length, spans = self.source.clip_length or num_frames, []
        for start in range(0, num_frames, length):
            count = min(length, num_frames - start)
            rule = ClipRule(count, 0, offset, multiple)
            found = [rule.span(step, count) for step in range(rule.num_features)]
            spans += [(start + begin, start + stop) for begin, stop in found]
        return spans
