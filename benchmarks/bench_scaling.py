"""Training on more devices, work of each constant; and how fast batches are made.

    python benchmarks/bench_scaling.py --what weak      # 1, 2, 4 devices; 2 processes
    python benchmarks/bench_scaling.py --what input     # rooms of 100,000 voxels

Weak scaling: MinkUNet18A with 512 channels, one room on each device and step, one
thread a device (OMP_NUM_THREADS=1), simulated devices of one processor each. More
devices than processors take turns, so `percent` is the time of one device, times how
many share a processor, over the time measured. `collective_s` is the sum of all
gradients over the devices by itself; `input_s` the making of a batch, on threads that
run ahead; `compile_s` the first step less a later one. Processes talk through gloo.

The input: scenes are read from files that the page cache holds, features and
superpoints with their checksums, then augmented, voxelised, planned and padded, by
threads of one process, without a network. `parts_s` is where one thread's time goes.

Rows say how loaded the machine was when they began: quote those below 0.3.
"""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import measure
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.artefacts.features import Features, save_features
from sas_jax.artefacts.space import TextSpace
from sas_jax.artefacts.superpoints import save_superpoints
from sas_jax.distill import loader
from sas_jax.distill.batch import collate, count_rows, make_sample
from sas_jax.distill.config import RunConfig, TrainConfig
from sas_jax.distill.data import SceneCache, SceneFiles
from sas_jax.distill.rehearsal import room
from sas_jax.distill.schedule import Schedule, random_stream
from sas_jax.models.config import StudentConfig

SPACE = TextSpace("benchmark", "0" * 64, 512)
SETUPS = ((1, 1), (1, 2), (1, 4), (2, 1))  # processes, devices of each
SUPERPOINTS = 1200
STEPS = 5


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Points in a file of numpy, in place of a data set's scan."""

    name: str
    path: pathlib.Path

    def points(self):
        """Return the points, f32 metres."""
        return np.load(self.path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=("weak", "input"), required=True)
    parser.add_argument("--points", type=int, help="of a room; 40000 or 180000")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    points = args.points or (40_000 if args.what == "weak" else 180_000)
    if args.child:
        weak_child(points, *args.child)
    elif args.what == "input":
        measure_input(points)
    else:
        one = None
        for processes, devices in SETUPS:
            load = os.getloadavg()[0]
            row = weak(points, processes, devices)
            one = one or row["step_s"]
            shared = max(1, processes * devices / measure.threads())
            percent = round(100 * one * shared / row["step_s"])
            measure.append(
                "scaling", {"what": "weak", **row, "percent": percent, **machine(load)}
            )


def machine(load: float) -> dict:
    return {"load_average": round(load, 2)}


def config(batch_size: int, voxel_size_m: float) -> TrainConfig:
    student = StudentConfig(out_dim=SPACE.dim)
    return TrainConfig(
        student=student,
        batch_size=batch_size,
        voxel_size_m=voxel_size_m,
        self_distillation=0.0,
        sync_bn=True,
    )


def store(folder: pathlib.Path, count: int, num_points: int) -> list[SceneFiles]:
    """Write rooms as a workspace has them, points 1.7 cm apart."""
    scenes = []
    for index in range(count):
        rng = np.random.default_rng(index)
        points = room(num_points, 0.017, rng)
        cells = np.lexsort(np.floor(points / 0.3).T)
        superpoint = np.empty(num_points, np.int32)
        superpoint[cells] = np.arange(num_points) * SUPERPOINTS // num_points
        feat = rng.standard_normal((SUPERPOINTS, SPACE.dim)).astype(np.float16)
        counts = np.ones(SUPERPOINTS, np.int32)
        features = Features(feat, superpoint, counts, SPACE, "superpoint")
        base = folder / f"room{index}"
        np.save(base.with_suffix(".npy"), points)
        paths = [base.with_name(f"{base.name}-{x}.safetensors") for x in ("f", "s")]
        save_features(paths[0], features, key="benchmark")
        save_superpoints(paths[1], superpoint, key="benchmark", points=points)
        scenes.append(SceneFiles(Cloud(base.name, base.with_suffix(".npy")), *paths))
    return scenes


def batches_of(scenes, training, num_devices, own, run):
    """Return batch source and sizes for some scenes."""
    cache = SceneCache(scenes, training, run.cache_bytes)
    schedule = Schedule(len(scenes), training)
    policy = loader.plan_buckets(cache, schedule, num_devices)
    return loader.BatchSource(cache, schedule, policy, num_devices, own=own), policy


def measure_input(num_points: int) -> None:
    """Time making batches of one room each, by one thread and by two."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        scenes = store(pathlib.Path(name), 6, num_points)
        training = config(1, 0.02)
        for threads, cached in ((1, False), (2, False), (1, True), (2, True)):
            run = RunConfig(num_threads=threads, cache_gb=4.0 if cached else 0.0)
            source, policy = batches_of(scenes, training, 1, None, run)
            batches = loader.make_loader(source, run)
            voxels = [next(batches)[1].num_voxels for _ in range(3)]
            wall, cpu, count = time.perf_counter(), time.process_time(), 24
            voxels += [next(batches)[1].num_voxels for _ in range(count)]
            row = {
                "what": "input",
                "batch_threads": threads,
                "scenes_in_memory": cached,
                "points": num_points,
                "voxels": round(statistics.mean(voxels)),
                "steps_per_s": round(count / (time.perf_counter() - wall), 2),
                "cpu_s_per_step": round((time.process_time() - cpu) / count, 4),
            }
            if threads == 1 and not cached:
                row["parts_s"] = parts(scenes, training, policy)
            measure.append("scaling", {**row, **machine(load)})


def parts(scenes, training, policy) -> dict[str, float]:
    """Return processor seconds of one thread for each part of making a batch."""
    spent: dict[str, list[float]] = {}

    def timed(name, run, *arguments, **settings):
        began = time.thread_time()
        result = run(*arguments, **settings)
        spent.setdefault(name, []).append(time.thread_time() - began)
        return result

    quiet = dataclasses.replace(training.augment, elastic=())
    plain = dataclasses.replace(training, augment=quiet)
    for index, source in enumerate(scenes):
        scene = timed("read", source.load, training)
        rng, again = (random_stream(0, "augment", index) for _ in range(2))
        sample = timed("sample", make_sample, scene, training, rng)
        timed("sample_without_elastic", make_sample, scene, plain, again)
        counts = timed("count", count_rows, [sample], training.student.plan_spec)
        _, bucket = policy.choose([counts])
        put = functools.partial(collate, [sample], bucket, training, ensemble=False)
        timed("collate", put)
        timed("collate_without_plan", put, build_plan=False)
    return {name: round(statistics.median(times), 4) for name, times in spent.items()}


def weak(num_points: int, processes: int, devices: int) -> dict:
    """Run the processes of one setup, and return what the first one says."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        address = f"localhost:{one.getsockname()[1]}"
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    command = [sys.executable, __file__, "--what=weak", f"--points={num_points}"]
    running = [
        subprocess.Popen(
            [*command, "--child", address, str(processes), str(number)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("bench_scaling: a process failed, see above")
    return json.loads(outputs[0].splitlines()[-1])


def weak_child(num_points: int, address: str, count: str, number: str) -> None:
    """Train a few steps as one of some processes, and print what they took."""
    import jax

    if int(count) > 1:
        jax.distributed.initialize(address, int(count), int(number))
    from sas_jax.distill import processes, step
    from sas_jax.distill.objective import StepInputs, step_config
    from sas_jax.distill.schedule import Stage
    from sas_jax.distill.shared_batches import agreed

    devices = tuple(jax.devices())
    own = processes.own(devices)
    local = tuple(devices[i] for i in own)
    training = config(len(devices), 0.02)
    network = step.make_network(training)
    state = step.replicate(step.create_state(network, training), local)
    settings = step_config(training, Stage(1, True, False, 0, STEPS))
    train_step = step.make_train_step(network, settings, devices)
    text = np.zeros((20, SPACE.dim), np.float32)
    inputs = StepInputs(np.float32(1e-4), np.float32(0), step.replicate(text, local))
    with tempfile.TemporaryDirectory() as name:
        scenes = store(pathlib.Path(name), len(devices), num_points)
        run = RunConfig()
        source, _ = batches_of(scenes, training, len(devices), own, run)
        batches = agreed(loader.make_loader(source, run), source, devices)
        rows = []
        for _ in range(STEPS + 1):
            began, cpu = time.perf_counter(), time.process_time()
            shards, info = next(batches)
            wait_s = time.perf_counter() - began
            batch = step.to_devices(shards, local)
            state, metrics, _ = train_step(state, batch, inputs)
            jax.block_until_ready(metrics)
            wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
            rows.append((wall_s, cpu_s, wait_s, info.seconds))
    step_s, cpu_s, wait_s, input_s = np.median(rows[1:], axis=0).tolist()
    row = {
        "processes": int(count),
        "devices": len(devices),
        "voxels_per_device": info.num_voxels // len(devices),
        "step_s": round(step_s, 3),
        "cpu_s_per_device": round(cpu_s / len(local), 3),
        "wait_s": round(wait_s, 4),
        "input_s": round(input_s, 3),
        "collective_s": round(collective_s(jax, state.params, devices, local), 4),
        "compile_s": round(rows[0][0] - step_s, 1),
    }
    print(json.dumps(row), flush=True)


def collective_s(jax, params, devices, local) -> float:
    """Return the seconds that summing all gradients over devices takes by itself."""
    from sas_jax.distill import step

    shards = [jax.device_get(params)] * len(local)
    rows = step.to_devices(shards, local)
    total = jax.pmap(
        lambda x: jax.lax.psum(x, step.AXIS), axis_name=step.AXIS, devices=devices
    )
    times = []
    for _ in range(8):
        began = time.perf_counter()
        jax.block_until_ready(total(rows))
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
