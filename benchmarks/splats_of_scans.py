"""Gaussians of a scan without training: a flat disc at every point.

python benchmarks/splats_of_scans.py data/rooms/scans/room0000_00 out.ply
"""

import sys

import numpy as np
from scipy.spatial import cKDTree

from sas_jax.datasets.registry import open_folder
from sas_jax.gaussians.files.formats import write_splats
from sas_jax.gaussians.splats import C0, Splats
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.graph import vertex_normals

_NEIGHBORS, _OPACITY, _THICKNESS = 4, 0.9, 0.1


def discs(scene: Scene) -> Splats:
    """Return a Gaussian for every point of a mesh, in the points' order.

    Its deviations are 0.6 of the mean distance of the four nearest points along the
    surface, a tenth of that across; opacity 0.9, the scan's colour from all sides.
    """
    near = cKDTree(scene.points).query(scene.points, k=_NEIGHBORS + 1)[0][:, 1:]
    spread = (0.6 * near.mean(axis=1)).astype(np.float32)
    normals = vertex_normals(scene.points, scene.faces)
    sh = (scene.colors.astype(np.float32) / 255 - 0.5) / C0
    return Splats(
        means=scene.points,
        scales=spread[:, None] * np.float32([1, 1, _THICKNESS]),
        rotations=_turned_to(normals),
        opacities=np.full(len(spread), _OPACITY, np.float32),
        sh=sh[:, None].astype(np.float32),
    )


def _turned_to(normals: np.ndarray) -> np.ndarray:
    """Return unit quaternions that turn z to each normal, [G, 4] f32."""
    x, y, z = normals.astype(np.float64).T
    turn = np.stack([1 + z, -y, x, np.zeros_like(z)], axis=1)
    turn[z < -0.9999] = [0, 1, 0, 0]  # half a turn about x
    return (turn / np.linalg.norm(turn, axis=1, keepdims=True)).astype(np.float32)


def main() -> None:
    """Write the Gaussians of a scan."""
    source, target = sys.argv[1:]
    splats = discs(open_folder(source))
    write_splats(target, splats)
    print(f"{target}: {len(splats):,} Gaussians")


if __name__ == "__main__":
    main()
