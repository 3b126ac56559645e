"""From a video and sentences to masks: windows, shared work, and one object across windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vdit.build import load_model
from vdit.masks import masks_to_boxes_xyxy
from vdit.measure import Stopwatch
from vdit.memory import return_free_memory
from vdit.models.backbones.base import Encoded
from vdit.models.image_encoder import IMAGENET_MEAN
from vdit.models.vdit import VDIT
from vdit.postprocess import full_size_masks
from vdit.prediction import FramePrediction, Prediction, PredictionCollector
from vdit.segment_options import PAD_MULTIPLE, SegmentOptions, check_prompts
from vdit.structures import VideoBatch
from vdit.tracks import ObjectTrack, TrackRules, WindowMasks
from vdit.video import open_video
from vdit.video_reader import VideoReader
from vdit.windows import Window, sliding_windows

Video = str | Path | VideoReader | np.ndarray


@dataclass(frozen=True)
class Frame:
    """One frame on its way in: name, [H, W, 3] uint8 RGB, seconds since the first one if known."""

    name: str
    image: np.ndarray
    seconds: float | None = None


class ReferringSegmenter:
    """Segment the objects that sentences name in a video.

    Args:
        model: VD-IT in eval mode.
        name: how the model calls itself.
        trained: False where its head has random weights.
        short_side: pixels that the model sees unless options say otherwise.

    >>> segmenter = ReferringSegmenter.from_pretrained("vdit-mini")
    >>> clip = np.zeros((2, 32, 48, 3), dtype=np.uint8)
    >>> segmenter.segment(clip, ["the dog on the left"], short_side=32)[0].masks.shape
    (2, 32, 48)
    """

    def __init__(self, model: VDIT, name: str, trained: bool, short_side: int = 360) -> None:
        self.model = model
        self.name = name
        self.trained = trained
        self.short_side = short_side
        self.stopwatch = Stopwatch()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "vdit-mini",
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> ReferringSegmenter:
        """Load a model by name, hub id or folder; see `vdit.build.load_model`."""
        model, spec = load_model(name, device, dtype)
        return cls(model, spec.name, spec.trained, spec.short_side)

    def segment(
        self,
        video: Video,
        prompts: Sequence[str],
        options: SegmentOptions | None = None,
        **changes: Any,
    ) -> list[Prediction]:
        """Collect `stream` into one Prediction for each prompt."""
        collector = PredictionCollector(prompts, self.name, self.trained)
        for frame in self.stream(video, prompts, options, **changes):
            collector.add(frame)
        return collector.predictions()

    def stream(
        self,
        video: Video,
        prompts: Sequence[str],
        options: SegmentOptions | None = None,
        **changes: Any,
    ) -> Iterator[FramePrediction]:
        """Segment frame after frame; one window of the video is in memory at a time.

        What does not depend on a sentence is computed once a frame and shared by all prompts.

        Args:
            video: path of a clip, folder of frames or image; an open reader; or frames
                [T, H, W, 3] uint8.
            prompts: sentences, each naming an object.
            options: see `SegmentOptions`.
            **changes: single options by name, on top of `options`.

        Raises:
            ValueError: no prompt, a blank one, an option out of range, or an unreadable video.
        """
        chosen = replace(options or SegmentOptions(), **changes)
        check_prompts(prompts)
        frames = _frames_of(video)
        return self._stream(frames, prompts, chosen)

    def _stream(
        self, frames: Iterable[Frame], prompts: Sequence[str], options: SegmentOptions
    ) -> Iterator[FramePrediction]:
        self.stopwatch = Stopwatch()
        with torch.inference_mode(), self.stopwatch.measure("text"):
            sentences = [self.model.encode_captions([prompt]) for prompt in prompts]
        rules = TrackRules(options.select, options.no_target_threshold, options.overlap)
        tracks = [ObjectTrack(self.model, sentence, rules) for sentence in sentences]
        cache: Encoded | None = None
        for window in sliding_windows(frames, options.window, options.overlap):
            with torch.inference_mode():
                batch = self._batch(
                    [frame.image for frame in window.items], options.short_side or self.short_side
                )
                return_free_memory()
                encoded = self._encode(batch, window, cache, options)
                cache = _tail(encoded, options.overlap)
                with self.stopwatch.measure("features"):
                    generator = _generator(options.seed, window.start, self.device)
                    shared = self.model.start(encoded, generator)
                masks = []
                for track in tracks:
                    return_free_memory()
                    masks.append(
                        track.advance(batch, shared, window, options.keep_queries, self.stopwatch)
                    )
                del encoded, shared
            first = max(window.num_known - options.overlap, 0)
            last = len(window.items) - (0 if window.is_last else options.overlap)
            for position in range(first, last):
                with self.stopwatch.measure("masks"):
                    prediction = _frame_prediction(window, position, masks, batch.sizes[0], options)
                yield prediction

    @property
    def device(self) -> torch.device:
        return next(self.model.head.parameters()).device

    # ---- preparation ---------------------------------------------------------------------------

    def _batch(self, images: list[np.ndarray], short_side: int) -> VideoBatch:
        """Resize with PIL and pad with ImageNet's mean color, by at most 15 pixels: one clip."""
        height, width = images[0].shape[:2]
        size = resized_size(height, width, short_side)
        with self.stopwatch.measure("resize"):
            frames = np.stack([_resize(image, size) for image in images])
            video = torch.from_numpy(frames).to(self.device).permute(0, 3, 1, 2).float() / 255
        H, W = (-(-side // PAD_MULTIPLE) * PAD_MULTIPLE for side in size)
        mean = video.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
        padded = mean.expand(len(video), 3, H, W).clone()
        padded[..., : size[0], : size[1]] = video
        padding_mask = torch.ones(1, H, W, dtype=torch.bool, device=self.device)
        padding_mask[:, : size[0], : size[1]] = False
        return VideoBatch(padded[None], padding_mask, [size])

    def _encode(
        self,
        batch: VideoBatch,
        window: Window[Frame],
        cache: Encoded | None,
        options: SegmentOptions,
    ) -> Encoded:
        """Encode the frames that the window before did not leave in the cache."""
        with self.stopwatch.measure("encode"):
            if cache is None or cache.num_frames == 0:
                return self._encode_frames(batch.video, window.start, options.seed)
            before = window.num_known - cache.num_frames
            parts = [cache]
            if before:
                head = batch.video[:, :before]
                parts.insert(0, self._encode_frames(head, window.start, options.seed))
            fresh = batch.video[:, window.num_known :]
            start = window.start + window.num_known
            parts.append(self._encode_frames(fresh, start, options.seed))
            return Encoded.concatenate(parts)

    def _encode_frames(self, video: Tensor, start: int, seed: int) -> Encoded:
        """Encode frames and draw the latents' noise, which depends on seed and frame only."""
        encoded = self.model.encode(video)
        shape = encoded.latent_mean.shape[2:]
        noise = [
            torch.randn(shape, generator=_generator(seed, start + t, torch.device("cpu")))
            for t in range(encoded.num_frames)
        ]
        encoded.posterior_noise = torch.stack(noise)[None].to(self.device)
        return encoded


def resized_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Scale the short side to `short_side` pixels and keep the aspect; the long side is cut down.

    >>> resized_size(480, 854, 360)
    (360, 640)
    """
    if height <= width:
        return short_side, int(short_side * width / height)
    return int(short_side * height / width), short_side


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _generator(seed: int, index: int, device: torch.device) -> torch.Generator:
    """Seed a generator by the run and a frame, so that results do not depend on the windows."""
    mixed = np.random.SeedSequence((seed, index)).generate_state(1, np.uint32)[0]
    return torch.Generator(device).manual_seed(int(mixed))


def _tail(encoded: Encoded, count: int) -> Encoded | None:
    if count == 0:
        return None
    start = max(encoded.num_frames - count, 0)
    return encoded.select_frames(slice(start, None)).clone()


def _frames_of(video: Video) -> Iterator[Frame]:
    """Iterate over the frames; a ValueError for an unreadable video comes at once."""
    if isinstance(video, np.ndarray):
        if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8 or not len(video):
            raise ValueError(
                "expected frames [T, H, W, 3] uint8 with T >= 1, got "
                f"{list(video.shape)} {video.dtype}"
            )
        return (Frame(f"{i:05d}", image) for i, image in enumerate(video))
    reader = video if isinstance(video, VideoReader) else open_video(video)
    return (
        Frame(reader.frame_name(i), image, seconds)
        for i, (seconds, image) in enumerate(reader.timed_frames())
    )


# ---- from logits to masks ----------------------------------------------------------------------


def _frame_prediction(
    window: Window[Frame],
    position: int,
    results: list[WindowMasks],
    size: tuple[int, int],
    options: SegmentOptions,
) -> FramePrediction:
    frame = window.items[position]
    shape = (frame.image.shape[0], frame.image.shape[1])

    @torch.inference_mode()
    def to_masks(logits: Tensor) -> np.ndarray:
        return full_size_masks(logits, size, shape, options.threshold).cpu().numpy()

    masks = to_masks(torch.stack([result.logits[position] for result in results]))
    query_masks = query_scores = None
    if options.keep_queries:
        logits = [result.query_logits for result in results]
        query_masks = np.stack([to_masks(x[:, position]) for x in logits if x is not None])
        query_scores = torch.stack([r.query_scores[:, position] for r in results]).cpu().numpy()
    return FramePrediction(
        index=window.start + position,
        name=frame.name,
        seconds=frame.seconds,
        frame=frame.image,
        masks=masks,
        scores=torch.stack([result.scores[position] for result in results]).cpu().numpy(),
        boxes_xyxy=masks_to_boxes_xyxy(masks),
        query_masks=query_masks,
        query_scores=query_scores,
    )
