"""What the network should return on the room: float32 on a CPU, by our kernels.

    JAX_PLATFORMS=cpu python network_reference.py OUT.npz

Features in evaluation mode, loss and gradients of a training step with the plain loss,
and those of Eq. 10. Rows are in the order of the plan.
"""

import sys

import bench_network
import jax
import network_jax
import numpy as np
from day_jax import compile_all


def main() -> None:
    case = network_jax.Case(impl=None, precision="f32")
    programs = case.programs()
    lowered = [program.lower(*operands) for program, operands in programs.values()]
    compiled = dict(zip(programs, compile_all(lowered), strict=True))
    results = {}
    for what, (_, operands) in programs.items():
        program = compiled[what]
        if what == "forward":
            results["features"] = np.asarray(program(*operands))[: case.num_voxels]
        else:
            (loss, _), grads = program(*operands)
            results[f"{what}.loss"] = np.asarray(loss)
            for name, grad in network_jax.flat(grads):
                results[f"{what}.{name}"] = np.asarray(grad)
    np.savez(sys.argv[1], **results)
    gflop = bench_network.network_gflop(case.plan, case.variables["params"])
    print(f"{case.num_voxels} voxels, {gflop:.1f} GFLOP, {jax.default_backend()}")


if __name__ == "__main__":
    main()
