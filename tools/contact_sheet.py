"""Draw a sheet of rendered clips: masks in outline, and a sentence in its object's color.

python tools/contact_sheet.py --recipes referring identical -o docs/rendered_clips.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from vdit.atomic import replace_when_complete
from vdit.datasets.synthetic.clip import Caption, RenderedClip
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.legend import draw_legend
from vdit.visualize import contact_sheet, object_colors, overlay_masks


def draw_clip(clip: RenderedClip, caption: Caption, num_frames: int) -> np.ndarray:
    """Lay frames of a clip side by side, the named objects outlined, above the sentence."""
    chosen = np.linspace(0, len(clip.frames) - 1, num_frames).astype(int)
    color = object_colors(1)
    masks = clip.masks[list(caption.objects)]
    frames = [
        overlay_masks(clip.frames[t], masks[:, t], np.repeat(color, len(masks), axis=0), alpha=0.0)
        for t in chosen
    ]
    note = "" if caption.objects else "names nothing here"
    row = contact_sheet(frames, columns=num_frames, gap=2)
    return draw_legend(row, [caption.text], color, note)


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=["referring"])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--frames", type=int, default=3, help="shown of a clip")
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for index in range(options.count):
        recipe = options.recipes[index % len(options.recipes)]
        clip = render(make_scene(recipe, index, None, options.height, options.width))
        caption = clip.captions[index * 5 % len(clip.captions)]
        rows.append(draw_clip(clip, caption, options.frames))
    tallest = max(row.shape[0] for row in rows)
    padded = [np.pad(row, ((0, tallest - row.shape[0]), (0, 0), (0, 0))) for row in rows]
    sheet = contact_sheet(padded, columns=options.columns, gap=6)
    with replace_when_complete(options.output) as temporary:
        Image.fromarray(sheet).save(temporary, quality=85)


if __name__ == "__main__":
    main()
