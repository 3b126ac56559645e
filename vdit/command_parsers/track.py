"""Options of `vdit track`."""

from __future__ import annotations

from vdit.command_parsers.shared import Commands, add_json


def add_track(commands: Commands) -> None:
    """Describe `vdit track`."""
    parser = commands.add_parser(
        "track",
        help="boxes with identities through a video or the sequences of MOTChallenge",
        description="Follow objects with a tracker that `vdit train` made (stage: tracking).",
    )
    parser.add_argument(
        "video", nargs="?", metavar="VIDEO", help="mp4, avi, gif, webm, folder of frames"
    )
    parser.add_argument("--tracker", required=True, metavar="DIR", help="folder of the tracker")
    parser.add_argument(
        "--dataset", metavar="NAME", help="mot15, mot17 or mot20 in place of a video"
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--split",
        default="train",
        metavar="S",
        help="train, test, train-half or val-half (default: %(default)s)",
    )
    parser.add_argument(
        "--detector", metavar="D", help="DPM, FRCNN or SDP: only these copies of mot17"
    )
    parser.add_argument(
        "--public",
        choices=("none", "center_distance", "min_iou_0_5"),
        help="rule by which tracks begin at public detections only (default: the tracker's)",
    )
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="frames out of sight after which a track still goes on (default: the tracker's)",
    )
    parser.add_argument(
        "--detection-threshold", type=float, metavar="P", help="score that begins a track"
    )
    parser.add_argument(
        "--track-threshold", type=float, metavar="P", help="score that goes on with one"
    )
    parser.add_argument(
        "--by-overlap",
        action="store_true",
        help="name the same boxes by overlap alone: the baseline",
    )
    parser.add_argument(
        "--pictures", action="store_true", help="an overlay of each sequence of a data set, too"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda ... (default: %(default)s)")
    parser.add_argument(
        "-o",
        "--output",
        default="vdit-tracked",
        metavar="DIR",
        help="for NAME.txt as the benchmark's server takes them, overlay/NAME.mp4, result.json "
        "(default: %(default)s)",
    )
    add_json(parser)
