"""impl="spconv" inside JAX: its results beside ours or plain XLA's, its times.

The whole network, then layers forward and backward in float32 and float16.
"""

import jax
import jax.numpy as jnp
import network_jax
import numpy as np
import rows
import timing
from day_jax import time_jax

from sas_jax.sparse.conv import sparse_conv
from sas_jax.sparse.spconv import conv as spconv_bridge

# Relative to the largest result; spconv's tuner may choose float16 sums for float16.
ERRORS = {"float32": 1e-5, "float16": 2e-2}
NETWORK_ERROR, GRADIENT_ERROR = 1e-5, 2e-2


def main() -> None:
    failures = rows.Failures("bridge")
    if not spconv_bridge.is_available():
        rows.write("bridge", skipped="the package spconv is not here")
        return
    case = network_jax.Case(impl="spconv", precision="f32")
    network(case, failures)
    for which, kmap in {
        "3^3 level 0": case.plan.within(0, 3),
        "3^3 level 2": case.plan.within(2, 3),
        "2^3 down": case.plan.down(0, 2),
        "2^3 up": case.plan.down(0, 2).transpose(),
    }.items():
        for dtype in ERRORS:
            with failures.case(layer=which, dtype=dtype):
                layer(which, kmap, dtype)
    failures.exit()


def layer(which: str, kmap, dtype: str, c_in: int = 32, c_out: int = 64) -> None:
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape, np.float32), dtype)

    x, dy = draw(kmap.capacity_in, c_in), draw(kmap.capacity_out, c_out)
    w = draw(len(kmap.nbr), c_in, c_out) * jnp.asarray(0.1, dtype)

    def program(impl):
        def run(x, w, dy, kmap):
            y, pull = jax.vjp(lambda x, w: sparse_conv(x, w, kmap, impl=impl), x, w)
            return y, *pull(dy)

        return jax.jit(run)

    spconv, ours = program("spconv"), program("native")
    got = spconv(x, w, dy, kmap)
    exact = program("xla")(*(a.astype(jnp.float32) for a in (x, w, dy)), kmap)
    errors = {}
    for name, a, b in zip(("y", "dx", "dw"), got, exact, strict=True):
        a = a.astype(jnp.float32)
        errors[f"error_{name}"] = timing.require_close(name, a, b, ERRORS[dtype])
    timed = time_jax(lambda: spconv(x, w, dy, kmap))
    row = {"layer": which, "dtype": dtype, **errors, **timed}
    if dtype == "float32":
        row["native_ms"] = time_jax(lambda: ours(x, w, dy, kmap))["ms"]
    rows.write("bridge", **row)


def network(case: network_jax.Case, failures: rows.Failures) -> None:
    """Compare with our kernels, which were compared with the CPU elsewhere."""
    exact = network_jax.Case(impl="native", precision="f32")
    bounds = {"forward": NETWORK_ERROR, "train": GRADIENT_ERROR}
    for what, bound in bounds.items():
        with failures.case(layer="network", what=what):
            program, operands = case.programs()[what]
            got, wanted = program(*operands), exact.programs()[what][0](*operands)
            if what == "forward":
                got, wanted = got[: case.num_voxels], wanted[: case.num_voxels]
            else:
                got, wanted = (
                    np.concatenate([np.ravel(g) for _, g in network_jax.flat(r[1])])
                    for r in (got, wanted)
                )
            error = timing.require_close(what, got, wanted, bound)
            run = lambda p=program, o=operands: p(*o)  # noqa: E731
            rows.write("bridge", layer="network", what=what, error=error,
                       **time_jax(run))  # fmt: skip


if __name__ == "__main__":
    main()
