"""Time Mask3D on a furnished room: masks and classes of 150 queries, random weights.

    python benchmarks/bench_mask3d.py [--points 150000] [--voxels] [--repeats 5]

A run is all of it: voxels of the points, plan, network, answers in the scan's order.
Masks are of superpoints of a grid, as many as a scan has, or of voxels. Compiling, once
for each rung, is a row's `first_s` less its `wall_ms`. Run under `taskset -c 0` for one
thread.
"""

import argparse
import sys
from pathlib import Path

import furnished_room
import measure
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sas_jax.instances.mask3d.config import SCANNET200
from sas_jax.instances.mask3d.initial import draw
from sas_jax.instances.mask3d.predict import Predictor

_SUPERPOINT_M = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=150_000)
    parser.add_argument("--voxels", action="store_true", help="masks of voxels")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    points, _ = furnished_room.mesh(args.points)
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, points.shape).astype(np.uint8)
    cells = np.floor(points / _SUPERPOINT_M).astype(int)
    segments = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    predictor = Predictor(SCANNET200, draw(SCANNET200, 0))

    def run() -> None:
        predictor.propose(points, colors, None if args.voxels else segments)

    first, _ = measure.time_once(run)
    limit, timing = measure.beside_limit(run, args.repeats)
    found = predictor.propose(points, colors, None if args.voxels else segments)
    row = {
        "what": "propose",
        "network": "Mask3D Res16UNet34C",
        "points": len(points),
        "voxels": len(found.rows.coords),
        "queries": SCANNET200.num_queries,
        "mask_rows": len(found.mask_logits),
        "first_s": round(first, 1),
        "peak_gb": measure.peak_gb(),
        "limit_wall_ms": round(1e3 * limit.wall_s, 1),
        "limit_cpu_ms": round(1e3 * limit.cpu_s, 1),
    }
    measure.report("mask3d", row, timing, 0, limit)


if __name__ == "__main__":
    main()
