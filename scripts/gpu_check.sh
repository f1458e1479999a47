#!/usr/bin/env bash
# Check this package on one CUDA GPU, in less than 8 minutes and without FiftyOne: the tests that run on a GPU, and
# the benchmark "gpu", which prints a table.
#
#   scripts/gpu_check.sh             on a machine with a GPU
#   scripts/gpu_check.sh --pretend   every line on the CPU with tiny sizes, to test this script
#
# Python packages are not downloaded. Wheels in .whl/ are installed; what is missing then is skipped with a message.
# PYTHON=path sets the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}

if ! "$PYTHON" -c 'import torch'; then
  echo "torch is missing: $PYTHON -m pip install torch torchvision" >&2
  exit 1
fi
mode=(); tests=tests/test_on_gpu.py; limit=230
if [ "${1:-}" = --pretend ]; then
  mode=(--pretend); tests=tests/test_pretend_cuda.py; limit=1200
elif ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  "$PYTHON" -c 'from benchmarks.gpu import NO_GPU; print(NO_GPU)' >&2
  exit 1
else
  export FIFTYONE_DEEPCLUSTER_TEST_DEVICE=cuda
fi

shopt -s nullglob
wheels=(.whl/*.whl)
if [ ${#wheels[@]} -gt 0 ]; then
  PIP_BREAK_SYSTEM_PACKAGES=1 "$PYTHON" -m pip install --quiet --no-index --no-deps --find-links .whl "${wheels[@]}"
fi
missing=()
for name in torchvision pydantic accelerate sklearn threadpoolctl faiss umap pydicom pytest flash_kmeans; do
  "$PYTHON" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$name') is None)" || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] || echo "not installed, so what needs it is skipped: ${missing[*]}"

failed=0
if [[ " ${missing[*]-} " =~ \ (pytest|pydantic|accelerate|sklearn|torchvision)\  ]]; then
  echo "skipped: the tests on the GPU"
else
  # not the project's settings of pytest: they need plugins
  timeout "$limit" "$PYTHON" -W ignore -m pytest -c /dev/null --rootdir . --import-mode importlib -p no:cacheprovider \
    -p no:randomly -q -rs "$tests" \
    || failed=1
fi
timeout "$limit" "$PYTHON" -W ignore -m benchmarks.gpu "${mode[@]+"${mode[@]}"}" || failed=1
exit $failed
