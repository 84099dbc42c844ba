"""Single 3^3 layers by our kernels beside the dense product of the same work.

    python layers.py [LEVEL ...]

Forward, gradient of the input and of the weights, levels 0 to 3, in every precision. A
program runs a layer four times with other weights, so that what layers over one table
share (the order of its rows) is shared as in a network; a quarter is reported. The
limit is one product by XLA, [rows, pairs / rows * C_in] x [.., C_out], of the same
precision: as many multiplications on the same shape, without looking anything up.
"""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import room
import rows
import timing
from day_jax import compile_all, time_jax
from precisions import PRECISIONS, Precision

from sas_jax.sparse.conv import sparse_conv
from sas_jax.sparse.plan import build_plan

REPEATS = 4
LEVELS = tuple(map(int, sys.argv[1:])) or ((0, 3) if rows.REHEARSE else (0, 1, 2, 3))
# (level, C_in, C_out) of residual blocks.
BLOCKS = ((0, 32, 32), (0, 96, 96), (1, 128, 128), (2, 128, 128), (3, 256, 128))
BATCHES = timing.DAY if rows.REHEARSE else timing.Batches(5, 0.03, 200)


@dataclasses.dataclass(frozen=True)
class Case:
    """One pass of one layer in one precision.

    Attributes:
      row: what it is.
      gflop: work of one layer.
      bound: relative error that it may have.
      ours: program of our kernels, with its operands.
      dense: program of the dense product, with its operands.
      exact: program of the first of the layers in float32, on the same operands.
    """

    row: dict
    gflop: float
    bound: float
    ours: tuple
    dense: tuple
    exact: jax.stages.Lowered


def forward(kmap, x, w, dy, impl):
    return sparse_conv(x, w, kmap, impl=impl)


def input_grad(kmap, x, w, dy, impl):
    return jax.vjp(lambda x: forward(kmap, x, w, dy, impl), x)[1](dy)[0]


def weight_grad(kmap, x, w, dy, impl):
    return jax.vjp(lambda w: forward(kmap, x, w, dy, impl), w)[1](dy)[0]


PASSES = {"forward": forward, "input_grad": input_grad, "weight_grad": weight_grad}


@functools.cache
def _numbers() -> np.ndarray:
    size = 1 << (16 if rows.REHEARSE else 24)
    return np.random.default_rng(0).standard_normal(size, np.float32)


def draw(*shape: int, seed: int, scale: float = 1.0) -> np.ndarray:
    """Return normal numbers, the same ones again and again where many are asked for."""
    return np.resize(np.roll(_numbers(), 7919 * seed), shape) * np.float32(scale)


def dense_shape(name: str, num_rows: int, fan: int, c_in: int, c_out: int) -> tuple:
    """Return the shapes of two matrices whose product is as much work."""
    if name == "forward":
        return (num_rows, fan * c_in), (fan * c_in, c_out)
    if name == "input_grad":
        return (num_rows, fan * c_out), (fan * c_out, c_in)
    return (fan * c_in, num_rows), (num_rows, c_out)


def cases_of(plan, level: int, c_in: int, c_out: int, name: str, precision: Precision):
    """Return a case whose programs are not compiled yet."""
    kmap, num_rows = plan.within(level, 3), int(plan.levels[level].num_valid)
    pairs = int(np.count_nonzero(np.asarray(kmap.nbr) >= 0))
    x = draw(kmap.capacity_in, c_in, seed=1)
    w = draw(REPEATS, 27, c_in, c_out, seed=2, scale=0.1)
    dy = draw(REPEATS, kmap.capacity_out, c_out, seed=3)
    x, dy = (jnp.asarray(a, precision.dtype) for a in (x, dy))
    run = PASSES[name]

    # The table is an operand: XLA would take hours to fold a constant of its size.
    def ours(kmap, x, w, dy):
        return [run(kmap, x, w[i], dy[i], "native") for i in range(REPEATS)]

    def exact(kmap, x, w, dy):
        wide = (a.astype(jnp.float32) for a in (x, w[0], dy[0]))
        return run(kmap, *wide, "xla")

    weights = jnp.asarray(w, precision.dtype)
    operands = (kmap, x, weights, dy)
    fan = round(pairs / num_rows)
    shapes = dense_shape(name, num_rows, fan, c_in, c_out)
    dense_operands = tuple(
        jnp.asarray(draw(*shape, seed=4 + i), precision.dtype)
        for i, shape in enumerate(shapes)
    )
    product = lambda a, b: jnp.matmul(a, b)  # noqa: E731
    with precision.context():
        return Case(
            row={"layer": f"3^3 level {level}", "channels": [c_in, c_out],
                 "rows": num_rows, "pass": name},
            gflop=2e-9 * pairs * c_in * c_out,
            bound=precision.layer_error,
            ours=(jax.jit(ours).lower(*operands), operands),
            dense=(jax.jit(product).lower(*dense_operands), dense_operands),
            exact=jax.jit(exact).lower(*operands),
        )  # fmt: skip


def measure(case: Case, precision: str, programs: tuple, fan_work: float) -> None:
    ours, dense, exact = programs
    result = ours(*case.ours[1])
    error = timing.require_close(
        case.row["pass"],
        result[0].astype(jnp.float32),
        exact(*case.ours[1]),
        case.bound,
    )
    del result
    mine = time_jax(lambda: ours(*case.ours[1]), BATCHES)
    limit = time_jax(lambda: dense(*case.dense[1]), BATCHES)
    ms = mine["ms"] / REPEATS
    rate, limit_rate = case.gflop / ms, fan_work / limit["ms"]
    rows.write("layers", **case.row, precision=precision, error=error,
               gflop=round(case.gflop, 3), layer_ms=round(ms, 4),
               tflops=round(rate, 2), dense_tflops=round(limit_rate, 2),
               percent=round(100 * rate / limit_rate, 1))  # fmt: skip


def main() -> None:
    failures = rows.Failures("layers")
    plan, _ = build_plan(room.voxels())
    plan = jax.device_put(plan)
    time_order(plan, failures)
    for level in LEVELS:
        for name, precision in PRECISIONS.items():
            run_level(plan, [b for b in BLOCKS if b[0] == level], name, precision,
                      failures)  # fmt: skip
    failures.exit()


def run_level(plan, blocks, name: str, precision: Precision, failures) -> None:
    """Compile the layers of a level in one precision together, then measure them."""
    row = {"level": blocks[0][0], "precision": name}
    cases, compiled = [], []
    with failures.case(**row, what="compile"):
        cases = [
            cases_of(plan, *block, which, precision)
            for block in blocks
            for which in ("forward", "input_grad", "weight_grad")
        ]
        lowered = [
            program for c in cases for program in (c.ours[0], c.dense[0], c.exact)
        ]
        compiled = compile_all(lowered)
    for case, *programs in zip(
        cases, compiled[::3], compiled[1::3], compiled[2::3], strict=False
    ):
        with failures.case(**case.row, precision=name):
            (m, k), (_, n) = (a.shape for a in case.dense[1])
            measure(case, name, programs, 2e-9 * m * k * n)


def time_order(plan, failures: rows.Failures) -> None:
    """Time what layers over one table share: the order of its rows."""
    from sas_jax.sparse.native import cuda as native_cuda

    for level in LEVELS:
        with failures.case(layer=f"order of rows, level {level}"):
            order = jax.jit(native_cuda.row_order)
            table = plan.within(level, 3).nbr
            timed = time_jax(lambda order=order, table=table: order(table), BATCHES)
            rows.write("layers", layer=f"order of rows, level {level}", **timed)


if __name__ == "__main__":
    main()
