"""Frames per second of teachers, f32 and half precision, one frame and more a batch.

From images in host memory to what is said of them in host memory, 320 x 240; for mask
teachers the grouping that is done on the processor is included. The small teachers are
compared with the processor's f32, the large ones, with random weights, with their own.
"""

import numpy as np
import rows
import teacher_speed
import timing

SMALL = ("rooms-dense", "rooms-mask", "imagenet")
LARGE = ("lseg", "seem")
SIZE = "tiny" if rows.REHEARSE else "true"
BATCHES = (1, 2) if rows.REHEARSE else (1, 8)
SECONDS = 0.0 if rows.REHEARSE else 1.5
# f16 rounds to 11 significant bits, bf16 to 8; networks have some thirty layers. In f32
# evidence near a threshold of `imagenet` may fall on its other side.
ERROR = {"f32": 1e-2, "bf16": 0.1, "f16": 3e-2}


def main() -> None:
    failures = rows.Failures("teachers")
    for name in (*SMALL, *LARGE):
        size = "true" if name.startswith("rooms") else SIZE
        if why := teacher_speed.absence(name, size, "f32"):
            print(f"left out: {name}: {why}", flush=True)
            continue
        with failures.case(teacher=name):
            place = "cpu" if name in SMALL else rows.DEVICE
            exact = said(teacher_speed.load(name, size, "f32", place), 1)
            for precision in ERROR:
                with failures.case(teacher=name, precision=precision):
                    teacher = teacher_speed.load(name, size, precision, rows.DEVICE)
                    for batch in BATCHES:
                        measure(name, size, teacher, precision, batch, exact)
                    teacher.close()
    failures.exit()


def said(teacher, batch: int) -> list[np.ndarray]:
    """Return what a teacher says of the images of the largest batch, few at a time."""
    pictures, found = teacher_speed.images(max(BATCHES)), []
    for first in range(0, len(pictures), batch):
        found += teacher_speed.call(teacher, pictures[first : first + batch])
    if teacher.spec.contract == "dense":
        return [each.astype(np.float32) for each in found]
    return [each.label_map for each in found]


def measure(name, size, teacher, precision: str, batch: int, exact) -> None:
    pairs = list(zip(said(teacher, batch), exact, strict=True))
    if teacher.spec.contract == "dense":
        error = max(
            timing.require_close(name, got, wanted, ERROR[precision])
            for got, wanted in pairs
        )
    else:
        error = round(float(np.mean([got != wanted for got, wanted in pairs])), 4)
        if name in SMALL and precision != "bf16" and error > 0.05:
            raise timing.Unequal(f"{error:.0%} of the labels differ from the CPU's")
    case = teacher_speed.case(name, size, precision, teacher, batch)
    timed = teacher_speed.least(teacher, batch, SECONDS)
    rows.write("teachers", **{**case, "error": error, **timed})


if __name__ == "__main__":
    main()
