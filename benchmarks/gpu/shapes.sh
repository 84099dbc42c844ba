#!/usr/bin/env bash
# Every way to cut forwards, checked and timed on a GPU, in two minutes at most.
#
#   benchmarks/gpu/shapes.sh STRESS_CUDA TABLES RESULTS [STRESS_CUDA_BEFORE]
#
# STRESS_CUDA: the program of kernels/stress/stress_cuda.cu. TABLES: a folder of
# write_table.py. RESULTS: a folder for the rows. STRESS_CUDA_BEFORE: the same program of
# an earlier commit, whose own choice of tiles is timed beside.
set -u
stress=$1 tables=$2 results=$3 before=${4:-}
mkdir -p "$results"

timeout 60 "$stress" --forward >"$results/shapes_right.jsonl"
echo "right: status $?, $(grep -c '"right": true' "$results/shapes_right.jsonl") right," \
  "$(grep -c '"right": false' "$results/shapes_right.jsonl") wrong"

# The deepest levels first: they are quick, and one that hangs must not cost the others.
layers() {
  case $1 in
    level4) echo 256 256 ;;
    level3) echo 256 128 128 128 ;;
    level2) echo 128 128 64 128 ;;
    level1) echo 128 128 32 64 ;;
    level0) echo 96 96 128 96 32 32 ;;
  esac
}
for level in level4 level3 level2 level1 level0; do
  # shellcheck disable=SC2046
  timeout 40 "$stress" --shapes "$tables/$level.table" $(layers $level) \
    >>"$results/gpu_shapes.jsonl"
  echo "$level: status $?"
  [ -n "$before" ] || continue
  # shellcheck disable=SC2046
  timeout 20 "$before" --default "$tables/$level.table" $(layers $level) \
    >>"$results/gpu_shapes_before.jsonl"
done
