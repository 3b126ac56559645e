"""Layouts that a set of rendered clips can be written in, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from vdit.datasets.synthetic.clip import RenderedClip
from vdit.datasets.synthetic.writers.a2d import write_a2d
from vdit.datasets.synthetic.writers.cityscapes import write_cityscapes
from vdit.datasets.synthetic.writers.davis import (
    write_davis,
    write_davis_2016,
    write_davis_unsupervised,
    write_ref_davis,
    write_ref_davis_converted,
)
from vdit.datasets.synthetic.writers.expressions import list_for_object, list_single
from vdit.datasets.synthetic.writers.folders import write_class_folders
from vdit.datasets.synthetic.writers.jhmdb import write_jhmdb
from vdit.datasets.synthetic.writers.mevis import write_mevis
from vdit.datasets.synthetic.writers.mot import write_mot
from vdit.datasets.synthetic.writers.movi import write_movi_npy, write_movi_tfrecord
from vdit.datasets.synthetic.writers.native import write_native
from vdit.datasets.synthetic.writers.realestate10k import write_realestate10k
from vdit.datasets.synthetic.writers.records import NamedClips
from vdit.datasets.synthetic.writers.ref_youtube_vos import write_ref_youtube_vos, write_youtube_vos
from vdit.datasets.synthetic.writers.refcoco import write_refcoco
from vdit.datasets.synthetic.writers.scannet import write_scannet

Write = Callable[[NamedClips, Path, str], None]


def _a2d(clips: NamedClips, root: Path, split: str) -> None:
    """Write clips that are all for training or all for testing; all are held in memory."""
    named = list(clips)
    write_a2d(named, root, [name for name, _ in named] if split == "test" else ())


def _jhmdb(clips: NamedClips, root: Path, split: str) -> None:
    """Write clips that are all for training or all for testing; all are held in memory."""
    named = list(clips)
    write_jhmdb(named, root, [name for name, _ in named] if split == "test" else ())


LAYOUTS: dict[str, Write] = {
    "native": write_native,
    "ref-youtube-vos": write_ref_youtube_vos,
    "mevis": write_mevis,
    "davis": write_davis,
    "davis-unsupervised": write_davis_unsupervised,
    "davis-2016": write_davis_2016,
    "youtube-vos": write_youtube_vos,
    "ref-davis": write_ref_davis,
    "ref-davis-converted": write_ref_davis_converted,
    "a2d": _a2d,
    "jhmdb": _jhmdb,
    "refcoco": write_refcoco,
    "movi-tfrecord": write_movi_tfrecord,
    "movi-npy": write_movi_npy,
    "mot": write_mot,
    "cityscapes": write_cityscapes,
    "scannet": write_scannet,
    "realestate10k": write_realestate10k,
    "class-folders": write_class_folders,
}
"""Each takes (name, clip) pairs, the root of the tree and the split."""


def _names_all(clip: RenderedClip) -> bool:
    return all(list_for_object(clip, k) for k in range(clip.num_objects))


NEEDS: dict[str, Callable[[RenderedClip], bool]] = {
    "ref-youtube-vos": lambda clip: bool(list_single(clip)),
    "mevis": lambda clip: bool(clip.captions),
    "ref-davis": _names_all,
    "ref-davis-converted": _names_all,
    "jhmdb": lambda clip: bool(list_for_object(clip, 0)),
}
"""What a clip has to have for a layout, mostly sentences that name an object alone."""


def keep_fitting(
    clips: NamedClips, layout: str, written: list[str]
) -> Iterator[tuple[str, RenderedClip]]:
    """Leave out clips that have no sentences that the layout needs.

    Args:
        clips: names and clips.
        layout: a name of `LAYOUTS`.
        written: gets the names of the others, one by one.
    """
    needs = NEEDS.get(layout)
    for name, clip in clips:
        if needs is None or needs(clip):
            written.append(name)
            yield name, clip


_DAVIS, _YOUTUBE, _PLAIN = ("train", "val"), ("train", "valid", "test"), ("train", "val", "test")
SPLITS: dict[str, tuple[str, ...]] = {
    "ref-youtube-vos": _YOUTUBE,
    "mevis": ("train", "valid_u", "valid", "test"),
    "davis": (*_DAVIS, "test-dev"),
    "davis-unsupervised": _DAVIS,
    "davis-2016": _DAVIS,
    "youtube-vos": _YOUTUBE,
    "ref-davis": _DAVIS,
    "ref-davis-converted": ("train", "valid"),
    "a2d": ("train", "test"),
    "jhmdb": ("train", "test"),
    "refcoco": ("train", "val", "testA", "testB", "test"),
    "movi-tfrecord": ("train", "validation", "test"),
    "movi-npy": _PLAIN,
    "mot": ("train", "test"),
    "cityscapes": _PLAIN,
    "scannet": _DAVIS,
    "realestate10k": ("train", "test"),
    "class-folders": _PLAIN,
}
"""Splits that the readers of a layout look for; those of other layouts are named at will."""
