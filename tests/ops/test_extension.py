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
           for name in ("ms_deform_attn", "ms_deform_attn_backward")]
print(json.dumps([extension_status(), equal, str(low), schemas]))
"""


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
    assert (status["cpu"], status["cuda"], status["reason"]) == ("compiled", "reference", None)
    assert Path(str(status["file"])).name.startswith("_C.")


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


@pytest.mark.parametrize("allowed", ["1", "0"])
def test_build_environment_without_torch(source_tree, allowed):
    code = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path('setup.py')"
    result = run(
        *("-c", code, "--name", "--version"), cwd=source_tree, VDIT_BUILD_ALLOW_ERRORS=allowed
    )
    assert (result.returncode == 0) == (allowed == "1")
    assert "torch is not importable in the build environment" in result.stderr
    assert BUILD_COMMAND in result.stderr
