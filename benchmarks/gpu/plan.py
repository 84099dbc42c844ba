"""The plan of the room: built on the device, and on the host with a copy."""

import jax
import jax.numpy as jnp
import numpy as np
import room
import rows
import timing
from day_jax import time_jax

from sas_jax.sparse import device_plan
from sas_jax.sparse.plan import build_plan


def main() -> None:
    failures = rows.Failures("plan")
    voxels = room.voxels()
    host, _ = build_plan(voxels)
    rung = host.rung
    placed, count = jnp.asarray(voxels), jnp.int32(len(voxels))
    sort = jax.jit(lambda coords, n: device_plan.sort_levels(coords, n, rung=rung))
    fill = jax.jit(lambda levels: device_plan.fill_tables(levels, rung))

    def report(what: str, run, measure=time_jax) -> None:
        rows.write("plan", what=what, voxels=len(voxels), **measure(run))

    with failures.case(what="on the device"):
        levels = sort(placed, count)
        built = fill(levels)
        device_plan.check(built)
        check_equal(built.plan, host)
        report("on the device, voxels there", lambda: fill(sort(placed, count)))
        report("on the device, sorting of it", lambda: sort(placed, count))
        report("on the device, tables of it", lambda: fill(levels))
    with failures.case(what="placed"):
        check_equal(device_plan.place_plan(voxels)[0], host)
        report("placed, rung from counts", lambda: device_plan.place_plan(voxels)[0])
        report("placed, rung known", lambda: device_plan.place_plan(voxels, rung)[0])
    with failures.case(what="on the host"):
        report(
            "on the host",
            lambda: build_plan(voxels, rung),
            lambda run: timing.time_calls(run, lambda _: None),
        )
    with failures.case(what="on the host, and copy"):
        report(
            "on the host, and copy",
            lambda: jax.device_put(build_plan(voxels, rung)[0]),
        )
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
