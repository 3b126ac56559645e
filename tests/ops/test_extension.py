"""What is loaded, what stands in for it, and what building it prints."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vdit.ops
from vdit.ops import ms_deform_attn
from vdit.ops.extension import BUILD_COMMAND, SCHEMAS, extension_status

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_EXTENSION = """
import json, sys
sys.modules["vdit.ops._C"] = None
import torch
from vdit.ops import extension_status, ms_deform_attn
from vdit.ops.ms_deform_attn_reference import ms_deform_attn_reference

torch.manual_seed(0)
value = torch.randn(2, 26, 3, 8, requires_grad=True)
locations = torch.rand(2, 7, 3, 2, 4, 2, requires_grad=True)
weights = torch.rand(2, 7, 3, 2, 4, requires_grad=True)
tensors = (value, locations, weights)
equal, results = [], []
compiled = torch.compile(ms_deform_attn, fullgraph=True, backend="aot_eager")
for function in (ms_deform_attn, compiled, ms_deform_attn_reference):
    out = function(value, [(4, 5), (2, 3)], locations, weights)
    results.append((out, *torch.autograd.grad(out.square().sum(), tensors)))
for result in results[:2]:
    equal += [torch.allclose(a, b, atol=1e-5) for a, b in zip(result, results[2])]
torch.library.opcheck(torch.ops.vdit.ms_deform_attn.default, (value, [4, 5, 2, 3], *tensors[1:]))
with torch.autocast("cpu", torch.bfloat16):
    low = ms_deform_attn(value, [(4, 5), (2, 3)], locations, weights).dtype
schemas = [str(getattr(torch.ops.vdit, name).default._schema)
           for name in ("ms_deform_attn", "ms_deform_attn_backward", "cpu_capability")]
print(json.dumps([extension_status(), equal, str(low), schemas]))
"""

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
PASSES = """
import torch
from vdit.ops import ms_deform_attn

inputs = torch.load("inputs.pt")
found = {}
for name, (value, shapes, locations, weights) in inputs.items():
    out = ms_deform_attn(value, shapes, locations, weights)
    grads = torch.autograd.grad(out.float().square().sum(), (value, locations, weights))
    found[name] = [out.detach(), *grads]
torch.save(found, "passes.pt")
print(torch.ops.vdit.cpu_capability())
"""


def passes(inputs):
    value, shapes, locations, weights = inputs
    out = ms_deform_attn(value, shapes, locations, weights)
    grads = torch.autograd.grad(out.float().square().sum(), (value, locations, weights))
    return [out.detach(), *grads]


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"MAX_JOBS": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def built() -> None:
    if not extension_status()["built"]:
        pytest.skip(f"the extension is not built: {BUILD_COMMAND}")


def test_status_of_the_built_extension():
    built()
    status = extension_status()
    assert (status["cpu"], status["reason"]) == ("compiled", None)
    assert Path(str(status["file"])).name.startswith("_C.")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_status_without_a_device():
    status = extension_status()
    assert (status["cuda"], status["cuda_reason"]) == ("reference", "torch finds no CUDA device")


@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_numbers(make_inputs, tmp_path, capability):
    """The widest set that this processor has up to the named one; `default` runs everywhere."""
    built()
    inputs = {str(dtype): make_inputs(channels=37, dtype=dtype) for dtype in DTYPES}
    torch.save(inputs, tmp_path / "inputs.pt")
    result = run("-c", PASSES, cwd=tmp_path, ATEN_CPU_CAPABILITY=capability)
    assert result.returncode == 0, result.stderr
    names = ("default", "avx2", "avx512")
    assert result.stdout.strip() in names[: names.index(capability) + 1]
    found = torch.load(tmp_path / "passes.pt")
    for dtype in DTYPES:
        for got, want in zip(found[str(dtype)], passes(inputs[str(dtype)]), strict=True):
            tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(got.dtype, 1e-2)
            torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def test_name_is_the_function_whatever_was_imported_before():
    for statement in ("", "import vdit.ops.ms_deform_attn", "import vdit.ops.hosts"):
        namespace: dict[str, object] = {}
        exec(f"{statement}\nfrom vdit.ops import ms_deform_attn", namespace)
        assert callable(namespace["ms_deform_attn"])
    module = importlib.import_module("vdit.ops.ms_deform_attn")
    assert vdit.ops.ms_deform_attn is module.ms_deform_attn


def test_schemas_of_both_worlds_agree():
    built()
    for name, schema in SCHEMAS.items():
        compiled = getattr(torch.ops.vdit, name).default._schema
        assert str(compiled) == f"vdit::{torch._C.parse_schema(name + schema)}"


def test_without_the_extension_the_reference_serves(tmp_path):
    result = run("-c", WITHOUT_EXTENSION, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    status, equal, low, schemas = json.loads(result.stdout)
    assert (status["built"], status["file"], status["cpu"]) == (False, None, "reference")
    assert equal == [True] * 8
    assert low == "torch.bfloat16"
    assert schemas == [str(getattr(torch.ops.vdit, name).default._schema) for name in SCHEMAS]
    assert result.stderr.count("vdit.ops._C is not available") == 1
    assert result.stderr.count(BUILD_COMMAND) == 1


def test_import_under_the_short_name_is_refused():
    if not (ROOT / "ops").is_dir():
        pytest.skip("not a checkout")
    result = run("-c", "import ops", cwd=ROOT)
    assert "expected `import vdit.ops`, got `import ops`" in result.stderr


@pytest.fixture
def source_tree(tmp_path):
    """Copy what setup.py reads."""
    if not (ROOT / "setup.py").is_file():
        pytest.skip("not a checkout")
    for name in ("setup.py", "pyproject.toml", "vdit/__init__.py", "ops/csrc", "ops/__init__.py"):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    (tmp_path / "vdit/ops").symlink_to("../ops")
    return tmp_path


@pytest.mark.parametrize("allowed", ["1", "0"])
def test_failing_compiler(source_tree, allowed):
    result = run(
        *("setup.py", "build_ext", "--inplace"),
        cwd=source_tree,
        CXX="false",
        CC="false",
        VDIT_BUILD_ALLOW_ERRORS=allowed,
    )
    assert (result.returncode == 0) == (allowed == "1")
    assert result.stderr.count("vdit.ops._C was not built") == 1
    assert result.stderr.count(BUILD_COMMAND) == 1
    assert not list(source_tree.glob("ops/_C*"))


def empty_sources_and_broken_nvcc(source_tree: Path) -> None:
    for source in source_tree.glob("ops/csrc/*.cpp"):
        source.write_text("")
    nvcc = source_tree / "nvcc"
    nvcc.write_text("#!/bin/sh\nexit 1\n")
    nvcc.chmod(0o755)


@pytest.mark.parametrize("allowed", ["1", "0"])
def test_failing_nvcc_costs_the_cuda_kernels_only(source_tree, allowed):
    empty_sources_and_broken_nvcc(source_tree)
    result = run(
        *("setup.py", "build_ext", "--inplace"),
        cwd=source_tree,
        PATH=f"{source_tree}:{os.environ['PATH']}",
        VDIT_BUILD_CUDA="1",
        VDIT_BUILD_ALLOW_ERRORS=allowed,
    )
    assert (result.returncode == 0) == (allowed == "1"), result.stderr
    assert "vdit.ops._C_cuda was not built: nvcc failed" in result.stderr
    assert BUILD_COMMAND in result.stderr
    assert not list(source_tree.glob("ops/_C_cuda*"))
    assert bool(list(source_tree.glob("ops/_C.*"))) == (allowed == "1")


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("VDIT_BUILD_CUDA", "yes", "expected auto, 0 or 1, got 'yes'"),
        ("TORCH_CUDA_ARCH_LIST", "Hopper", "expected versions such as '8.0;9.0+PTX', got 'Hopper'"),
    ],
)
def test_wrong_wishes_are_refused(source_tree, variable, text, message):
    empty_sources_and_broken_nvcc(source_tree)
    wishes = {"VDIT_BUILD_CUDA": "1", "PATH": f"{source_tree}:{os.environ['PATH']}", variable: text}
    result = run("setup.py", "build_ext", "--inplace", cwd=source_tree, **wishes)
    assert result.returncode != 0
    assert message in result.stderr


@pytest.mark.parametrize("allowed", ["1", "0"])
def test_build_environment_without_torch(source_tree, allowed):
    code = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path('setup.py')"
    result = run(
        *("-c", code, "--name", "--version"), cwd=source_tree, VDIT_BUILD_ALLOW_ERRORS=allowed
    )
    assert (result.returncode == 0) == (allowed == "1")
    assert "torch is not importable in the build environment" in result.stderr
    assert BUILD_COMMAND in result.stderr
