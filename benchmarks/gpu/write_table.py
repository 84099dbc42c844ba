"""Write the neighbour tables of the benchmark room for kernels/stress/stress_cuda.cu.

    python benchmarks/gpu/write_table.py FOLDER

One file a level, `level<n>.table`: offsets, capacity and valid rows, then the table and
the order of its rows, all int32.
"""

import sys
from pathlib import Path

import numpy as np
import room

from sas_jax.sparse.native.cuda import row_order
from sas_jax.sparse.plan import build_plan


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    plan, _ = build_plan(room.voxels())
    for level in range(len(plan.levels)):
        kmap = plan.within(level, 3)
        table = np.asarray(kmap.nbr)
        header = np.array([*table.shape, int(kmap.num_out)], np.int32)
        order = np.asarray(row_order(table))
        parts = (header, table, order)
        content = b"".join(np.ascontiguousarray(a, np.int32).tobytes() for a in parts)
        (folder / f"level{level}.table").write_bytes(content)


if __name__ == "__main__":
    main()
