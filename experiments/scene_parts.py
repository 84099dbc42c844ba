"""Points of a scene, and faces between them, as files for other programs."""

import pathlib
from collections.abc import Mapping

import numpy as np

from sas_jax.scenes.origin import choose_origin
from sas_jax.scenes.ply_write import write_ply
from sas_jax.scenes.scene import Scene
from sas_jax.view.browser.glb import mesh_glb

_GREY = 170


def write_scene(
    path: pathlib.Path,
    scene: Scene,
    which: np.ndarray | None = None,
    *,
    colors: np.ndarray | None,
    faces: np.ndarray | None,
    properties: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write points of a scene, and faces, in the coordinates of its input.

    Args:
      path: target.
      scene: whose points they are.
      which: their indices; None for all.
      colors: of these points, or None.
      faces: of these points, or None.
      properties: of these points.
    """
    points = scene.points if which is None else scene.points[which]
    points = scene.in_input(points)
    origin = choose_origin(points)
    write_ply(
        path,
        points - origin,
        colors=colors,
        faces=faces,
        properties=properties,
        origin=origin,
    )


def faces_of(scene: Scene, which: np.ndarray) -> np.ndarray | None:
    """Return the faces between some points, as indices into them; None without any."""
    if scene.faces is None:
        return None
    place = np.full(len(scene.points), -1, np.int32)
    place[which] = np.arange(len(which))
    faces = place[scene.faces]
    faces = faces[(faces >= 0).all(axis=1)]
    return faces if len(faces) else None


def part_of_mesh(scene: Scene, points: np.ndarray) -> bytes | None:
    """Return some points of a mesh as GLB, y up; None where they have no faces."""
    which = np.sort(points)
    faces = faces_of(scene, which)
    if faces is None:
        return None
    colors = scene.colors
    if colors is None:
        colors = np.full((len(scene.points), 3), _GREY, np.uint8)
    x, y, z = scene.points[which].T
    return mesh_glb(np.stack([x, z, -y], axis=1), colors[which], faces)
