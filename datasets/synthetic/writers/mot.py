"""Clips as MOT17: frames, tracks of boxes around whole objects, detections of what is visible."""

from __future__ import annotations

from pathlib import Path

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.scene import FRAMES_PER_SECOND
from vdit.datasets.synthetic.writers.pictures import name_frames, write_jpegs
from vdit.datasets.synthetic.writers.records import (
    NamedClips,
    record_clips,
    write_lines,
    write_text,
)

_PEDESTRIAN = 1  # the only class that is evaluated


def write_mot(clips: NamedClips, root: Path, split: str = "train") -> None:
    """Write one split of a tree like MOT17.

        <split>/<seq>/img1/%06d.jpg     from 000001
        <split>/<seq>/gt/gt.txt         frame,id,x,y,w,h,flag,class,visibility
        <split>/<seq>/det/det.txt       frame,-1,x,y,w,h,confidence,-1,-1,-1
        <split>/<seq>/seqinfo.ini

    Frames, ids and pixels count from 1. Boxes of gt.txt are around whole objects as far as they
    are inside the frame; its visibility is the share of these pixels that nothing hides, 0 where
    an object is hidden completely. Every object is a pedestrian (class 1) to be evaluated (flag
    1). The detections are boxes around the visible parts, with the visibility as confidence. As in
    the real data, "test" has no gt.txt.

    Args:
        clips: names of the sequences and clips.
        root: folder of the tree.
        split: "train" or "test".

    Raises:
        ValueError: no clip.
    """
    root = Path(root)
    for name, clip in record_clips(clips, root, split):
        folder = root / split / name
        frames = name_frames(len(clip.frames), start=1, digits=6)
        write_jpegs(folder / "img1", frames, clip.frames)
        truth, detections = _list_boxes(clip)
        if split != "test":
            write_lines(folder / "gt" / "gt.txt", truth)
        write_lines(folder / "det" / "det.txt", detections)
        write_text(folder / "seqinfo.ini", _describe_sequence(name, clip))


def _list_boxes(clip: RenderedClip) -> tuple[list[str], list[str]]:
    """Lines of gt.txt, by id and then frame, and of det.txt, by frame."""
    whole = clip.amodal.sum(axis=(2, 3))
    visible = clip.masks.sum(axis=(2, 3))
    truth_boxes, seen_boxes = clip.amodal_boxes_xyxy, clip.boxes_xyxy
    truth: list[str] = []
    detections: list[tuple[int, str]] = []
    for k in range(clip.num_objects):
        for t in range(len(clip.frames)):
            if not whole[k, t]:
                continue
            share = f"{min(visible[k, t] / whole[k, t], 1.0):.5g}"
            box = _box_text(truth_boxes[k, t].tolist())
            truth.append(f"{t + 1},{k + 1},{box},1,{_PEDESTRIAN},{share}")
            if visible[k, t]:
                seen = _box_text(seen_boxes[k, t].tolist())
                detections.append((t, f"{t + 1},-1,{seen},{share},-1,-1,-1"))
    return truth, [line for _, line in sorted(detections, key=lambda pair: pair[0])]


def _box_text(box_xyxy: list[float]) -> str:
    x1, y1, x2, y2 = (round(side) for side in box_xyxy)
    return f"{x1 + 1},{y1 + 1},{x2 - x1},{y2 - y1}"


def _describe_sequence(name: str, clip: RenderedClip) -> str:
    num_frames, height, width = clip.frames.shape[:3]
    return (
        f"[Sequence]\nname={name}\nimDir=img1\nframeRate={round(FRAMES_PER_SECOND)}\n"
        f"seqLength={num_frames}\nimWidth={width}\nimHeight={height}\nimExt=.jpg\n"
    )
