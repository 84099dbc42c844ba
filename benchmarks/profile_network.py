"""Show where the time of the benchmark network goes: a table by stage and kind.

    python benchmarks/profile_network.py --what forward|train|distill [--repeats 3]

Times are those of XLA's own profiler, one event per operation of the compiled program;
operations that run side by side overlap, so they may add up to more than the whole.
"""

import argparse
import collections
import re
import tempfile
from pathlib import Path

import bench_network as network_bench
import jax
import measure
import scene
from jax.profiler import ProfileData

from sas_jax.distill.footprint import compiled_without_a_trace
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.plan import build_plan

_KINDS = {
    "sas_conv_forward": "convolution",
    "sas_conv_weight_grad": "weight gradient",
    "sas_moments": "norm",
    "sas_normalize": "norm",
    "sas_normalize_sums": "norm",
    "sas_normalize_grad": "norm",
}
_STAGE = re.compile(r"/(conv0p1s1|final|bn0|(?:block|conv|convtr|bn|bntr)\d)")
LEAST_SHARE = 0.01
_COLUMNS = ("convolution", "weight gradient", "norm", "other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--what", choices=network_bench.WHAT, default="train")
    args = parser.parse_args()
    compiled, operands = compile_step(args.what)
    jax.block_until_ready(compiled(*operands))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(args.repeats):
                jax.block_until_ready(compiled(*operands))
        (file,) = Path(folder).rglob("*.xplane.pb")
        spent = operation_times(ProfileData.from_file(str(file)))
    print_table(labels(compiled.as_text()), spent, args.repeats)


def compile_step(what: str):
    """Return the compiled program of `bench_network` and its operands."""
    plan, _ = build_plan(scene.room_voxels())
    network = MinkUNet(StudentConfig(out_dim=512))
    features = constant_features(plan)
    variables = network_bench.random_variables(network, plan, features)
    if what == "forward":
        run = jax.jit(lambda v, p, x: network.apply(v, p, x, train=False))
        operands = (variables, plan, features)
    else:
        distill = what == "distill"
        maker = network_bench.distillation if distill else network_bench.plain
        run = jax.jit(jax.value_and_grad(maker(network), has_aux=True))
        operands = (variables["params"], variables["batch_stats"], plan, features)
        if distill:
            operands += network_bench.random_targets(plan, 512)
    operands = jax.device_put(operands)
    with compiled_without_a_trace():
        return run.lower(*operands).compile(), operands


def labels(program: str) -> dict[str, tuple[str, str]]:
    """Return stage and kind of every operation of a compiled program's text."""
    found = {}
    for line in program.splitlines():
        match = re.match(r"\s*(?:ROOT )?%(\S+) = ", line)
        if match is None:
            continue
        target = re.search(r'custom_call_target="(\w+)"', line)
        name = re.search(r'op_name="([^"]*)"', line)
        stage = _STAGE.search(name[1]) if name else None
        kind = _KINDS.get(target[1], "other") if target else "other"
        found[match[1]] = (stage[1] if stage else "outside", kind)
    return found


def operation_times(profile: ProfileData) -> collections.Counter:
    """Return the nanoseconds of every operation, over all threads."""
    spent = collections.Counter()
    for plane in profile.planes:
        for line in plane.lines:
            for event in line.events:
                spent[event.name] += event.duration_ns
    return spent


def print_table(known: dict, spent: collections.Counter, repeats: int) -> None:
    table = collections.defaultdict(collections.Counter)
    for name, (stage, kind) in known.items():
        if spent[name]:
            table[stage][kind] += spent[name] / repeats / 1e6
    print(f"threads: {measure.threads()}; milliseconds")
    print("| stage | " + " | ".join(_COLUMNS) + " |")
    print("|---|" + "---|" * len(_COLUMNS))
    total, rest = collections.Counter(), collections.Counter()
    for row in table.values():
        total.update(row)
    for stage in sorted(table, key=lambda s: -sum(table[s].values())):
        if sum(table[stage].values()) < LEAST_SHARE * sum(total.values()):
            rest.update(table[stage])
        else:
            print_row(stage, table[stage])
    print_row("the rest", rest)
    print_row("all", total)


def print_row(name: str, row: collections.Counter) -> None:
    print(f"| {name} | " + " | ".join(f"{row[c]:.0f}" for c in _COLUMNS) + " |")


if __name__ == "__main__":
    main()
