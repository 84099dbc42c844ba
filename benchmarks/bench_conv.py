"""Time single layers of MinkUNet18A on the benchmark room against the machine's limit.

    python benchmarks/bench_conv.py [--repeats 9] [--isa avx512] [--only "3^3 level 0"]

Forward, gradient of the input and gradient of the weights by the native kernels,
called as XLA's handlers call them. Run under `taskset -c 0` for one thread.
"""

import argparse
import ctypes
import dataclasses
import sys
from pathlib import Path

import measure
import numpy as np
import scene

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sas_jax import native_library
from sas_jax.sparse.plan import build_plan

ISAS = {"auto": 0, "generic": 1, "avx2": 2, "avx512": 3}
TRANSPOSE_WEIGHTS, REVERSE_OFFSETS = 1, 2
# (3^3 level, C_in, C_out) of the residual blocks, then the other kinds of layers.
BLOCKS = (
    (0, 32, 32),
    (0, 128, 96),
    (0, 96, 96),
    (1, 32, 32),
    (1, 128, 128),
    (2, 64, 64),
    (2, 128, 128),
    (3, 128, 128),
    (3, 256, 128),
    (4, 128, 256),
    (4, 256, 256),
)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer's table, its transpose (None: its own mirror image) and sizes."""

    name: str
    c_in: int
    c_out: int
    nbr: np.ndarray | None
    transposed: np.ndarray | None
    rows_in: int
    rows_out: int

    @property
    def offsets(self) -> int:
        """Return how many weight matrices the layer has."""
        return 1 if self.nbr is None else len(self.nbr)

    @property
    def gflop(self) -> float:
        """Return the work of one pass, in 10^9 multiplications and additions."""
        pairs = self.rows_out
        if self.nbr is not None:
            pairs = np.count_nonzero(self.nbr >= 0)
        return 2e-9 * pairs * self.c_in * self.c_out


def network_layers(plan) -> list[Layer]:
    rows = [int(level.num_valid) for level in plan.levels]

    def mapped(name, kmap, c_in, c_out):
        rows = int(kmap.num_in), int(kmap.num_out)
        return Layer(name, c_in, c_out, kmap.nbr, kmap.transposed, *rows)

    layers = [
        mapped(f"3^3 level {level}", plan.within(level, 3), c_in, c_out)
        for level, c_in, c_out in BLOCKS
    ]
    return [
        *layers,
        mapped("5^3 level 0", plan.within(0, 5), 3, 32),
        mapped("2^3 down level 0", plan.down(0, 2), 32, 32),
        mapped("2^3 up level 1", plan.down(0, 2).transpose(), 128, 96),
        mapped("2^3 up level 3", plan.down(2, 2).transpose(), 256, 128),
        Layer("1x1 level 0", 128, 96, None, None, rows[0], rows[0]),
        Layer("1x1 head", 96, 512, None, None, rows[0], rows[0]),
    ]


def runs(layer: Layer, threads: int, kind: type = np.float32) -> dict:
    """Return the three passes of a layer as functions without arguments.

    Rows and weights may be bfloat16, too; the gradient of weights is of float32 then.
    """
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, np.float32).astype(kind)

    mirrored = layer.nbr is not None and layer.transposed is None
    back_table = layer.nbr if mirrored else layer.transposed
    capacity_out = layer.rows_out if layer.nbr is None else layer.nbr.shape[1]
    capacity_in = layer.rows_in if layer.nbr is None else back_table.shape[1]
    x, dy = normal(capacity_in, layer.c_in), normal(capacity_out, layer.c_out)
    w = normal(layer.offsets, layer.c_in, layer.c_out)
    y, dx = np.empty_like(dy), np.empty_like(x)
    dw = np.empty(w.shape, np.float32)
    narrow = kind is not np.float32
    convolve = "sas_conv_forward" + ("_bf16_products" if narrow else "")
    flags = TRANSPOSE_WEIGHTS | (REVERSE_OFFSETS if mirrored else 0)
    forward = (layer.offsets, layer.c_in, layer.c_out, capacity_out, layer.rows_out)
    backward = (layer.offsets, layer.c_out, layer.c_in, capacity_in, layer.rows_in)
    return {
        "forward": caller(
            convolve,
            (x, w, layer.nbr, y),
            (*forward, capacity_out),
            (0, threads),
        ),
        "input_grad": caller(
            convolve,
            (dy, w, back_table, dx),
            (*backward, capacity_in),
            (flags, threads),
        ),
        "weight_grad": caller(
            "sas_conv_weight_grad" + ("_bf16" if narrow else ""),
            (x, dy, layer.nbr, dw),
            forward,
            (threads,),
        ),
    }


def caller(name, arrays, sizes, rest):
    """Bind a C function; the arrays stay alive with the returned function."""
    function = getattr(native_library.require(), name)
    arrays = [a if a is None else np.ascontiguousarray(a) for a in arrays]
    pointers = [
        None if a is None else a.ctypes.data_as(ctypes.c_void_p) for a in arrays
    ]
    numbers = list(map(ctypes.c_int64, sizes))

    def call():
        if function(*pointers, *numbers, *rest) != 0:
            raise MemoryError(name)
        return arrays

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--isa", choices=ISAS, default="auto")
    parser.add_argument("--only", default="", help="layers whose name contains this")
    args = parser.parse_args()
    library = native_library.require()
    if library.sas_set_isa(ISAS[args.isa]) != 0:
        raise SystemExit(f"this processor has no {args.isa}")
    library.sas_isa_name.restype = ctypes.c_char_p
    plan, _ = build_plan(scene.room_voxels())
    for layer in network_layers(plan):
        if args.only not in layer.name:
            continue
        for name, run in runs(layer, measure.threads()).items():
            run()
            limit, timing = measure.beside_limit(run, args.repeats)
            row = {
                "layer": layer.name,
                "channels": [layer.c_in, layer.c_out],
                "rows": [layer.rows_in, layer.rows_out],
                "pass": name,
                "isa": library.sas_isa_name().decode(),
                "gflop": round(layer.gflop, 3),
            }
            measure.report("conv", row, timing, layer.gflop, limit)


if __name__ == "__main__":
    main()
