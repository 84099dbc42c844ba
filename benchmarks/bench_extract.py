"""Time the extraction of a scene by checkouts of this project, in turn.

    python benchmarks/bench_extract.py SCENE CHECKOUT... [--rounds 3] [--threads 2]

Both teachers of the rooms, with captions, on every frame of a scan's folder. Each
checkout runs in a process of its own, three times in every round; the first time of a
process warms up. The least time counts, of the clock and of the processor: others use
the machine too. All rows are of one machine and one run.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import measure

CHILD = """
import json, pathlib, sys, time
import torch
from sas_jax.datasets import registry as datasets
from sas_jax.lifting.extract import extract_scene
from sas_jax.teachers import registry

torch.set_num_threads(int(sys.argv[2]))
scan = datasets.scan_at(pathlib.Path(sys.argv[1]), {})
teachers = [registry.load(name) for name in ("rooms-dense", "rooms-mask")]
captioner, times = registry.load("colour-size"), []
for _ in range(3):
    wall, cpu = time.perf_counter(), time.process_time()
    scene = scan.open(image_size_wh=(320, 240), annotations=False)
    extract_scene(scene, teachers, captioner=captioner)
    times.append((time.perf_counter() - wall, time.process_time() - cpu))
size = len(scene.frame_source.names), len(scene.points)
print(json.dumps([*size, *map(min, zip(*times[1:]))]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=pathlib.Path)
    parser.add_argument("checkouts", type=pathlib.Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=measure.threads())
    args = parser.parse_args()
    found: dict[pathlib.Path, list] = {checkout: [] for checkout in args.checkouts}
    for _ in range(args.rounds):
        for checkout, runs in found.items():
            runs.append(_run(checkout.resolve(), args.scene.resolve(), args.threads))
    for checkout, runs in found.items():
        frames, points = runs[0][:2]
        wall_s, cpu_s = (min(run[i] for run in runs) for i in (2, 3))
        row = {
            "what": "extract",
            "checkout": _commit(checkout),
            "frames": frames,
            "points": points,
            "torch_threads": args.threads,
            "rounds": args.rounds,
            "wall_s": round(wall_s, 2),
            "cpu_s": round(cpu_s, 2),
            "frames_per_s": round(frames / wall_s, 2),
        }
        measure.append("teachers", row)


def _run(checkout: pathlib.Path, scene: pathlib.Path, threads: int) -> list:
    """Return frames, points, and the least seconds of the clock and the processor."""
    paths = [str(checkout), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(scene), str(threads)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _commit(checkout: pathlib.Path) -> str:
    """Return the short commit of a checkout, its folder's name where it has none."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or checkout.name


if __name__ == "__main__":
    main()
