#!/usr/bin/env bash
# Builds the CUDA kernels, tests them and times them: what only a device can show, in one call.
#
#   tools/check_cuda.sh OUTPUT_FOLDER [SOURCE_OF_TORCH_MS_DEFORM_ATTN]
#
# PYTHON names an interpreter with torch, transformers, pytest and hypothesis (default: python3).
set -uo pipefail
cd "$(dirname "$0")/.."
output=${1:?usage: tools/check_cuda.sh OUTPUT_FOLDER [SOURCE_OF_TORCH_MS_DEFORM_ATTN]}
python=${PYTHON:-python3}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1
mkdir -p "$output"
status=0
VDIT_BUILD_CUDA=1 VDIT_BUILD_ALLOW_ERRORS=0 "$python" setup.py build_ext --inplace >"$output/build.log" 2>&1 ||
  { tail -20 "$output/build.log"; exit 1; }
if [ -n "${2:-}" ]; then
  peers=$(mktemp -d)
  "$python" -m pip install --quiet --no-deps --no-build-isolation --target "$peers" "$2" &&
    export PYTHONPATH=$PYTHONPATH:$peers
fi
"$python" -m pytest -q --confcutdir=tests/ops tests/ops/test_cuda.py 2>&1 | tee "$output/tests.log" || status=1
if command -v compute-sanitizer >/dev/null; then
  compute-sanitizer --tool memcheck --error-exitcode 1 "$python" -m pytest -q --confcutdir=tests/ops \
    tests/ops/test_cuda.py -k equals_reference >"$output/memcheck.log" 2>&1 || status=1
  tail -3 "$output/memcheck.log"
fi
for dtype in float32 bfloat16; do
  "$python" -m vdit bench ops --device cuda --dtype "$dtype" --rounds 50 -o "$output/ops_cuda_$dtype.json" \
    --cases small large small-uniform decoder-small decoder-large decoder-300 detr || status=1
done
exit $status
