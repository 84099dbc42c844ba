"""Measure MinkUNet18A as this package runs it: a worker of network.py.

    python network_jax.py REFERENCE.npz native|xla f32|tf32|bf16

Forward on a plan that is on the device, forward from the voxels of a new scene (in host
memory), and training steps (loss, all gradients, new statistics) with
a plain loss and with Eq. 10, smallest first: the peak of memory only grows.
"""

import os
import sys

import bench_network
import jax
import jax.numpy as jnp
import numpy as np
import room
import rows
import timing
from day_jax import compile_all, peak_mb, program_mb, time_jax
from precisions import PRECISIONS, relax_xla
from workers import wait_for_turn

from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.device_plan import place_plan
from sas_jax.sparse.plan import build_plan

ARCH = "MinkUNet14A" if rows.REHEARSE else "MinkUNet18A"
OUT_DIM = 16 if rows.REHEARSE else 512


class Case:
    """The network, its scene and its weights on the default device."""

    def __init__(self, impl: str | None, precision: str) -> None:
        self.impl = impl
        self.precision = PRECISIONS[precision]
        self.voxels = room.voxels()
        self.num_voxels = len(self.voxels)
        self.network = MinkUNet(StudentConfig(ARCH, out_dim=OUT_DIM, impl=impl))
        host_plan, self.order = build_plan(self.voxels)
        self.targets = bench_network.random_targets(host_plan, OUT_DIM)
        self.plan = jax.device_put(host_plan)
        self.features = self.inputs(self.plan)
        self.variables = jax.device_put(
            bench_network.random_variables(self.network, self.plan, self.features)
        )

    def inputs(self, plan):
        """Return the constant input in the precision's type."""
        return constant_features(plan).astype(self.precision.dtype)

    def forward(self) -> tuple:
        """Return the jitted evaluation, and its operands."""

        def forward(variables, plan):
            return self.network.apply(variables, plan, self.inputs(plan), train=False)

        return jax.jit(forward), (self.variables, self.plan)

    def programs(self) -> dict:
        """Return jitted functions and their operands, by what they do."""
        params, stats = self.variables["params"], self.variables["batch_stats"]
        place = (self.plan, self.features)

        plain = bench_network.plain(self.network)
        distill = bench_network.distillation(self.network)

        def step(loss):
            def single(*operands):
                value, aux = loss(*operands)
                return value.astype(jnp.float32), aux

            return jax.jit(jax.value_and_grad(single, has_aux=True))

        return {
            "forward": self.forward(),
            "distill": (step(distill), (params, stats, *place, *self.targets)),
            "train": (step(plain), (params, stats, *place)),
        }


def flat(tree) -> list:
    """Return (name, array) of all leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [("/".join(key.key for key in path), leaf) for path, leaf in leaves]


def compare(case: Case, what: str, result, reference) -> dict:
    """Return relative errors.

    Raises:
      Unequal: if one is too large.
    """
    precision = case.precision
    if what == "forward":
        got = np.asarray(result, np.float32)[: case.num_voxels]
        bound = precision.network_error
        return {"error": timing.require_close(what, got, reference["features"], bound)}
    (loss, _), grads = result
    expected = np.concatenate(
        [reference[f"{what}.{n}"].ravel() for n, _ in flat(grads)]
    )
    got = np.concatenate([np.asarray(g, np.float32).ravel() for _, g in flat(grads)])
    error = abs(float(loss) / float(reference[f"{what}.loss"]) - 1)
    bound = precision.gradient_error
    return {
        "error": timing.require_close(f"{what}: gradients", got, expected, bound),
        "loss_error": float(f"{error:.2e}"),
    }


def main() -> None:
    reference_path, impl, precision = sys.argv[1:]
    if impl == "xla":
        relax_xla()
        # Trying kernels for every product takes XLA longer than the day has.
        os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"
    row = {"impl": f"sas_jax {impl}", "precision": precision}
    failures = rows.Failures("network")
    compiled, operands = {}, {}
    with failures.case(**row, what="compile"):
        case = Case(impl, precision)
        with case.precision.context():
            programs = case.programs()
            if impl == "xla":
                del programs["distill"]
            names = list(programs)
            lowered = [program.lower(*arrays) for program, arrays in programs.values()]
        compiled = dict(zip(names, compile_all(lowered), strict=True))
        operands = {name: arrays for name, (_, arrays) in programs.items()}
        place_plan(case.voxels)  # compiles what a new scene needs
    wait_for_turn()
    with np.load(reference_path) as archive:
        reference = dict(archive)
    gflop = {}
    for what, program in compiled.items():
        with failures.case(**row, what=what):
            if not gflop:
                params = case.variables["params"]
                forward = bench_network.network_gflop(case.plan, params)
                head = bench_network.head_gflop(case.plan, params)
                gflop = {"forward": forward, "train": 3 * forward,
                         "distill": 3 * (forward - head)}  # fmt: skip
            run = lambda p=program, o=operands[what]: p(*o)  # noqa: E731
            errors = compare(case, what, run(), reference)
            measured = time_jax(run)
            rate = gflop[what] / measured["ms"]
            rows.write("network", **row, what=what, voxels=case.num_voxels,
                       gflop=round(gflop[what], 1), tflops=round(rate, 2),
                       peak_mb=peak_mb(), program_mb=program_mb(program), **errors,
                       **measured)  # fmt: skip
        if what == "forward":
            with failures.case(**row, what="forward, new scene"):
                time_new_scene(case, program, row)
    failures.exit()


def time_new_scene(case: Case, program, row: dict) -> None:
    """Time a forward pass that starts from voxels in host memory."""

    def run():
        plan, _ = place_plan(case.voxels)
        return program(case.variables, plan)

    rows.write("network", **row, what="forward, new scene", voxels=case.num_voxels,
               **time_jax(run))  # fmt: skip


if __name__ == "__main__":
    main()
