"""No temporary memory: what a pass takes beyond its inputs, its result and the gradients."""

import pytest
import torch

from vdit.benchmarking.op_timing import PASSES, peak_bytes
from vdit.measure import can_reset_peak_memory
from vdit.ops import extension_status

LIMIT = 2**20


@pytest.mark.skipif(not can_reset_peak_memory(), reason="needs /proc/self/clear_refs")
@pytest.mark.skipif(extension_status()["cpu"] != "compiled", reason="needs the compiled kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PASSES)
def test_less_than_a_megabyte(name, dtype):
    found = peak_bytes("small", "vdit", name, dtype, threads=1)
    assert found < LIMIT
    if name == PASSES[0] and dtype == torch.float32:  # what is measured sees temporaries
        assert peak_bytes("small", "reference", name, dtype, threads=1) > 20 * LIMIT
