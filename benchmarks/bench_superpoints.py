"""Time superpoints of a furnished room with many vertices, as a mesh and as a cloud.

python benchmarks/bench_superpoints.py --points 10000000 [--cloud]
"""

import argparse
import pathlib
import sys

import furnished_room
import measure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.superpoints.segment import segment_mesh, segment_points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=150_000)
    parser.add_argument("--cloud", action="store_true", help="leave out the faces")
    args = parser.parse_args()
    points, faces = furnished_room.mesh(args.points)
    before = measure.peak_gb()
    found = []

    def run() -> None:
        cloud = args.cloud
        labels = segment_points(points) if cloud else segment_mesh(points, faces)
        found.append(int(labels.max()) + 1)

    wall_s, cpu_s = measure.time_once(run)
    row = {"what": "cloud" if args.cloud else "mesh", "points": len(points)}
    row |= {"faces": 0 if args.cloud else len(faces), "superpoints": found[0]}
    row |= {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2)}
    row |= {"peak_gb": measure.peak_gb(), "peak_before_gb": before}
    measure.append("superpoints", row)


if __name__ == "__main__":
    main()
