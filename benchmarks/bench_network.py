"""Time MinkUNet18A on a room of about 100,000 voxels: forward and training step.

    python benchmarks/bench_network.py --what forward|train|distill [--repeats 5]

Each forward starts from raw voxels of a new scene: sorting, plan and copies included.
The training step is loss, gradients of all parameters and new batch statistics,
without an optimiser, on a plan that is there: `train` with a plain loss of the
features, `distill` with that of Eq. 10, which never writes the features out. Run under
`taskset -c 0` for one thread.
"""

import argparse
import resource
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import measure
import numpy as np
import scene

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sas_jax import native_library
from sas_jax.distill import losses
from sas_jax.distill.factored import FactoredFeatures
from sas_jax.distill.footprint import compiled_without_a_trace
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import HEAD, MinkUNet, constant_features
from sas_jax.sparse.plan import build_plan

WHAT = ("forward", "train", "distill")
NUM_SUPERPOINTS = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out_dim", type=int, default=512)
    parser.add_argument("--impl", choices=("native", "xla"), default=None)
    parser.add_argument("--what", choices=WHAT, default="train")
    parser.add_argument("--keep_memory", action="store_true", help="faster, larger")
    args = parser.parse_args()
    if args.keep_memory:
        native_library.keep_freed_memory()
    base_mb = peak_memory_mb()
    voxels = scene.room_voxels()
    plan, _ = build_plan(voxels)
    network = MinkUNet(StudentConfig(out_dim=args.out_dim, impl=args.impl))
    features = constant_features(plan)
    variables = random_variables(network, plan, features)
    apply = jax.jit(lambda v, p, x: network.apply(v, p, x, train=False))
    distill = args.what == "distill"
    loss = distillation(network) if distill else plain(network)
    targets = random_targets(plan, args.out_dim) if distill else ()
    step = jax.jit(jax.value_and_grad(loss, argnums=0, has_aux=True))

    def forward():
        new_plan, _ = build_plan(voxels)
        apply(variables, new_plan, constant_features(new_plan)).block_until_ready()

    def train():
        params, stats = variables["params"], variables["batch_stats"]
        jax.block_until_ready(step(params, stats, plan, features, *targets))

    gflop = network_gflop(plan, variables["params"])
    # A training step multiplies three times: forward and two gradients.
    run, work = (forward, gflop) if args.what == "forward" else (train, 3 * gflop)
    if distill:  # products with targets and lengths replace those of the last layer
        work -= 3 * head_gflop(plan, variables["params"])
    with compiled_without_a_trace():  # as the trainer does
        run()
    limit, timing = measure.beside_limit(run, args.repeats)
    row = {
        "what": args.what,
        "impl": args.impl or "default",
        "voxels": [int(level.num_valid) for level in plan.levels],
        "capacity": list(plan.rung.capacities),
        "gflop": round(work, 1),
        "keep_memory": args.keep_memory,
        "peak_mb_over_base": round(peak_memory_mb() - base_mb),
    }
    measure.report("network", row, timing, work, limit)


def random_variables(network, plan, features):
    """Draw parameters without compiling the initialisation."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        kernel = path[-1].key == "kernel"
        value = (
            0.05 * rng.standard_normal(leaf.shape) if kernel else np.ones(leaf.shape)
        )
        return jnp.asarray(value, jnp.float32)

    def init(plan, features):
        return network.init(jax.random.key(0), plan, features, train=False)

    shapes = jax.eval_shape(init, plan, features)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def plain(network):
    def loss(params, stats, plan, features):
        variables = {"params": params, "batch_stats": stats}
        y, updates = network.apply(
            variables, plan, features, train=True, mutable=["batch_stats"]
        )
        return jnp.mean(jnp.sin(y)), updates

    return loss


def random_targets(plan, width):
    """Return superpoints that are runs of rows, what counts, and their targets."""
    capacity, valid = len(plan.levels[0].coords), int(plan.levels[0].num_valid)
    owner = np.full(capacity, NUM_SUPERPOINTS, np.int32)
    owner[:valid] = np.arange(valid) * NUM_SUPERPOINTS // valid
    rng = np.random.default_rng(1)
    targets = rng.standard_normal((NUM_SUPERPOINTS, width), np.float32)
    return jax.device_put((owner, owner < NUM_SUPERPOINTS, targets))


def distillation(network):
    def loss(params, stats, plan, features, owner, mask, targets):
        variables = {"params": params, "batch_stats": stats}
        hidden, updates = network.apply(
            variables, plan, features, train=True, head=False, mutable=["batch_stats"]
        )
        num_voxels = plan.levels[0].num_valid
        student = FactoredFeatures(hidden, params[HEAD]["kernel"], num_voxels)
        terms = losses.superpoint_cosines(student, owner, mask, targets)
        return sum(term.total / term.count for term in terms), updates

    return loss


def network_gflop(plan, params) -> float:
    """Count the forward's multiplications and additions over all pairs of rows."""
    total = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [key.key for key in path]
        if names[-1] == "kernel":
            total += leaf.shape[-2] * leaf.shape[-1] * _rows(names[0], leaf, plan)
    return 2 * total / 1e9


def head_gflop(plan, params) -> float:
    return network_gflop(plan, {HEAD: params[HEAD]})


def _rows(name, leaf, plan) -> int:
    """Return how many rows a layer multiplies, summed over its offsets."""
    levels = [int(level.num_valid) for level in plan.levels]
    if name == "conv0p1s1":
        return np.count_nonzero(plan.within(0, 5).nbr >= 0)
    if name == "final":
        return levels[0]
    if name.startswith("convtr"):
        return levels[7 - int(name[6])]
    if name.startswith("conv"):
        return levels[int(name[4]) - 1]
    stage = int(name[5])
    level = stage if stage <= 4 else 8 - stage
    if leaf.ndim == 2:
        return levels[level]
    return np.count_nonzero(plan.within(level, 3).nbr >= 0)


def peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
