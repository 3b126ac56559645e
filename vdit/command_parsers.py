"""Options of the commands. Nothing heavy is imported here."""

from __future__ import annotations

import argparse

Commands = argparse._SubParsersAction  # argparse has no public name for it


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
    _add_model(parser)
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


def add_demo(commands: Commands) -> None:
    """Describe `vdit demo`."""
    parser = commands.add_parser(
        "demo", help="render a clip with known truth and segment it by text"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="demo",
        metavar="DIR",
        help="folder for the clip and the results (default: %(default)s)",
    )
    _add_model(parser)
    add_json(parser)


def add_convert(commands: Commands) -> None:
    """Describe `vdit convert`."""
    parser = commands.add_parser(
        "convert", help="released VD-IT checkpoint to safetensors and JSON"
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the .pth file")
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="model folder to write"
    )
    parser.add_argument(
        "--with-frozen",
        action="store_true",
        help="also write the frozen networks that the checkpoint holds",
    )
    add_json(parser)


def add_data(commands: Commands) -> None:
    """Describe `vdit data`."""
    data = commands.add_parser("data", help="render clips whose truth is known; check data sets")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_data_check(actions)
    parser = actions.add_parser("render", help="render clips, in the layout of a benchmark")
    parser.add_argument(
        "recipe", metavar="RECIPE", help="what to render; `list` says what there is"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="rendered",
        metavar="DIR",
        help="root of the tree to write (default: %(default)s)",
    )
    parser.add_argument(
        "--layout", default="native", metavar="NAME", help="of the tree (default: %(default)s)"
    )
    parser.add_argument(
        "--split", default="train", help="that the clips belong to (default: %(default)s)"
    )
    parser.add_argument("--count", type=int, default=10, help="of clips (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first clip (default: 0)")
    for name in ("frames", "height", "width"):
        parser.add_argument(
            f"--{name}", type=int, metavar="N", help="of a clip (default: the recipe's own)"
        )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that render (default: %(default)s)"
    )
    add_json(parser)


def add_train(commands: Commands) -> None:
    """Describe `vdit train`."""
    parser = commands.add_parser("train", help="train one stage of a model, in pieces")
    parser.add_argument(
        "config", metavar="CONFIG", help="YAML, such as configs/mini/4_diffusion.yaml"
    )
    parser.add_argument(
        "changes", nargs="*", metavar="KEY=VALUE", help="changes of it, such as run.steps=100"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="runs/mini",
        metavar="DIR",
        help="model folder that the stages fill (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="stop after so long, to be resumed"
    )
    add_json(parser)


def add_features(commands: Commands) -> None:
    """Describe `vdit features`."""
    parser = commands.add_parser("features", help="features of a video, as arrays and pictures")
    parser.add_argument(
        "video", metavar="VIDEO", help="mp4, avi, gif, webm, folder of frames, image"
    )
    _add_backbone(parser)
    parser.add_argument(
        "--block",
        action="append",
        default=[],
        metavar="B",
        help="feature map to keep; repeat for several (default: all)",
    )
    parser.add_argument(
        "--timestep", type=float, metavar="T", help="noise level (default: no noise)"
    )
    parser.add_argument("--text", help="sentence to condition on (default: the null prompt)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", metavar="HxW", help="resize frames to it (default: their own)")
    size.add_argument("--short-side", type=int, metavar="PX", help="resize the short side to it")
    parser.add_argument(
        "--fit",
        choices=("pad", "resize", "crop"),
        default="pad",
        help="how sides become the multiples that the backbone takes (default: %(default)s)",
    )
    parser.add_argument(
        "--clip-length",
        type=int,
        metavar="N",
        help="frames seen together (default: the backbone's own, else 16)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        default=0,
        metavar="N",
        help="frames that clips share; their features are averaged (default: 0)",
    )
    parser.add_argument(
        "--ensemble", type=int, default=1, metavar="N", help="draws of noise to average over"
    )
    parser.add_argument("--seed", type=int, default=0, help="of noise and clusters (default: 0)")
    parser.add_argument(
        "--pca", metavar="PNG", help="show three principal components (.png, .mp4, .gif, .webm)"
    )
    parser.add_argument(
        "--kmeans", nargs=2, metavar=("K", "PNG"), help="show K clusters (the same kinds)"
    )
    _add_device(parser, "of the network and of the stored features")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help=".npz or .safetensors to write"
    )
    add_json(parser)


def add_propagate(commands: Commands) -> None:
    """Describe `vdit propagate`."""
    parser = commands.add_parser(
        "propagate", help="masks of the first frame carried through a video by features"
    )
    parser.add_argument("video", metavar="VIDEO", help="mp4, avi, gif, webm, folder of frames")
    parser.add_argument(
        "--labels",
        required=True,
        metavar="PNG",
        help="labels of the first frame: palette or gray, 0 = background, or a mask of 0 and 255",
    )
    _add_backbone(parser)
    parser.add_argument("--block", required=True, metavar="B", help="feature map to compare")
    parser.add_argument(
        "--timestep", type=float, metavar="T", help="noise level (default: no noise)"
    )
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="PX",
        help="resize the short side to it (default: its own)",
    )
    parser.add_argument(
        "--num-context", type=int, default=7, metavar="N", help="previous frames looked at"
    )
    parser.add_argument(
        "--radius", type=float, default=12, metavar="CELLS", help="reach of the search; 0 = all"
    )
    parser.add_argument("--topk", type=int, default=5, metavar="N", help="cells that count")
    parser.add_argument(
        "--temperature", type=float, default=0.1, metavar="T", help="of the softmax over them"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    _add_device(parser, "of the network")
    parser.add_argument(
        "-o",
        "--output",
        default="vdit-propagated",
        metavar="DIR",
        help="folder for masks/, overlay.mp4 and result.json (default: %(default)s)",
    )
    add_json(parser)


def add_bench(commands: Commands) -> None:
    """Describe `vdit bench`."""
    bench = commands.add_parser("bench", help="time and memory, side by side with others")
    actions = bench.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = actions.add_parser(
        "ops",
        help="multi-scale deformable attention",
        description="Time vdit.ops.ms_deform_attn beside grid_sample, what transformers falls back "
        "to and, where they are installed, torch-ms-deform-attn and mmcv.",
    )
    parser.add_argument(
        "--cases",
        nargs="+",
        default=["small", "large", "decoder-small", "decoder-large"],
        metavar="NAME",
        help="sizes (default: small large decoder-small decoder-large; a wrong name lists all)",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="whom to time it beside (default: all that are found; a wrong name lists them)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64", "bfloat16", "float16"),
        default="float32",
        help="of value (default: %(default)s)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="to run on (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of the CPU; one is timed by processor time, more by wall time (default: 1)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        metavar="N",
        help="calls of each; 30 times as many with few queries (default: %(default)s)",
    )
    parser.add_argument("--memory", action="store_true", help="measure peak memory, too")
    parser.add_argument("--flush", action="store_true", help="empty the GPU's L2 cache each time")
    parser.add_argument("-o", "--output", metavar="FILE", help="JSON to write")
    add_json(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="vdit-mini",
        metavar="ID|DIR",
        help="name, hub id or folder of a model (default: %(default)s)",
    )
    _add_device(parser, "of the frozen networks")


def _add_data_check(actions: Commands) -> None:
    parser = actions.add_parser(
        "check",
        help="what is there of a data set, and what is missing",
        description="Look at every file that the lists of a data set name; exit code 2 if one is "
        "missing or damaged. Nothing is downloaded.",
    )
    parser.add_argument(
        "dataset", metavar="DATASET", help="such as ref-davis or mevis; a wrong name lists all"
    )
    parser.add_argument("root", metavar="ROOT", help="folder of the data set")
    parser.add_argument(
        "--split", metavar="S", help="part to look at (default: all whose lists are there)"
    )
    add_json(parser)


def _add_backbone(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backbone", required=True, metavar="NAME", help="whose features; a wrong name lists all"
    )
    parser.add_argument(
        "--weights", metavar="PATH", help="file, folder or hub id instead of the usual one"
    )


def _add_device(parser: argparse.ArgumentParser, whose: str) -> None:
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help=f"{whose} (default: %(default)s)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the flag that every command has."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
