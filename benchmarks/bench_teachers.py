"""Frames per second of every teacher that runs offline, tiny and at its true size.

    python benchmarks/bench_teachers.py [--teachers a,b] [--sizes tiny,true]
        [--batches 1,4] [--precisions f32,bf16] [--seconds 20]

From images in host memory to what is said of them in host memory, in one process, on
as many threads as it may use (`taskset`). Weights are random; those of the rooms'
teachers and of `imagenet` are the shipped ones. A case runs once before it is timed,
and then until --seconds have passed, once at least; where the first call takes more
than six times --seconds it is all there is. The least time counts, of the clock and of
the processor, since others use the machine too.
"""

import argparse
import itertools

import measure
import teacher_speed
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    known = teacher_speed.TRUE
    parser.add_argument("--teachers", type=_names, default=known)
    parser.add_argument("--sizes", type=_names, default=["tiny", "true"])
    parser.add_argument("--batches", type=_numbers, default=[1, 4])
    parser.add_argument("--precisions", type=_names, default=["f32", "bf16"])
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    torch.set_num_threads(measure.threads())
    for size, name in itertools.product(args.sizes, args.teachers):
        for precision in args.precisions:
            if why := teacher_speed.absence(name, size, precision):
                print(f"left out: {name}, {size}, {precision}: {why}", flush=True)
                continue
            teacher = teacher_speed.load(name, size, precision)
            for batch in args.batches:
                case = teacher_speed.case(name, size, precision, teacher, batch)
                timed = teacher_speed.least(teacher, batch, args.seconds)
                measure.append("teachers", case | timed)
            teacher.close()


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
