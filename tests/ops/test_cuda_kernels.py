"""The CUDA kernels without a device: run by an emulated warp, planned for any size, compiled."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.ops.comparison import TOLERANCES, assert_close
from vdit.ops.ms_deform_attn_reference import (
    ms_deform_attn_reference,
    ms_deform_attn_reference_backward,
)

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "ops" / "csrc"
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
FAILURES = {1: "a warp came apart", 2: "a read out of bounds", 3: "a misaligned read"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """Compile the kernels for the CPU."""
    compiler = shutil.which("g++")
    if compiler is None or not CSRC.is_dir():
        pytest.skip("needs g++ and a checkout")
    library = tmp_path_factory.mktemp("emulator") / "emulator.so"
    source = Path(__file__).with_name("cuda_emulation.cpp")
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unknown-pragmas", f"-I{CSRC}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True, timeout=60)
    loaded = ctypes.CDLL(str(library))
    loaded.plan.restype = ctypes.c_char_p
    return loaded


def numbers(values):
    return (ctypes.c_int64 * len(values))(*values)


def plan(emulator, sizes, shapes, dtype=torch.float32, is_aligned=True):
    answer = numbers([0] * 4)
    flat = [side for shape in shapes for side in shape]
    error = emulator.plan(
        numbers(sizes), numbers(flat), DTYPES.index(dtype), int(is_aligned), answer
    )
    return list(answer), error.decode() if error else None


def run(emulator, inputs, arrays, is_forward, is_aligned=True):
    """Run a pass over torch tensors; None stands for a gradient that nobody asked for."""
    value, shapes, locations, _ = inputs
    sizes = [*value.shape, locations.shape[1], len(shapes), locations.shape[4]]
    flat = [side for shape in shapes for side in shape]
    pointers = [None if item is None else item.data_ptr() for item in arrays]
    bytes_of = [0 if item is None else item.numel() * item.element_size() for item in arrays]
    failure = emulator.run_pass(
        numbers(sizes),
        numbers(flat),
        DTYPES.index(value.dtype),
        int(is_aligned),
        int(is_forward),
        (ctypes.c_void_p * len(arrays))(*pointers),
        numbers(bytes_of),
    )
    assert failure == 0, FAILURES[failure]


def forward(emulator, inputs, is_aligned=True):
    value, _, locations, weights = inputs
    out = torch.full((value.shape[0], locations.shape[1], value[0, 0].numel()), 7.0)
    out = out.to(value.dtype)
    run(emulator, inputs, [value, locations, weights, out], True, is_aligned)
    return out


def backward(emulator, inputs, grad_out, mask=(True, True, True), is_aligned=True):
    value, _, locations, weights = inputs
    wide = locations.dtype
    grads = [
        torch.zeros(value.shape, dtype=wide),
        torch.full_like(locations, 7.0),
        torch.full_like(weights, 7.0),
    ]
    wanted = [grad if want else None for grad, want in zip(grads, mask, strict=True)]
    run(emulator, inputs, [grad_out, value, locations, weights, *wanted], False, is_aligned)
    return [None if grad is None else grad.to(like.dtype)
            for grad, like in zip(wanted, (value, locations, weights), strict=True)]  # fmt: skip


def detached(inputs):
    return [item.detach() if isinstance(item, torch.Tensor) else item for item in inputs]


@pytest.mark.parametrize("channels", [1, 3, 8, 16, 30, 32, 64, 72, 160])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
def test_emulated_kernels_equal_the_reference(emulator, make_inputs, dtype, channels):
    shapes = ((6, 9), (3, 5), (1, 2))
    inputs = detached(make_inputs(shapes, channels=channels, queries=5, points=3, dtype=dtype))
    grad_out = torch.randn(2, 5, 3 * channels).to(dtype)
    low, wide = TOLERANCES[dtype]
    assert_close(forward(emulator, inputs), ms_deform_attn_reference(*inputs), low)
    expected = ms_deform_attn_reference_backward(grad_out, *inputs)
    actual = backward(emulator, inputs, grad_out)
    for got, want, tolerance in zip(actual, expected, (low, wide, wide), strict=True):
        assert_close(got, want, tolerance)


@pytest.mark.parametrize("points", [1, 4, 12])
def test_many_samples_and_memory_that_is_not_aligned(emulator, make_inputs, points):
    inputs = detached(make_inputs(points=points, channels=8, queries=11))
    expected = ms_deform_attn_reference(*inputs)
    shifted = torch.zeros(inputs[0].numel() + 1)
    shifted[1:] = inputs[0].flatten()
    value = shifted[1:].view(inputs[0].shape)
    assert value.data_ptr() % 16 != 0
    assert_close(forward(emulator, inputs), expected, 2e-5)
    assert_close(forward(emulator, [value, *inputs[1:]], is_aligned=False), expected, 2e-5)


@pytest.mark.parametrize("mask", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)])
def test_emulated_gradients_on_demand(emulator, make_inputs, mask):
    inputs = detached(make_inputs())
    grad_out = torch.randn(2, 7, 24)
    expected = ms_deform_attn_reference_backward(grad_out, *inputs)
    actual = backward(emulator, inputs, grad_out, mask)
    for got, want, wanted in zip(actual, expected, mask, strict=True):
        if wanted:
            assert_close(got, want, 1e-4)
        else:
            assert got is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
def test_emulated_locations_at_no_place(emulator, make_inputs, bad):
    value, shapes, locations, weights = detached(make_inputs())
    locations[:, 0, ..., 0] = bad
    value[:, 0] = float("inf")  # what no sample touches must not be read
    locations[:, 1:] = 0.9
    inputs = [value, shapes, locations, weights]
    assert not forward(emulator, inputs)[:, 0].any()
    grads = backward(emulator, inputs, torch.ones(2, 7, 24))
    assert not grads[1][:, 0].any()
    assert not grads[2][:, 0].any()
    assert all(grad.isfinite().all() for grad in grads)


def test_plan_of_a_released_size(emulator):
    shapes = [(90, 160), (45, 80), (23, 40), (12, 20)]
    sizes = [5, 19160, 8, 32, 19160, 4, 4]
    assert plan(emulator, sizes, shapes) == ([19160 * 8 * 8 // 256, 5, 8, 1], None)
    assert plan(emulator, sizes, shapes, torch.bfloat16)[0] == [19160 * 8 * 4 // 256, 5, 4, 1]
    assert plan(emulator, sizes, shapes, is_aligned=False)[0][2:] == [32, 0]


def test_plan_of_many_frames_and_of_frames_that_are_too_large(emulator):
    shapes = [(90, 160)]
    blocks, error = plan(emulator, [500_000, 14400, 8, 32, 14400, 1, 4], shapes)
    assert (blocks[1], error) == (65535, None)  # 2^31 numbers are passed at frame 583
    _, error = plan(emulator, [1, 2**22, 8, 64, 10, 1, 4], [(2**11, 2**11)])
    assert "split the heads or the queries" in error
    _, error = plan(emulator, [1, 17, 1, 1, 1, 17, 1], [(1, 1)] * 17)
    assert "more than 16 levels" in error


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("architecture", ["80", "90", "100"])
def test_kernels_compile(tmp_path, architecture):
    if not CSRC.is_dir():
        pytest.skip("not a checkout")
    source = tmp_path / "kernels.cu"
    arguments = "(const vdit::CudaPlan&, vdit::Dtype, const vdit::{}&, cudaStream_t);"
    lines = ['#include "cuda_launch.cuh"']
    lines += [
        "template void vdit::launch_cuda" + arguments.format(name)
        for name in ("Forward", "Backward")
    ]
    source.write_text("\n".join(lines) + "\n")
    target = f"arch=compute_{architecture},code=sm_{architecture}"
    flags = ["-std=c++17", "-Xcicc=-O1", "-Xptxas=-O1", f"-gencode={target}", f"-I{CSRC}"]
    command = ["nvcc", *flags, "-Werror=all-warnings", "-c", str(source), "-o"]
    result = subprocess.run(
        [*command, str(tmp_path / "kernels.o")], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_library_builds_beside_any_torch(tmp_path):
    """The bindings compile and link for three architectures, whatever torch is installed."""
    if not (ROOT / "setup.py").is_file():
        pytest.skip("not a checkout")
    result = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-lib", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"VDIT_BUILD_CUDA": "1", "VDIT_BUILD_ALLOW_ERRORS": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.glob("vdit/ops/_C_cuda.abi3.so"))
