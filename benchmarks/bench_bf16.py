"""Compare students in bfloat16 with float32 on a CPU that multiplies bfloat16.

    python benchmarks/bench_bf16.py --what layers [--repeats 9] [--only "3^3 level 0"]
    python benchmarks/bench_bf16.py --what network [--repeats 9] [--keep_memory]
    python benchmarks/bench_bf16.py --what rooms --data_root=data/rooms

Layers and MinkUNet18A are those of bench_conv.py and bench_network.py, a new scene and
its plan for each forward; both precisions are taken in turn, so that they suffer alike
from whatever else the machine does, and `times` is the ratio of processor times, of
medians and of the least ones. Rooms are the shipped student's: how many points keep
their class, and what the scores are.
Run under `taskset -c 0` for one thread.
"""

import argparse
import os
import pathlib
import statistics
import time

import bench_conv
import bench_network
import jax
import jax.numpy as jnp
import measure
import ml_dtypes
import numpy as np
import scene

from sas_jax import native_library
from sas_jax.datasets.registry import open_folder
from sas_jax.evaluation import confusion
from sas_jax.models import shipped
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.models.student import Predictor
from sas_jax.models.student_file import read_student
from sas_jax.scenes.labels import SCANNET20
from sas_jax.sparse.conv import require_bf16
from sas_jax.sparse.plan import build_plan

PRECISIONS = ("f32", "bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=("layers", "network", "rooms"), required=True)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", default="", help="layers whose name contains this")
    parser.add_argument("--keep_memory", action="store_true", help="faster, larger")
    parser.add_argument("--data_root", type=pathlib.Path, default="data/rooms")
    args = parser.parse_args()
    require_bf16("bench_bf16", None)
    if args.keep_memory:
        native_library.keep_freed_memory()
    if args.what == "layers":
        plan, _ = build_plan(scene.room_voxels())
        for layer in bench_conv.network_layers(plan):
            if args.only in layer.name:
                time_layer(layer, args.repeats)
    elif args.what == "network":
        time_network(args.repeats, args.keep_memory)
    else:
        compare_rooms(args.data_root)


def in_turn(runs: tuple, repeats: int, work: float = 0.0) -> dict:
    """Return milliseconds of both precisions, their ratio, and the machine's load."""
    load, samples = os.getloadavg()[0], ([], [])
    for run in runs:
        run()
    for _ in range(repeats):
        for run, taken in zip(runs, samples, strict=True):
            taken.append(measure.time_once(run))
            time.sleep(0.1)
    row = {}
    for name, taken in zip(PRECISIONS, samples, strict=True):
        wall, cpu = (statistics.median(times) for times in zip(*taken, strict=True))
        row |= {f"{name}_cpu_ms": round(1e3 * cpu, 2)}
        row |= {f"{name}_least_cpu_ms": round(1e3 * min(taken, key=_cpu)[1], 2)}
        row |= {f"{name}_wall_ms": round(1e3 * wall, 2)}
        if work:
            row[f"{name}_gflops"] = round(work / cpu, 1)
    for times, of in (("times", "cpu_ms"), ("times_of_least", "least_cpu_ms")):
        row[times] = round(row[f"f32_{of}"] / row[f"bf16_{of}"], 2)
    return row | {"load_average": round(load, 2)}


def _cpu(sample: tuple[float, float]) -> float:
    return sample[1]


def time_layer(layer: bench_conv.Layer, repeats: int) -> None:
    threads = measure.threads()
    for name in ("forward", "input_grad"):
        runs = (
            bench_conv.runs(layer, threads)[name],
            bench_conv.runs(layer, threads, ml_dtypes.bfloat16)[name],
        )
        row = {"layer": layer.name, "channels": [layer.c_in, layer.c_out], "pass": name}
        row["gflop"] = round(layer.gflop, 3)
        row |= in_turn(runs, repeats, layer.gflop)
        measure.append("bf16", {"what": "layer", **row})


def time_network(repeats: int, keep_memory: bool) -> None:
    voxels = scene.room_voxels()
    plan, _ = build_plan(voxels)
    network = MinkUNet(StudentConfig(out_dim=512))
    variables = bench_network.random_variables(network, plan, constant_features(plan))
    programs = [jax.jit(forward_of(network, name)) for name in PRECISIONS]

    def run(program):
        plan, _ = build_plan(voxels)
        program(variables, plan).block_until_ready()

    work = bench_network.network_gflop(plan, variables["params"])
    runs = tuple(lambda program=program: run(program) for program in programs)
    row = {"voxels": [int(level.num_valid) for level in plan.levels]}
    row |= {"gflop": round(work, 1), "keep_memory": keep_memory}
    row |= in_turn(runs, repeats, work)
    results = [np.asarray(program(variables, plan), np.float32) for program in programs]
    off = np.abs(results[1] - results[0]).max() / np.abs(results[0]).max()
    for name, program in zip(PRECISIONS, programs, strict=True):
        account = program.lower(variables, plan).compile().memory_analysis()
        held = account.temp_size_in_bytes + account.output_size_in_bytes
        row[f"{name}_rows_mb"] = round(held / 1e6)
    measure.append("bf16", {"what": "network", **row, "error": round(float(off), 4)})


def forward_of(network: MinkUNet, precision: str):
    """Return the forward that `Predictor` runs in a precision."""

    def forward(variables, plan):
        inputs = constant_features(plan)
        if precision == "f32":
            return network.apply(variables, plan, inputs, train=False)
        with jax.default_matmul_precision("bfloat16"):
            inputs = inputs.astype(jnp.bfloat16)
            return network.apply(variables, plan, inputs, train=False)

    return forward


def compare_rooms(data_root: pathlib.Path) -> None:
    student = read_student(shipped.find("rooms"))
    predictors = [Predictor(student, name) for name in PRECISIONS]
    num_classes = len(SCANNET20.classes.names)
    total = np.zeros((2, num_classes, num_classes + 1), np.int64)
    points = same = 0
    names = sorted(path.name for path in (data_root / "scans").iterdir())
    for name in names:
        room = open_folder(data_root / "scans" / name)
        found = [decided(predictor, room.points) for predictor in predictors]
        agree = found[0] == found[1]
        points, same = points + len(agree), same + int(agree.sum())
        counts = [
            confusion.count(room.labels, classes, num_classes) for classes in found
        ]
        total += counts
        row = {"room": name, "points": len(agree), **scores(counts)}
        row["same_percent"] = round(100 * float(agree.mean()), 2)
        measure.append("bf16", {"what": "room", **row})
    row = {"rooms": len(names), "points": points, **scores(total)}
    row["same_percent"] = round(100 * same / points, 2)
    measure.append("bf16", {"what": "rooms", **row})


def decided(predictor: Predictor, points: np.ndarray) -> np.ndarray:
    """Return the class of every point, of the names that the student was taught."""
    student, found = predictor.student, predictor.features(points)
    order = [SCANNET20.classes.names.index(name) for name in student.class_names]
    best = np.argmax(found.feat @ student.text_features.T, axis=1)
    return np.asarray(order, np.int32)[best][found.row]


def scores(counts) -> dict:
    return {
        f"{name}_miou": round(confusion.score(own).miou, 2)
        for name, own in zip(PRECISIONS, counts, strict=True)
    }


if __name__ == "__main__":
    main()
