#!/usr/bin/env bash
# Everything that only a GPU can tell, in one command of a few minutes.
#
#   benchmarks/gpu_day.sh [--rehearse] [--results DIR] [--parts a,b,c] [--budget SECONDS]
#
# Parts run in the order of their importance. Each has its own time limit and its own
# log, and writes its rows as it goes, so one that fails or hangs costs only itself. When
# the budget is spent the remaining parts are left out. --rehearse runs all of them on a
# CPU with tiny sizes, to find every typo.
#
# Nothing is installed but the build: python3 must have jax for CUDA, and torch for the
# comparisons. Optional, from the environment:
#   PYTHON            the interpreter (python3)
#   SAS_GPU_WHEELS    folder of wheels that are unpacked into the results
#   SAS_GPU_PEERS     folder with the packages spconv, cumm, spconv_triton, unpacked
#   SAS_JAX_GOLDEN    folder of the golden outputs
#   SAS_CUDA_ARCHS    architectures to build for; here 90 unless set
#   SAS_GPU_LEVELS    levels whose layers are timed, e.g. "2 3"; all unless set
#   SAS_GPU_NETWORK   which networks, e.g. "native:bf16 spconv:f16"; all unless set
set -u
shopt -s nullglob

ROOT=$(cd "$(dirname "$0")/.." && pwd)
RESULTS=$ROOT/build/gpu_day
REHEARSE=0 ONLY="" BUDGET=480
while [ $# -gt 0 ]; do
  case $1 in
    --rehearse) REHEARSE=1; shift ;;
    --results) RESULTS=$(realpath -m "$2"); shift 2 ;;
    --parts) ONLY=,$2,; shift 2 ;;
    --budget) BUDGET=$2; shift 2 ;;
    *) echo "gpu_day.sh: unknown option $1" >&2; exit 2 ;;
  esac
done

PY=${PYTHON:-python3}
PEERS=${SAS_GPU_PEERS:-}
GPU=$ROOT/benchmarks/gpu
mkdir -p "$RESULTS" "$ROOT/build"
[ $REHEARSE = 1 ] && BUDGET=$((BUDGET * 10))
export SAS_JAX_RESULTS=$RESULTS
export PYTHONPATH=$ROOT:$ROOT/benchmarks:$RESULTS/packages${PYTHONPATH:+:$PYTHONPATH}
# A part that is cut off must have told what failed.
export SAS_JAX_TELL_AT_ONCE=1
export PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=2
# The memory of one process is what it uses, and processes share the card.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$ROOT/build/jax_cache}
export SAS_CUDA_ARCHS=${SAS_CUDA_ARCHS:-90}
if [ $REHEARSE = 1 ]; then
  export SAS_GPU_REHEARSE=1 JAX_PLATFORMS=cpu OMP_NUM_THREADS=1
  unset JAX_COMPILATION_CACHE_DIR
else
  export JAX_PLATFORMS=cuda
fi
cd "$ROOT" || exit 1

STARTED=$SECONDS
SUMMARY=()

# part NAME LIMIT COMMAND...: run a part within its limit and what the budget leaves.
part() {
  local name=$1 limit=$2 log=$RESULTS/$1.log began=$SECONDS status left
  shift 2
  if [ -n "$ONLY" ] && [[ $ONLY != *,$name,* ]]; then return; fi
  left=$((BUDGET - (SECONDS - STARTED)))
  if [ $left -lt 10 ]; then
    note "$name" left_out 0
    return
  fi
  [ $REHEARSE = 1 ] && limit=$((limit * 6))
  [ $left -lt "$limit" ] && limit=$left
  echo "== $name (at most $limit s)"
  timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
  status=$?
  [ $status = 124 ] || [ $status = 137 ] && echo "(ended after $limit s)" >>"$log"
  note "$name" $status $((SECONDS - began))
  if [ $status != 0 ]; then tail -n 15 "$log" | cut -c -300; fi
}

# note NAME STATUS SECONDS: add a row at once.
note() {
  printf '{"part": "%s", "status": "%s", "seconds": %s, "rehearsal": %s}\n' \
    "$1" "$2" "$3" "$REHEARSE" >>"$RESULTS/gpu_day.jsonl"
  SUMMARY+=("$(printf '%-10s status %-8s %4s s' "$1" "$2" "$3")")
}

wheels() {
  local found=("$SAS_GPU_WHEELS"/*.whl)
  "$PY" -m pip install -q --no-index --no-deps --no-warn-conflicts --upgrade \
    --target "$RESULTS/packages" "${found[@]}"
}

build() {
  if ! "$PY" setup.py build_native; then return 1; fi
  [ $REHEARSE = 1 ] || [ -f sas_jax/_native/libsas_jax_cuda.so ]
}

# The kernels without JAX, then the same under the sanitizers on a short list.
kernels() {
  local sources=(kernels/cuda/*.cu) nvcc failed=0
  nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
  if [ ! -f kernels/stress/stress_cuda.cu ] || [ ! -x "$nvcc" ]; then
    echo "no kernels/stress/stress_cuda.cu, or no nvcc: nothing to do"
    [ $REHEARSE = 1 ]
    return
  fi
  local command=("$nvcc" -O3 -std=c++17 -arch="sm_${SAS_CUDA_ARCHS%%,*}" --threads 0
    -I kernels/include -I kernels/cuda kernels/stress/stress_cuda.cu "${sources[@]}"
    -o build/stress_cuda)
  echo "${command[*]}"
  [ $REHEARSE = 1 ] && return 0
  # One that is newer than its sources may have been brought along.
  local newer
  newer=$(find kernels -newer build/stress_cuda 2>/dev/null | head -n 1)
  if [ ! -x build/stress_cuda ] || [ -n "$newer" ]; then
    "${command[@]}" || return 1
  fi
  build/stress_cuda || failed=1
  local sanitizer
  sanitizer=$(command -v compute-sanitizer || echo "${nvcc%/*}/compute-sanitizer")
  for tool in memcheck racecheck; do
    "$sanitizer" --tool $tool --error-exitcode 9 build/stress_cuda --quick ||
      failed=1
  done
  return $failed
}

# Every tile of the kernels, without JAX.
tiles() {
  local tables=$RESULTS/tables
  JAX_PLATFORMS=cpu "$PY" benchmarks/gpu/write_table.py "$tables" || return 1
  [ $REHEARSE = 1 ] && return 0
  {
    build/stress_cuda --time "$tables/level0.table" 32 32 96 96 128 96
    build/stress_cuda --time "$tables/level1.table" 32 32 128 128
    build/stress_cuda --time "$tables/level2.table" 128 128
    build/stress_cuda --time "$tables/level3.table" 256 128
    build/stress_cuda --time "$tables/level4.table" 256 256
  } | tee "$RESULTS/gpu_tiles.jsonl"
  rm -r "$tables"
}

tests() {
  local marked=(-m cuda)
  # Without a GPU they are collected, and skipped.
  "$PY" -m pytest "${marked[@]}" "${PARALLEL[@]}" -p no:cacheprovider tests/kernels
}

golden() {
  local chosen="operation or evaluation or stage_of_the_network"
  [ $REHEARSE = 1 ] && chosen="k3s1 or trk2s2 or edge_single"
  # Trying kernels for every product of plain XLA's network takes minutes.
  [ $REHEARSE = 1 ] || export XLA_FLAGS=--xla_gpu_autotune_level=0
  "$PY" -m pytest -s tests/golden/test_sparse_golden.py -k "$chosen" "${PARALLEL[@]}" \
    -p no:cacheprovider
}

# Calls a part's script with the packages to compare with.
with_peers() {
  PYTHONPATH=$PYTHONPATH${PEERS:+:$PEERS} "$PY" "$@"
}

bridge() {
  with_peers -m pytest -m "not slow" -p no:cacheprovider tests/kernels/test_spconv.py \
    tests/unit/sparse/test_spconv_bridge.py
  local status=$?
  [ $status = 5 ] && status=0 # without spconv there is nothing to collect
  with_peers benchmarks/gpu/bridge.py && return $status
}

PARALLEL=()
if "$PY" -c 'import xdist' 2>/dev/null; then PARALLEL=(-n 8); fi

export -f wheels build kernels tiles tests golden with_peers bridge
# Functions run in a shell of their own, so that `timeout` can end them.
call() { echo "$(declare -p PARALLEL); PY=$PY PEERS=$PEERS REHEARSE=$REHEARSE RESULTS=$RESULTS; $1"; }

if [ -n "${SAS_GPU_WHEELS:-}" ]; then part wheels 60 bash -c "$(call wheels)"; fi
part machine 45 "$PY" "$GPU/machine.py"
part build 150 bash -c "$(call build)"
part kernels 90 bash -c "$(call kernels)"
part tests 120 bash -c "$(call tests)"
part tiles 45 bash -c "$(call tiles)"
part golden 120 bash -c "$(call golden)"
part network 240 bash -c "$(call "with_peers benchmarks/gpu/network.py ${SAS_GPU_NETWORK:-}")"
part memory 60 "$PY" "$GPU/network_memory.py"
part layers 60 "$PY" "$GPU/layers.py" ${SAS_GPU_LEVELS:-}
part train 120 "$PY" "$GPU/train.py"
part plan 40 "$PY" "$GPU/plan.py"
part bridge 150 bash -c "$(call bridge)"
part teachers 180 "$PY" "$GPU/teachers.py"

echo "== summary: $((SECONDS - STARTED)) s, rows and logs in $RESULTS"
printf '%s\n' "${SUMMARY[@]}"
! grep -qv 'status 0 ' <(printf '%s\n' "${SUMMARY[@]}")
