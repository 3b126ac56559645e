"""Packages, dependencies and the compiled extension `vdit.ops._C`; the rest is in pyproject.toml.

The extension is compiled against the torch that is importable while this file runs, so install with

    pip install --no-build-isolation -e .

in an environment that already has torch, setuptools and wheel (`ninja` is used if present,
`MAX_JOBS` bounds it). With pip's build isolation torch is absent: the install succeeds without the
extension, and so it does when the compiler fails. One warning then says what is lost (pip shows it
with `-v`), and `vdit.ops` repeats it when it is imported. VDIT_BUILD_ALLOW_ERRORS=0 turns both
cases into errors.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from setuptools import Extension, setup

try:
    from torch.utils.cpp_extension import BuildExtension, CppExtension
except ImportError:
    from setuptools.command.build_ext import build_ext as BuildExtension

    CppExtension = None

CSRC = Path("vdit/ops/csrc")
VERSION = re.search(r'^__version__ = "(.+)"', Path("vdit/__init__.py").read_text(), re.M)[1]
ALLOW_ERRORS = os.environ.get("VDIT_BUILD_ALLOW_ERRORS", "1") != "0"
PACKAGES = [
    "vdit",
    "vdit.commands",
    "vdit.datasets",
    "vdit.datasets.synthetic",
    "vdit.datasets.synthetic.language",
    "vdit.datasets.synthetic.writers",
    "vdit.evaluation",
    "vdit.metrics",
    "vdit.models",
    "vdit.models.backbones",
    "vdit.ops",
    "vdit.stages",
    "vdit.training",
]
REQUIRED = [
    "torch>=2.11",
    "accelerate>=1.10",
    "av>=14",
    "diffusers>=0.42,<0.44",
    "einops>=0.8",
    "huggingface-hub>=1.32,<3",
    "numpy>=2.0",
    "omegaconf>=2.4,<3",
    "pillow>=11",
    "pycocotools>=2.0.8",
    "pyyaml>=6",
    "safetensors>=0.8",
    "scipy>=1.14",
    "tokenizers>=0.22",
    "tqdm>=4.66",
    "transformers>=5.20,<6",
]
EXTRAS = {
    "openclip": ["open-clip-torch>=3.3"],
    "probing": ["scikit-learn>=1.5"],
    "track": ["motmetrics>=1.4"],
    "web": ["gradio>=6"],
    "log": ["tensorboard>=2.19"],
    "mmcv": ["mmcv>=2.2"],
    "detectron2": [],  # on no registry: install it from its repository
    "dev": "pytest pytest-xdist pytest-timeout pytest-cov hypothesis ruff mypy ninja".split(),
}
# The C interface of torch 2.11, which later versions keep.
STABLE_ABI = [("TORCH_TARGET_VERSION", "0x020b000000000000")]
FLAGS = ["/O2"] if os.name == "nt" else ["-O3", "-g0", "-fvisibility=hidden", "-fopenmp-simd"]


def without_extension(reason: object) -> None:
    message = (
        f"vdit.ops._C was not built: {reason}\n"
        "Without it ms_deform_attn runs on grid_sample: same numbers, several times slower, much "
        "more memory.\nBuild it with: pip install --no-build-isolation -e ."
    )
    if not ALLOW_ERRORS:
        raise SystemExit(f"error: {message}")
    sys.stderr.write(f"warning: {message}\n")


class BuildOrWarn(BuildExtension):
    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            without_extension(f"{type(error).__name__}: {error}")
            self.extensions = []


def extensions() -> list[Extension]:
    if CppExtension is None:
        without_extension("torch is not importable in the build environment")
        return []
    return [
        CppExtension(
            "vdit.ops._C",
            sources=sorted(str(path) for path in CSRC.glob("*.cpp")),
            depends=sorted(str(path) for path in CSRC.glob("*.h")),
            define_macros=STABLE_ABI,
            extra_compile_args=FLAGS,
            py_limited_api=True,
        )
    ]


setup(
    version=VERSION,
    packages=[name for name in PACKAGES if Path(name.replace(".", "/")).is_dir()],
    package_data={
        "vdit": ["py.typed", "bundled/*/*", "bundled/*/*/*"],
        "vdit.datasets.synthetic": ["atlas/LICENSE", "atlas/sprites.*", "atlas/textures/*.jpg"],
    },
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["vdit = vdit.cli:main"]},
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildOrWarn},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
