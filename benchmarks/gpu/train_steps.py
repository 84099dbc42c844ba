"""Time the trainer's step for one batch size and precision: a worker of train.py.

python train_steps.py BATCH f32|tf32
"""

import dataclasses
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import room
import rows
import timing
from day_jax import peak_mb
from precisions import PRECISIONS
from workers import wait_for_turn

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextSpace
from sas_jax.distill import batch as batches
from sas_jax.distill.buckets import measure_policy
from sas_jax.distill.config import TrainConfig
from sas_jax.distill.data import TrainScene
from sas_jax.distill.objective import StepInputs, step_config
from sas_jax.distill.schedule import Stage
from sas_jax.distill.step import (
    create_state,
    make_network,
    make_train_step,
    replicate,
    to_devices,
)
from sas_jax.models.config import StudentConfig

STEPS = 3 if rows.REHEARSE else 10
ARCH = "MinkUNet14A" if rows.REHEARSE else "MinkUNet18A"
OUT_DIM = 16 if rows.REHEARSE else 512
# Edge of the blocks that stand for superpoints: some 1,500 per room.
BLOCK_VOXELS = 8


def room_scene(seed: int, config: TrainConfig) -> TrainScene:
    """Return a room with a point in each voxel and a random target per block."""
    voxels = room.voxels(seed)[:, 1:]
    blocks = np.unique(voxels // BLOCK_VOXELS, axis=0, return_inverse=True)[1].ravel()
    superpoint, counts = blocks.astype(np.int32), np.bincount(blocks).astype(np.int32)
    dim = config.student.out_dim
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((len(counts), dim), np.float32).astype(np.float16)
    space = TextSpace("random", "none", dim)
    targets = Features(drawn, superpoint, counts, space, level="superpoint")
    points = ((voxels + 0.5) * config.voxel_size_m).astype(np.float32)
    return TrainScene(f"room{seed}", points, superpoint, targets)


def make_batch(size: int, config: TrainConfig):
    """Return what makes the batch of `size` rooms, and its voxels."""
    samples = [
        batches.make_sample(room_scene(seed, config), config, None)
        for seed in range(size)
    ]
    counts = [batches.count_rows([sample]) for sample in samples]
    policy = measure_policy(counts, size)
    _, bucket = policy.choose([batches.count_rows(samples)])
    voxels = sum(len(sample.voxels.coords) for sample in samples)

    def collate(*, on_host: bool):
        return batches.collate(
            samples, bucket, config, ensemble=False, build_plan=on_host
        )

    return collate, voxels


def main() -> None:
    size, precision = int(sys.argv[1]), sys.argv[2]
    row = {"batch": size, "precision": precision, "steps": STEPS}
    failures = rows.Failures("train")
    with failures.case(**row), PRECISIONS[precision].context():
        run(size, row)
    failures.exit()


def run(size: int, row: dict) -> None:
    student = StudentConfig(ARCH, out_dim=OUT_DIM)
    config = dataclasses.replace(TrainConfig(), student=student, batch_size=size)
    devices = tuple(jax.devices()[:1])
    network = make_network(config)
    step = make_train_step(
        network, step_config(config, Stage(1, True, False, 0, STEPS)), devices
    )
    state = replicate(create_state(network, config), devices)
    collate, voxels = make_batch(size, config)
    host_batch = collate(on_host=False)
    batch = to_devices([host_batch], devices)
    text = jnp.zeros((1, OUT_DIM), jnp.float32)
    inputs = StepInputs(jnp.float32(1e-3), jnp.float32(0.9), text)
    compiled = step.lower(state, batch, inputs).compile()
    wait_for_turn()
    losses, seconds, fed = [], [], []
    for number in range(2 * STEPS):
        start = time.perf_counter()
        if number >= STEPS:
            batch = to_devices([host_batch], devices)
        state, metrics, _ = compiled(state, batch, inputs)
        losses.append(float(metrics["loss"].total))
        (seconds if number < STEPS else fed).append(time.perf_counter() - start)
    if not (np.isfinite(losses).all() and losses[-1] < losses[0]):
        raise timing.Unequal(f"a loss that falls is required, got {losses}")
    built = collate(on_host=True)
    rows.write("train", **row, voxels=voxels, plan="in the step",
               seconds_per_step=round(float(np.median(seconds[1:])), 4),
               seconds_fed=round(float(np.median(fed)), 4),
               first_step=round(seconds[0], 3), peak_mb=peak_mb(),
               first_loss=round(losses[0], 5), last_loss=round(losses[-1], 5),
               capacity=host_batch.plan.rung.capacities[0],
               **feeding("in_step", lambda: collate(on_host=False),
                         lambda: to_devices([host_batch], devices)),
               **feeding("on_host", lambda: collate(on_host=True),
                         lambda: to_devices([built], devices)))  # fmt: skip


def feeding(plan: str, make, send) -> dict[str, float]:
    """Return the milliseconds that a batch takes to be put together and to be sent."""
    times = {}
    for name, run in (("collate", make), ("send", send)):
        samples = []
        for _ in range(3):
            start = time.perf_counter()
            jax.block_until_ready(run())
            samples.append(1e3 * (time.perf_counter() - start))
        times[f"{name}_{plan}_ms"] = round(float(np.median(samples)), 2)
    return times


if __name__ == "__main__":
    main()
