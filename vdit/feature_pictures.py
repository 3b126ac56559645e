"""Pictures of features: colors of principal components and clusters, as sheets and videos.

T' feature frames, h x w feature cells; every feature frame is shown beside the first of the video
frames that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from vdit.atomic import replace_when_complete
from vdit.feature_projection import cluster_features, fit_projection, fit_shared_projection
from vdit.video_writer import VideoWriter
from vdit.visualize import contact_sheet, object_colors

SHEET_COLUMNS = 6
VIDEO_KINDS = (".mp4", ".gif", ".webm")
_SMALLEST_SIDE = 96  # captions of smaller pictures cannot be read
_LARGEST_SIDE = 240

Rows = Mapping[str, Sequence[np.ndarray]]


def pca_rows(features: Mapping[str, Tensor]) -> dict[str, list[np.ndarray]]:
    """Color each block by three components of its own: name -> T' pictures [h, w, 3] uint8."""
    return {name: list(fit_projection([x]).colors(x)) for name, x in features.items()}


def joint_pca_rows(features: Mapping[str, Tensor]) -> dict[str, list[np.ndarray]]:
    """Color several videos, or one at several noise levels, in one basis; one C, any T'."""
    projection = fit_projection(list(features.values()))
    return {name: list(projection.colors(x)) for name, x in features.items()}


def cluster_rows(
    features: Mapping[str, Tensor], num_clusters: int, seed: int = 0
) -> dict[str, list[np.ndarray]]:
    """Color each block by its k-means clusters: name -> T' pictures [h, w, 3] uint8."""
    colors = object_colors(num_clusters)
    return {
        name: list(colors[cluster_features(x, num_clusters, seed=seed)])
        for name, x in features.items()
    }


def noise_strip(frame: np.ndarray, features: Mapping[float | None, Tensor]) -> np.ndarray:
    """Show one frame of one block at several noise levels, in one basis, in reading order.

    Args:
        frame: [H, W, 3] uint8 that the features show.
        features: timestep -> [1, C, h, w].

    Returns:
        A contact sheet [.., .., 3] uint8.
    """
    named = {"clean" if t is None else f"t = {t:g}": x for t, x in features.items()}
    return _strip(frame, joint_pca_rows(named))


def block_strip(frame: np.ndarray, features: Mapping[str, Tensor]) -> np.ndarray:
    """Show one frame of several blocks or backbones, colored alike where they know the same.

    Args:
        frame: [H, W, 3] uint8 that the features show.
        features: name -> [1, C, h, w]; C, h, w may differ.

    Returns:
        A contact sheet [.., .., 3] uint8.
    """
    shared = fit_shared_projection(features)
    return _strip(frame, {name: list(shared[name].colors(x)) for name, x in features.items()})


def sheet_of_rows(
    frames: Sequence[np.ndarray], rows: Rows, columns: int = SHEET_COLUMNS
) -> np.ndarray:
    """Lay out some moments of a video from left to right: the frame above, each row below.

    Args:
        frames: T' frames [H, W, 3] uint8 that the features show.
        rows: caption -> T' pictures [h, w, 3] uint8; enlarged to the frames without smoothing.
        columns: moments, evenly spread; fewer in a shorter video.

    Returns:
        A contact sheet [.., .., 3] uint8.

    Raises:
        ValueError: a row has not T' pictures, or `columns` is below 1.
    """
    _check_rows(frames, rows)
    if columns < 1:
        raise ValueError(f"expected columns >= 1, got {columns}")
    moments = np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int)
    size = _shown_size(frames[0])
    cells = [_enlarged(frames[m], size, smooth=True) for m in moments]
    captions = [f"feature frame {m}" for m in moments]
    for name, pictures in rows.items():
        cells += [_enlarged(pictures[m], size) for m in moments]
        captions += [name] * len(moments)
    return contact_sheet(cells, len(moments), captions=captions)


def write_rows(path: str | Path, frames: Sequence[np.ndarray], rows: Rows, fps: float) -> None:
    """Write a sheet (.png), or a video (.mp4, .gif, .webm) of the frame and all rows side by side.

    The file appears once it is complete.

    Raises:
        ValueError: another extension, or the file cannot be written.
    """
    check_picture_file(path)
    if Path(path).suffix.lower() == ".png":
        write_picture(path, sheet_of_rows(frames, rows))
        return
    _check_rows(frames, rows)
    with VideoWriter(path, fps) as writer:
        for picture in _side_by_side(frames, rows):
            writer.add(picture)


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture [H, W, 3] uint8 to a file that appears once it is complete."""
    with replace_when_complete(path) as partial:
        Image.fromarray(picture).save(partial)


def check_picture_file(path: str | Path) -> None:
    """Raise a ValueError unless `write_rows` can write such a file."""
    if Path(path).suffix.lower() not in (".png", *VIDEO_KINDS):
        kinds = ", ".join((".png", *VIDEO_KINDS))
        raise ValueError(f"expected a picture or video that ends in one of {kinds}, got {path}")


def _side_by_side(frames: Sequence[np.ndarray], rows: Rows) -> Iterable[np.ndarray]:
    size = _shown_size(frames[0])
    for moment, frame in enumerate(frames):
        cells = [_enlarged(frame, size, smooth=True)]
        cells += [_enlarged(pictures[moment], size) for pictures in rows.values()]
        yield contact_sheet(cells, len(cells), captions=["video", *rows])


def _strip(frame: np.ndarray, rows: Rows) -> np.ndarray:
    size = _shown_size(frame)
    cells = [_enlarged(frame, size, smooth=True)]
    cells += [_enlarged(pictures[0], size) for pictures in rows.values()]
    return contact_sheet(cells, SHEET_COLUMNS, captions=["video", *rows])


def _check_rows(frames: Sequence[np.ndarray], rows: Rows) -> None:
    for name, pictures in rows.items():
        if len(pictures) != len(frames):
            raise ValueError(
                f"expected {len(frames)} pictures of {name!r}, one a frame, got {len(pictures)}"
            )


def _shown_size(frame: np.ndarray) -> tuple[int, int]:
    """(H, W) at which captions can be read and a sheet fits a screen, of the same aspect."""
    short = min(frame.shape[:2])
    factor = min(-(-_SMALLEST_SIDE // short), _LARGEST_SIDE / short)
    return round(frame.shape[0] * factor), round(frame.shape[1] * factor)


def _enlarged(picture: np.ndarray, size: tuple[int, int], *, smooth: bool = False) -> np.ndarray:
    """Resize to (H, W); cells stay visible as squares unless smooth."""
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    resized = Image.fromarray(np.ascontiguousarray(picture)).resize((size[1], size[0]), method)
    return np.asarray(resized)
