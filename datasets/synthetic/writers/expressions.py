"""Which sentences of a clip name one object alone, as most referring data sets want them."""

from __future__ import annotations

from vdit.datasets.synthetic.clip import Caption, RenderedClip


def list_single(clip: RenderedClip) -> list[tuple[int, Caption]]:
    """List the captions that name exactly one object, as (object, caption) in their order."""
    return [(caption.objects[0], caption) for caption in clip.captions if len(caption.objects) == 1]


def list_for_object(clip: RenderedClip, index: int) -> list[Caption]:
    """List the captions that name an object and nothing else."""
    return [caption for k, caption in list_single(clip) if k == index]


def first_for_object(name: str, clip: RenderedClip, index: int) -> str:
    """Give the first caption that names an object and nothing else.

    Raises:
        ValueError: there is none.
    """
    captions = list_for_object(clip, index)
    if not captions:
        raise ValueError(
            f"clip {name} has no caption for object {index} alone, expected one; leave the clip out"
        )
    return captions[0].text


def annotate_four(name: str, clip: RenderedClip, index: int) -> tuple[str, str, str, str]:
    """Choose what the four annotations of Ref-DAVIS17 say about an object.

    They are those of annotator 1 for the first frame and for the full video, then those of
    annotator 2. What was written for the first frame tells of no motion, if the clip has other
    captions; sentences repeat where there are fewer than four.

    Raises:
        ValueError: no caption names the object alone.
    """
    first_for_object(name, clip, index)
    captions = list_for_object(clip, index)
    moving = [caption.text for caption in captions if caption.kind == "motion"]
    still = [caption.text for caption in captions if caption.kind != "motion"]
    first = still or moving
    full = moving + still[::-1]
    return (first[0], full[0], first[1 % len(first)], full[1 % len(full)])
