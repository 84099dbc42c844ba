"""Time the plan of the benchmark room: sorting, neighbour tables, everything.

    python benchmarks/bench_plan.py [--repeats 9]

Run under `taskset -c 0` for one thread.
"""

import argparse
import sys
from pathlib import Path

import measure
import numpy as np
import scene

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse import tables
from sas_jax.sparse.native import plan as native_plan
from sas_jax.sparse.plan import build_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    threads = measure.threads()
    voxels = scene.room_voxels()
    shuffled = np.random.default_rng(0).permutation(voxels)
    keys = voxel_keys.pack(shuffled)
    ordered, _ = native_plan.sort_unique(keys)
    coarse, _ = native_plan.sort_unique(voxel_keys.floor_keys(ordered, 2))

    def table(kernel_size):
        offsets = tables.kernel_offsets(kernel_size)
        return lambda: native_plan.neighbour_table(
            ordered, offsets, 1, num_threads=threads
        )

    pieces = {
        "sort": lambda: native_plan.sort_unique(keys),
        "27 offsets": table(3),
        "125 offsets": table(5),
        "8 offsets to level 1": lambda: native_plan.strided_tables(
            ordered, coarse, tables.kernel_offsets(2), 1, num_threads=threads
        ),
        "whole plan": lambda: build_plan(shuffled),
    }
    for name, run in pieces.items():
        run()
        limit, timing = measure.beside_limit(run, args.repeats)
        measure.report(
            "plan", {"what": name, "voxels": len(voxels)}, timing, 0.0, limit
        )


if __name__ == "__main__":
    main()
