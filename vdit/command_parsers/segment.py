"""Options of `vdit segment`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json, add_model


def add_segment(commands: Commands) -> None:
    """Describe `vdit segment`."""
    parser = commands.add_parser("segment", help="masks of the objects that sentences name")
    parser.add_argument(
        "video", metavar="VIDEO", help="mp4, avi, gif, webm, folder of frames, image"
    )
    parser.add_argument(
        "-p",
        "--prompt",
        action="append",
        required=True,
        metavar="TEXT",
        help="what to segment; repeat for several objects",
    )
    parser.add_argument(
        "-o",
        "--output",
        default="vdit-output",
        metavar="DIR",
        help="folder for masks/, overlay.mp4 and result.json (default: %(default)s)",
    )
    add_model(parser)
    parser.add_argument(
        "--window",
        type=int,
        default=36,
        metavar="N",
        help="frames seen together (default: %(default)s)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="frames shared by consecutive windows (default: 8, less in a small window)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="P",
        help="probability above which a pixel is in the mask (default: %(default)s)",
    )
    parser.add_argument(
        "--no-target-threshold",
        type=float,
        metavar="P",
        help="answer with no object below this score (default: always answer)",
    )
    parser.add_argument(
        "--select",
        choices=("best", "union"),
        default="best",
        help="follow the best query, or join all good ones (default: %(default)s)",
    )
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="PX",
        help="short side that the model sees (default: the model's own, 360 as released)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the latent's sample (default: 0)")
    add_json(parser)
