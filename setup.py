"""Packages, dependencies and the compiled operators; the rest is in pyproject.toml.

`vdit.ops._C` (schemas, CPU kernels) is compiled against the torch that is importable while this
file runs, so install with

    pip install --no-build-isolation -e .

in an environment that already has torch, setuptools and wheel (`ninja` is used if present,
`MAX_JOBS` bounds it). `vdit.ops._C_cuda` (CUDA kernels) is built beside it by nvcc:
VDIT_BUILD_CUDA=auto builds it where nvcc is found and torch has CUDA, 1 wherever nvcc is found, 0
never. TORCH_CUDA_ARCH_LIST ("8.0;9.0+PTX") names the architectures; without it they are those of
the devices of this machine, or 8.0, 9.0 and 10.0.

With pip's build isolation torch is absent: the install succeeds without the operators, and so it
does when a compiler fails. One warning then says what is lost (pip shows it with `-v`), and
`vdit.ops` repeats it when it is imported. VDIT_BUILD_ALLOW_ERRORS=0 turns these cases into errors.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

try:
    import torch
    from torch.utils.cpp_extension import BuildExtension, CppExtension, include_paths, library_paths
except ImportError:
    from setuptools.command.build_ext import build_ext as BuildExtension

    torch = None

CSRC = Path("vdit/ops/csrc")
VERSION = re.search(r'^__version__ = "(.+)"', Path("vdit/__init__.py").read_text(), re.M)[1]
ALLOW_ERRORS = os.environ.get("VDIT_BUILD_ALLOW_ERRORS", "1") != "0"
PACKAGES = [
    "vdit",
    "vdit.backbone_loading",
    "vdit.benchmarking",
    "vdit.command_parsers",
    "vdit.commands",
    "vdit.datasets",
    "vdit.datasets.synthetic",
    "vdit.datasets.synthetic.language",
    "vdit.datasets.synthetic.writers",
    "vdit.evaluation",
    "vdit.metrics",
    "vdit.models",
    "vdit.models.backbones",
    "vdit.models.probes",
    "vdit.ops",
    "vdit.probing",
    "vdit.probing.tasks",
    "vdit.propagation",
    "vdit.stages",
    "vdit.study",
    "vdit.tracking",
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
    "probing": ["matplotlib>=3.9", "peft>=0.18"],
    "log": ["tensorboard>=2.19", "wandb>=0.19"],
    "a2d": ["h5py>=3.12"],
    "mmcv": ["mmcv>=2.2"],
    "detectron2": [],  # on no registry: install it from its repository
    "dev": (
        "pytest pytest-xdist pytest-timeout pytest-cov hypothesis ruff mypy ninja "
        "h5py matplotlib peft tensorboard"
    ).split(),
}
# The C interface of torch 2.11, which later versions keep.
STABLE_ABI = [("TORCH_TARGET_VERSION", "0x020b000000000000")]
PYTHON_ABI = ("Py_LIMITED_API", "0x030b0000")
FLAGS = ["/O2"] if os.name == "nt" else ["-O3", "-g0", "-fvisibility=hidden", "-fopenmp-simd"]


NVCC = shutil.which("nvcc")
NVCC_FLAGS = ["-std=c++17", "-O3", "-shared", "-cudart=static", "-DUSE_CUDA"]
NVCC_FLAGS += ["-Xcompiler=-fPIC,-fvisibility=hidden", "-Xlinker=--no-as-needed"]
ARCHITECTURES = "8.0;9.0;10.0+PTX"


def without_extension(name: str, reason: object) -> None:
    """Warn that an extension is missing, or stop."""
    lost = {
        "_C": "Without it ms_deform_attn runs on grid_sample: same numbers, several times slower, "
        "much more memory.",
        "_C_cuda": "Without it CUDA tensors run on grid_sample.",
    }
    message = (
        f"vdit.ops.{name} was not built: {reason}\n{lost[name]}\n"
        "Build it with: pip install --no-build-isolation -e ."
    )
    if not ALLOW_ERRORS:
        raise SystemExit(f"error: {message}")
    sys.stderr.write(f"warning: {message}\n")


def architecture_flags() -> list[str]:
    """Turn "8.0;9.0+PTX" into what nvcc understands."""
    names = os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(" ", ";")
    if not names and torch.cuda.is_available():
        devices = range(torch.cuda.device_count())
        names = ";".join("{}.{}".format(*torch.cuda.get_device_capability(i)) for i in devices)
    flags = []
    for name in dict.fromkeys((names or ARCHITECTURES).split(";")):
        match = re.fullmatch(r"(\d+)\.(\d+)(a?)(\+PTX)?", name)
        if not match:
            raise SystemExit(
                "error: TORCH_CUDA_ARCH_LIST: expected versions such as '8.0;9.0+PTX', "
                f"got {name!r}; name numbers"
            )
        number = "".join(match.group(1, 2, 3))
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if match[4]:
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


class BuildOrWarn(BuildExtension):
    """Build what can be built; nvcc compiles and links `_C_cuda` in one go."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            without_extension("_C", f"{type(error).__name__}: {error}")
            self.extensions = []

    def build_extension(self, extension: Extension) -> None:
        """Compile one library; without `_C_cuda` the others are still installed."""
        if not extension.name.endswith("_cuda"):
            return super().build_extension(extension)
        target = Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [NVCC, *NVCC_FLAGS, *architecture_flags(), "-o", str(target)]
        command += [f"-D{name}={value}" for name, value in [*STABLE_ABI, PYTHON_ABI]]
        command += [f"-I{path}" for path in [*include_paths(), sysconfig.get_path("include")]]
        command += [f"-L{path}" for path in library_paths()]
        command += [str(CSRC / "cuda_bindings.cu"), "-ltorch", "-ltorch_cpu", "-lc10"]
        if subprocess.run(command).returncode != 0:
            target.unlink(missing_ok=True)
            without_extension("_C_cuda", "nvcc failed")
            self.extensions = [each for each in self.extensions if each is not extension]


def wants_cuda() -> bool:
    """Read VDIT_BUILD_CUDA."""
    wish = os.environ.get("VDIT_BUILD_CUDA", "auto")
    if wish not in ("auto", "0", "1"):
        raise SystemExit(f"error: VDIT_BUILD_CUDA: expected auto, 0 or 1, got {wish!r}")
    if wish == "1" and NVCC is None:
        without_extension("_C_cuda", "VDIT_BUILD_CUDA is 1 and nvcc is not on the PATH")
    return NVCC is not None and (wish == "1" or (wish == "auto" and bool(torch.version.cuda)))


def extensions() -> list[Extension]:
    """List what to build in this environment."""
    if torch is None:
        without_extension("_C", "torch is not importable in the build environment")
        return []
    sources = sorted(str(path) for path in CSRC.iterdir())
    found = [
        CppExtension(
            "vdit.ops._C",
            sources=[path for path in sources if path.endswith(".cpp")],
            depends=sources,
            define_macros=STABLE_ABI,
            extra_compile_args=FLAGS,
            py_limited_api=True,
        )
    ]
    if wants_cuda():
        found.append(
            Extension("vdit.ops._C_cuda", sources=[], depends=sources, py_limited_api=True)
        )
    return found


setup(
    version=VERSION,
    packages=[name for name in PACKAGES if Path(name.replace(".", "/")).is_dir()],
    package_data={
        "vdit": ["py.typed", "bundled/*/*", "bundled/*/*/*"],
        "vdit.probing": ["paper_tables.json"],
        "vdit.datasets.synthetic": ["atlas/LICENSE", "atlas/sprites.*", "atlas/textures/*.jpg"],
    },
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["vdit = vdit.cli:main"]},
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildOrWarn},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
