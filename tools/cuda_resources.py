"""Compile the CUDA kernels and record what each needs: registers, shared memory, spilled bytes.

python tools/cuda_resources.py -o benchmarks/ops_cuda_resources.json
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

from vdit.benchmarking.facts import run_facts

CSRC = Path(__file__).resolve().parents[1] / "ops" / "csrc"
SOURCE = """#include "cuda_launch.cuh"
template void vdit::launch_cuda(
    const vdit::CudaPlan&, vdit::Dtype, const vdit::Forward&, cudaStream_t);
template void vdit::launch_cuda(
    const vdit::CudaPlan&, vdit::Dtype, const vdit::Backward&, cudaStream_t);
"""
DTYPES = {"4Half": "float16", "8BFloat16": "bfloat16", "d": "float64", "f": "float32"}
KERNEL = re.compile(
    r"Function properties for \S*?(forward|backward)_kernelI(?:NS_)?(4Half|8BFloat16|d|f)E?"
    r"Li(\d+)ELi(\d+)E\S*\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads\n.*?Used (\d+) registers(?:.*?(\d+) bytes smem)?"
)


def compile_kernels(architecture: str) -> list[dict[str, object]]:
    """Give one row per kernel of an architecture such as "90"."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernels.cu"
        source.write_text(SOURCE)
        target = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
        command = ["nvcc", "-std=c++17", "-O3", target, "-Xptxas=-v", f"-I{CSRC}", "-c"]
        result = subprocess.run(
            [*command, str(source), "-o", f"{folder}/kernels.o"],
            capture_output=True,
            text=True,
            check=True,
        )
    return [
        {
            "architecture": f"sm_{architecture}",
            "pass": match[1],
            "dtype": DTYPES[match[2]],
            "numbers_per_load": int(match[3]),
            "threads_per_group": int(match[4]),
            "registers": int(match[8]),
            "shared_bytes": int(match[9] or 0),
            "spilled_bytes": int(match[6]) + int(match[7]),
        }
        for match in KERNEL.finditer(result.stderr)
    ]


def main() -> None:
    """Write the JSON file; print the rows of the sizes of VD-IT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", nargs="+", default=["80", "90", "100"])
    parser.add_argument("-o", "--output", required=True, metavar="FILE")
    options = parser.parse_args()
    rows = [row for each in options.architectures for row in compile_kernels(each)]
    nvcc = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"release ([\d.]+)", nvcc.stdout)
    result = run_facts() | {"nvcc": version[1] if version else "unknown", "kernels": rows}
    Path(options.output).write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
