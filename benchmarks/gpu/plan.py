"""The plan of the room: built on the device, and on the host with a copy."""

import jax
import jax.numpy as jnp
import numpy as np
import room
import rows
import timing
from day_jax import time_jax

from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.xla import plan as xla_plan


def main() -> None:
    failures = rows.Failures("plan")
    voxels = room.voxels()
    host, _ = build_plan(voxels)
    rung = host.rung
    device = jax.jit(lambda coords, n: xla_plan.build_plan(coords, n, rung))
    placed, count = jnp.asarray(voxels), jnp.int32(len(voxels))
    with failures.case(what="on the device"):
        built = device(placed, count)
        xla_plan.check(built)
        check_equal(built.plan, host)
        timed = time_jax(lambda: device(placed, count))
        rows.write("plan", what="on the device", voxels=len(voxels), **timed)
    with failures.case(what="on the host"):
        timed = timing.time_calls(lambda: build_plan(voxels, rung), lambda _: None)
        rows.write("plan", what="on the host", voxels=len(voxels), **timed)
    with failures.case(what="on the host, and copy"):
        timed = time_jax(lambda: jax.device_put(build_plan(voxels, rung)[0]))
        megabytes = sum(leaf.nbytes for leaf in jax.tree.leaves(host)) / 1e6
        rows.write("plan", what="on the host, and copy", voxels=len(voxels),
                   megabytes=round(megabytes), **timed)  # fmt: skip
    failures.exit()


def check_equal(got, expected) -> None:
    """Compare all tables bit by bit.

    Raises:
      Unequal: naming the first that differs.
    """
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(expected), strict=True
    ):
        if not np.array_equal(a, b):
            raise timing.Unequal(f"plan{jax.tree_util.keystr(path)} differs")


if __name__ == "__main__":
    main()
