"""From a video and sentences to masks: windows, shared work, and one object across windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vdit.build import load_model
from vdit.clip_encoding import ClipEncoder, EncodingSource, seeded_generator
from vdit.masks import masks_to_boxes_xyxy
from vdit.measure import Stopwatch
from vdit.memory import return_free_memory
from vdit.models.backbones.base import Encoded
from vdit.models.vdit import VDIT
from vdit.postprocess import full_size_probabilities
from vdit.prediction import FramePrediction, Prediction, PredictionCollector
from vdit.segment_frames import Frame, Video, frames_of
from vdit.segment_options import SegmentOptions, check_prompts
from vdit.structures import VideoBatch
from vdit.tracks import ObjectTrack, TrackRules, WindowMasks
from vdit.windows import Window, sliding_windows


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
        *,
        encodings: EncodingSource | None = None,
        **changes: Any,
    ) -> list[Prediction]:
        """Collect `stream` into one Prediction for each prompt."""
        collector = PredictionCollector(prompts, self.name, self.trained)
        for frame in self.stream(video, prompts, options, encodings=encodings, **changes):
            collector.add(frame)
        return collector.predictions()

    def stream(
        self,
        video: Video,
        prompts: Sequence[str],
        options: SegmentOptions | None = None,
        *,
        encodings: EncodingSource | None = None,
        **changes: Any,
    ) -> Iterator[FramePrediction]:
        """Segment frame after frame; one window of the video is in memory at a time.

        What does not depend on a sentence is computed once a frame and shared by all prompts.

        Args:
            video: path of a clip, folder of frames or image; an open reader; frames
                [T, H, W, 3] uint8; or an iterator of `Frame`.
            prompts: sentences, each naming an object.
            options: see `SegmentOptions`.
            encodings: where the encodings of this video are read instead of computed.
            **changes: single options by name, on top of `options`.

        Raises:
            ValueError: no prompt, a blank one, an option out of range, or an unreadable video.
        """
        chosen = replace(options or SegmentOptions(), **changes)
        check_prompts(prompts)
        return self._stream(frames_of(video), prompts, chosen, encodings)

    def segment_frame(
        self,
        images: Sequence[np.ndarray],
        numbers: Sequence[int],
        position: int,
        prompts: Sequence[str],
        options: SegmentOptions | None = None,
        *,
        encodings: EncodingSource | None = None,
    ) -> FramePrediction:
        """Segment one frame of a clip; the others are seen but not decoded.

        Args:
            images: frames [H, W, 3] uint8 of one clip.
            numbers: of these frames in their video.
            position: of the wanted frame in the clip.
            prompts: sentences, each naming an object.
            options: see `SegmentOptions`; there is one window.
            encodings: see `stream`.

        Returns:
            The frame with every query's masks and scores.

        Reference: the rule of A2D-Sentences, JHMDB-Sentences and RefCOCO in the released code.
        """
        chosen = replace(options or SegmentOptions(), keep_queries=True)
        check_prompts(prompts)
        self.stopwatch = Stopwatch()
        rules = TrackRules(chosen.select, chosen.no_target_threshold, 0)
        window = Window(0, [Frame(f"{numbers[position]:05d}", images[position])], 0, is_last=True)
        encoder = self._encoder(chosen, encodings)
        with torch.inference_mode():
            batch = encoder.batch(images)
            with self.stopwatch.measure("encode"):
                encoded = encoder.encode(batch, numbers)
            with self.stopwatch.measure("features"):
                generator = seeded_generator(chosen.seed, numbers[0], self.device)
                wanted = torch.tensor([position], device=self.device)
                shared = self.model.start(encoded, generator, wanted)
            masks = []
            for prompt in prompts:
                with self.stopwatch.measure("text"):
                    sentence = self.model.encode_captions([prompt])
                track = ObjectTrack(self.model, sentence, rules)
                masks.append(track.advance(batch, shared, window, True, self.stopwatch))
        with self.stopwatch.measure("masks"):
            return _frame_prediction(window, 0, masks, batch.sizes[0], chosen)

    def _stream(
        self,
        frames: Iterable[Frame],
        prompts: Sequence[str],
        options: SegmentOptions,
        encodings: EncodingSource | None,
    ) -> Iterator[FramePrediction]:
        self.stopwatch = Stopwatch()
        with torch.inference_mode(), self.stopwatch.measure("text"):
            sentences = [self.model.encode_captions([prompt]) for prompt in prompts]
        rules = TrackRules(options.select, options.no_target_threshold, options.overlap)
        tracks = [ObjectTrack(self.model, sentence, rules) for sentence in sentences]
        encoder = self._encoder(options, encodings)
        cache: Encoded | None = None
        move_last = options.last_window == "full"
        for window in sliding_windows(frames, options.window, options.overlap, move_last):
            with torch.inference_mode():
                batch = encoder.batch([frame.image for frame in window.items])
                return_free_memory()
                with self.stopwatch.measure("encode"):
                    encoded = _encode_window(encoder, batch, window, cache)
                cache = _tail(encoded, options.overlap)
                with self.stopwatch.measure("features"):
                    generator = seeded_generator(options.seed, window.start, self.device)
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

    def _encoder(self, options: SegmentOptions, source: EncodingSource | None) -> ClipEncoder:
        short_side = options.short_side or self.short_side
        return ClipEncoder(
            self.model, short_side, options.long_side, options.seed, self.stopwatch, source
        )


def _encode_window(
    encoder: ClipEncoder, batch: VideoBatch, window: Window[Frame], cache: Encoded | None
) -> Encoded:
    """Encode the frames that the window before did not leave in the cache."""
    numbers = range(window.start, window.start + len(window.items))
    if cache is None or cache.num_frames == 0:
        return encoder.encode(batch, numbers)
    parts = [cache]
    before = window.num_known - cache.num_frames
    if before:
        parts.insert(0, encoder.encode(batch, numbers[:before]))
    known = window.num_known
    parts.append(encoder.encode(batch, numbers[known:], first=known))
    return Encoded.concatenate(parts)


def _tail(encoded: Encoded, count: int) -> Encoded | None:
    if count == 0:
        return None
    start = max(encoded.num_frames - count, 0)
    return encoded.select_frames(slice(start, None)).clone()


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
    def full_size(logits: Tensor) -> np.ndarray:
        return full_size_probabilities(logits, size, shape).cpu().numpy()

    probabilities = full_size(torch.stack([result.logits[position] for result in results]))
    masks = probabilities > options.threshold
    query_masks = query_scores = None
    if options.keep_queries:
        logits = [result.query_logits for result in results]
        query_masks = np.stack(
            [full_size(x[:, position]) > options.threshold for x in logits if x is not None]
        )
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
        probabilities=probabilities if options.keep_probabilities else None,
    )
