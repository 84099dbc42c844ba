"""Frames per second of both small teachers with random weights, f32 and half precision.

From images in host memory to features in host memory, in batches of eight frames of
320 x 240; for the mask teacher grouping on the processor is included.
"""

import contextlib

import numpy as np
import rows
import timing
import torch

from sas_jax.registry import LoadOptions
from sas_jax.rooms.teachers import dense as rooms_dense
from sas_jax.rooms.teachers import mask as rooms_mask

BATCH = 2 if rows.REHEARSE else 8
BATCHES = timing.DAY if rows.REHEARSE else timing.Batches(5, 0.2, 20)
# f16 rounds to 11 significant bits; the networks have some thirty layers.
ERROR = 3e-2
TEACHERS = {"rooms-dense": rooms_dense, "rooms-mask": rooms_mask}


def call(name: str, teacher, frames):
    return (
        teacher.features(frames) if name == "rooms-dense" else teacher.segment(frames)
    )


def as_arrays(name: str, results) -> np.ndarray:
    if name == "rooms-dense":
        return np.stack(results).astype(np.float32)
    return np.stack([result.label_map for result in results])


def main() -> None:
    failures = rows.Failures("teachers")
    frames = list(np.random.default_rng(0).integers(0, 256, (BATCH, 240, 320, 3),
                                                    dtype=np.uint8))  # fmt: skip
    for name, module in TEACHERS.items():
        with failures.case(teacher=name):
            module.BATCH_SIZE = BATCH
            exact = as_arrays(
                name, call(name, module.load(LoadOptions("random:0")), frames)
            )
            teacher = module.load(LoadOptions("random:0", rows.DEVICE))
        for precision in ("f32", "f16"):
            with failures.case(teacher=name, precision=precision):
                measure(name, teacher, frames, precision, exact)
    failures.exit()


def measure(name: str, teacher, frames, precision: str, exact) -> None:
    half = precision == "f16" and not rows.REHEARSE

    def run():
        context = contextlib.nullcontext()
        if half:
            context = torch.autocast("cuda", dtype=torch.float16)
        with context:
            return call(name, teacher, frames)

    got = as_arrays(name, run())
    if name == "rooms-dense":
        error = timing.require_close(name, got, exact, ERROR)
    else:
        error = round(float((got != exact).mean()), 4)
        if error > 0.05:
            raise timing.Unequal(f"{error:.0%} of the labels differ from the CPU's")
    timed = timing.time_calls(run, lambda _: None, BATCHES)
    rows.write("teachers", teacher=name, precision=precision, batch=BATCH, error=error,
               frames_per_s=round(1e3 * BATCH / timed["ms"], 1), **timed)  # fmt: skip


if __name__ == "__main__":
    main()
