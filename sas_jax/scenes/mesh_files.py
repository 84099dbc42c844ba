"""Meshes and clouds of any common file format: a format is a reader and a line here."""

import pathlib
from collections.abc import Callable

from sas_jax.errors import InputError
from sas_jax.scenes.las import read_las
from sas_jax.scenes.mesh import Mesh
from sas_jax.scenes.model_files import read_model
from sas_jax.scenes.pcd import read_pcd
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.text_points import read_text_points

READERS: dict[str, Callable[[pathlib.Path], Mesh]] = {
    ".ply": read_ply,
    **dict.fromkeys((".obj", ".glb", ".gltf", ".off", ".stl"), read_model),
    ".pcd": read_pcd,
    **dict.fromkeys((".las", ".laz"), read_las),
    **dict.fromkeys((".xyz", ".xyzn", ".xyzrgb", ".pts", ".asc"), read_text_points),
    **dict.fromkeys((".txt", ".csv"), read_text_points),
}
"""Suffix -> reader, which raises InputError for a bad file and names it."""


def read_mesh(path: str | pathlib.Path) -> Mesh:
    """Read a mesh or a point cloud; the suffix tells the format.

    The parts of a file (objects, materials, instances) become one mesh. Axes and units
    stay as they are in the file, and what its format states of them is told. Vertices
    that the file states several times (STL: three for each face) stay apart.

    Args:
      path: a file of `READERS`.

    Raises:
      InputError: for another suffix, a missing, damaged or empty file, and points or
        faces that make no sense; the file is named.
    """
    path = pathlib.Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"mesh: a file of {', '.join(READERS)} is required, got {path.name} "
            f"({path}). Export it in one of these formats."
        )
    if not path.is_file():
        raise InputError(
            f"mesh: the file must exist, got none ({path}). Check the scene's folder."
        )
    return reader(path)
