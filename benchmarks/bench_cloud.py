"""Ask a large cloud something under a memory limit: time and memory, by file format.

    python benchmarks/bench_cloud.py [--points 10000000] [--limit_gb 8]

The cloud is sampled from twelve procedural rooms side by side. Each row is a process of
its own under `ulimit -v`: query.py with the shipped student, features not yet made.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import measure
import numpy as np

from sas_jax.rooms.layout.make import make_room
from sas_jax.scenes.ply_write import write_ply

ROOT = pathlib.Path(__file__).resolve().parent.parent
_ROOMS, _ROW, _PITCH_M = 12, 4, 7.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--limit_gb", type=float, default=8)
    args = parser.parse_args()
    points, colors = _cloud(args.points)
    with tempfile.TemporaryDirectory() as folder:
        for write in (_ply, _las, _xyz):
            path = write(pathlib.Path(folder), points, colors)
            row = {
                "format": path.suffix[1:],
                "points": len(points),
                "file_mb": round(path.stat().st_size / 1e6),
                "limit_gb": args.limit_gb,
                **_ask(path, args.limit_gb),
            }
            measure.append("cloud", row)
            path.unlink()


def _cloud(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and colours of rooms, as many of each, spread by area."""
    rng, points, colors = np.random.default_rng(0), [], []
    for number in range(_ROOMS):
        mesh = make_room(number).joined.mesh
        a, b, c = (mesh.vertices[corner].astype(np.float32) for corner in mesh.faces.T)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        face = rng.choice(len(area), count // _ROOMS, p=area / area.sum())
        u, v = rng.random((2, len(face), 1), np.float32)
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        place = _PITCH_M * np.array([number % _ROW, number // _ROW, 0], np.float32)
        points.append(a[face] + u * (b - a)[face] + v * (c - a)[face] + place)
        colors.append((255 * np.clip(mesh.color[face], 0, 1)).astype(np.uint8))
    return np.concatenate(points), np.concatenate(colors)


def _ply(folder: pathlib.Path, points: np.ndarray, colors: np.ndarray) -> pathlib.Path:
    write_ply(folder / "cloud.ply", points, colors=colors)
    return folder / "cloud.ply"


def _las(folder: pathlib.Path, points: np.ndarray, colors: np.ndarray) -> pathlib.Path:
    sys.path.insert(0, str(ROOT / "tests"))
    from geometry_files import las

    (folder / "cloud.las").write_bytes(las(points, colors))
    return folder / "cloud.las"


def _xyz(folder: pathlib.Path, points: np.ndarray, colors: np.ndarray) -> pathlib.Path:
    with (folder / "cloud.xyz").open("w") as file:
        for first in range(0, len(points), 1 << 20):
            rows = np.hstack([a[first : first + (1 << 20)] for a in (points, colors)])
            np.savetxt(file, rows, fmt=["%.4f"] * 3 + ["%d"] * 3)
    return folder / "cloud.xyz"


def _ask(path: pathlib.Path, limit_gb: float) -> dict:
    size = int(limit_gb * 1e9)
    command = [
        *(sys.executable, str(ROOT / "experiments" / "query.py"), "--student=rooms"),
        *(f"--workspace={path.parent}/run", f"--scene={path}", "--text=a chair"),
    ]
    start = time.perf_counter()
    child = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
    )
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_rss_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
        "answer": output.strip().splitlines()[-1][:80] if status else "ok",
    }


if __name__ == "__main__":
    main()
