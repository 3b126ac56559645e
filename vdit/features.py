"""Features of whole videos: clips of the length that a backbone takes, merged along time.

B clips, T frames, T' feature frames, C channels, h x w feature cells.

Reference: the clips follow Algorithm 1 of TED (emerging tracking from video diffusion), with the
last clip moved back until it is full, so that no frame is lost.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vdit.feature_merging import FeatureChunk, Merger
from vdit.feature_options import ClipRule, FeatureOptions
from vdit.frame_fit import FrameFit, plan_fit
from vdit.models.backbones.base import Backbone, Encoded
from vdit.video import open_video
from vdit.video_reader import VideoReader
from vdit.windows import sliding_windows

Features = dict[str, Tensor]
Video = str | Path | VideoReader | np.ndarray | Iterable[np.ndarray]

DEFAULT_CLIP_LENGTH = 16
"""Frames of a clip where neither the options nor the backbone say, as ModelScopeT2V was trained."""


def clip_rule(backbone: Backbone, options: FeatureOptions) -> ClipRule:
    """Choose the clips for a backbone; see `FeatureOptions.overlap`.

    Raises:
        ValueError: the backbone takes no clips of that length, or the overlap leaves no step.
    """
    if not backbone.temporal:
        if options.overlap:
            raise ValueError(
                f"expected overlap=0, got {options.overlap}: this backbone sees single frames"
            )
        return ClipRule(1, 0)
    offset, multiple = backbone.frame_offset, backbone.frame_multiple
    length = options.clip_length or backbone.clip_length
    if length is None:
        length = offset + (DEFAULT_CLIP_LENGTH - offset) // multiple * multiple
    if length < offset + multiple or (length - offset) % multiple:
        raise ValueError(
            f"expected clips of {offset} + {multiple} n frames, n >= 1, for this backbone, got "
            f"clip_length={length}"
        )
    step = (length - options.overlap) // multiple * multiple
    if step < 1:
        raise ValueError(
            f"expected an overlap of at most {length - multiple} frames for clips of {length}, got "
            f"{options.overlap}"
        )
    # the first `offset` feature frames of a clip lie before the grid of its later ones
    step = min(step, length - offset)
    return ClipRule(length, length - step, offset, multiple)


def extract_features(
    backbone: Backbone,
    video: Video,
    options: FeatureOptions | None = None,
    *,
    video_id: str = "",
    start: int = 0,
) -> Iterator[FeatureChunk]:
    """Compute the features of a video, piece by piece; one clip is in memory at a time.

    The noise of a clip depends on the seed, the video's name, the clip's first frame and the member
    of the ensemble only: not on batches, nor on where the work was taken up again.

    Args:
        backbone: any that keeps the contract; it stays on its device.
        video: a path, an open reader, frames [T, H, W, 3] uint8 or an iterable of [H, W, 3].
        options: see `FeatureOptions`.
        video_id: name of the video in the seeds, so that videos have noise of their own.
        start: feature frame to begin with, to take up work; clips that end before are not computed.

    Yields:
        Pieces that follow each other without gap or overlap, in float32 on the CPU.

    Raises:
        ValueError: a block is unknown, an option does not fit the backbone, or the video cannot be
            read or is empty.
    """
    options = options or FeatureOptions()
    blocks = options.blocks or tuple(backbone.blocks)
    backbone.check_blocks(blocks)
    rule = clip_rule(backbone, options)
    text = _encode_text(backbone, options.text)
    frames = frames_of(video)
    first = next(frames, None)
    if first is None:
        raise ValueError("expected a video of at least one frame, got none")
    if first.ndim != 3 or first.shape[-1] != 3 or first.dtype != np.uint8:
        raise ValueError(
            f"expected frames [H, W, 3] uint8, got {list(first.shape)} {first.dtype}; convert them"
        )
    fit = fit_for(backbone, first, options)
    image = fit.apply([first]) if options.image == "first" else None
    network = _Passes(backbone, replace(options, blocks=blocks), fit, video_id, text, image)
    every = itertools.chain([first], frames)
    if not backbone.temporal:
        return _single_frames(network, every, start)
    return _clips(network, every, rule, start)


def collect_features(chunks: Iterable[FeatureChunk]) -> dict[str, Tensor]:
    """Join all pieces of a video: block -> [T', C, h, w]."""
    pieces = list(chunks)
    if not pieces:
        raise ValueError("expected at least one piece of features, got none")
    return {
        name: torch.cat([piece.features[name] for piece in pieces]) for name in pieces[0].features
    }


def fit_for(backbone: Backbone, frame: np.ndarray, options: FeatureOptions) -> FrameFit:
    """Choose the size at which the backbone sees a video of such frames [H, W, 3]."""
    return plan_fit(
        frame.shape[0],
        frame.shape[1],
        backbone.size_multiple,
        size=options.size,
        short_side=options.short_side,
        fit=options.fit,
    )


def chunk_seed(seed: int, video_id: str, first_frame: int, member: int) -> int:
    """Mix what the noise of a clip depends on into one seed."""
    name = int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:8], "big")
    mixed = np.random.SeedSequence((seed, name, first_frame, member)).generate_state(1, np.uint64)
    return int(mixed[0]) >> 1


def frames_of(video: Video) -> Iterator[np.ndarray]:
    """Iterate over frames [H, W, 3] uint8; an unreadable path is an error at once."""
    return iter(open_video(video) if isinstance(video, str | Path) else video)


# ---- cutting -----------------------------------------------------------------------------------


def _single_frames(
    network: _Passes, frames: Iterable[np.ndarray], start: int
) -> Iterator[FeatureChunk]:
    """Run an image backbone on batches of frames."""
    stream = enumerate(itertools.islice(frames, start, None), start)
    while batch := list(itertools.islice(stream, network.options.batch_size)):
        indices = [index for index, _ in batch]
        found = network([[frame] for _, frame in batch], indices)
        yield FeatureChunk(
            start=indices[0],
            features={name: feature[:, 0] for name, feature in found.items()},
            spans=tuple((index, index + 1) for index in indices),
        )


def _clips(
    network: _Passes, frames: Iterable[np.ndarray], rule: ClipRule, start: int
) -> Iterator[FeatureChunk]:
    """Run a video backbone on overlapping clips and merge what they give."""
    source = _PaddedFrames(frames, rule)
    merger = Merger(network.options.merge, start)
    for window in sliding_windows(source, rule.length, rule.overlap):
        first = window.start // rule.multiple
        lead = rule.offset if window.start else 0
        if window.start and (piece := merger.pop_before(first + lead, rule, source.num_frames)):
            yield piece
        if first + rule.num_features > start:
            found = network([window.items], [window.start])
            merger.add(first + lead, {name: x[0, lead:] for name, x in found.items()})
    last = rule.count_features(source.num_frames)
    if piece := merger.pop_before(last, rule, source.num_frames):
        yield piece


class _PaddedFrames:
    """Frames of a video, the last one repeated until clips fit; counts the true ones."""

    def __init__(self, frames: Iterable[np.ndarray], rule: ClipRule) -> None:
        self.frames, self.rule = frames, rule
        self.num_frames = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self.frames:
            self.num_frames += 1
            yield frame
        yield from itertools.repeat(frame, self.rule.padded(self.num_frames) - self.num_frames)


# ---- passes ------------------------------------------------------------------------------------


class _Passes:
    """Run a backbone on clips of one video, once for each member of the ensemble."""

    def __init__(
        self,
        backbone: Backbone,
        options: FeatureOptions,
        fit: FrameFit,
        video_id: str,
        text: Tensor | None,
        image: Tensor | None,
    ) -> None:
        self.backbone, self.options, self.fit = backbone, options, fit
        self.video_id, self.text, self.image = video_id, text, image
        self.device = device_of(backbone)

    @torch.no_grad()
    def __call__(self, clips: Sequence[Sequence[np.ndarray]], starts: list[int]) -> Features:
        """Give block -> [B, T', C, h, w] float32 of B clips that start at these frames."""
        video = torch.stack([self.fit.apply(clip) for clip in clips]).to(self.device)
        encoded = self.backbone.encode(video)
        del video
        total = self._member(encoded, starts, 0)
        for member in range(1, self.options.ensemble):
            for name, feature in self._member(encoded, starts, member).items():
                total[name] = total[name] + feature
        return {name: feature / self.options.ensemble for name, feature in total.items()}

    def _member(self, encoded: Encoded, starts: list[int], member: int) -> Features:
        """One pass; each clip draws from a generator of its own, the posterior before the noise."""
        options = self.options
        seeds = [chunk_seed(options.seed, self.video_id, start, member) for start in starts]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def draw(latents: Tensor) -> Tensor:
            each = [torch.randn(latents.shape[1:], generator=g) for g in generators]
            return torch.stack(each).to(latents.device)

        if encoded.latent_logvar is not None:
            encoded = replace(encoded, posterior_noise=draw(encoded.latent_mean))
        found = self.backbone.extract(
            encoded,
            blocks=options.blocks,
            timestep=options.timestep,
            text=self._repeat(self.text, len(starts)),
            image=self._repeat(self.image, len(starts)),
            noise=None if options.timestep is None else draw,
            generator=torch.Generator(self.device).manual_seed(seeds[0]),
        )
        return {
            name: self.fit.crop(feature, self.backbone.blocks[name].stride).float().cpu()
            for name, feature in found.items()
        }

    def _repeat(self, condition: Tensor | None, count: int) -> Tensor | None:
        if condition is None:
            return None
        return condition.to(self.device).expand(count, *condition.shape[1:])


def device_of(backbone: Backbone) -> torch.device:
    """Give the device of a backbone's weights; the CPU where it has none."""
    weights = itertools.chain(backbone.parameters(), backbone.buffers())
    first = next(weights, None)
    return torch.device("cpu") if first is None else first.device


def _encode_text(backbone: Backbone, text: str | None) -> Tensor | None:
    if text is None:
        return None
    encode = getattr(backbone, "encode_text", None)
    if encode is None:
        raise ValueError(f"expected no text, got {text!r}: this backbone takes none")
    with torch.no_grad():
        return encode([text])
