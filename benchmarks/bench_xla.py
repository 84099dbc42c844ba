"""Time one 96 -> 96 layer of the benchmark room by plain XLA, without native kernels.

    python benchmarks/bench_xla.py [--repeats 5]

What platforms without native kernels run; here on a CPU.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import measure
import numpy as np
import scene

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sas_jax.sparse.conv import sparse_conv
from sas_jax.sparse.plan import build_plan

CHANNELS = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    plan, _ = build_plan(scene.room_voxels())
    kmap = jax.device_put(plan.within(0, 3))
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((kmap.capacity_in, CHANNELS), np.float32)
    weights = rng.standard_normal((27, CHANNELS, CHANNELS), np.float32)
    x, w = jnp.asarray(rows), jnp.asarray(weights)

    def conv(x, w):
        return sparse_conv(x, w, kmap, impl="xla")

    def pull(x, w):
        y, back = jax.vjp(conv, x, w)
        return back(y)

    gflop = 2e-9 * np.count_nonzero(plan.within(0, 3).nbr >= 0) * CHANNELS**2
    for name, function, passes in (
        ("forward", conv, 1),
        ("forward and gradients", pull, 3),
    ):
        compiled = jax.jit(function)

        def run(compiled=compiled):
            jax.block_until_ready(compiled(x, w))

        run()
        limit, timing = measure.beside_limit(run, args.repeats)
        row = {"layer": "3^3 level 0", "channels": [CHANNELS] * 2, "pass": name}
        measure.report("xla", row, timing, passes * gflop, limit)


if __name__ == "__main__":
    main()
