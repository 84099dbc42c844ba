"""A file of Gaussians written again: some of them, some properties, all else as it was.

What is read as `Splats` is not what the file holds: numbers pass through exponentials,
quaternions lose their length, properties that nobody knows are gone. An editor's file
should lose nothing, so rows of a plain PLY are copied as they are. Other formats become
the plain layout, in the axes of PLY files.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped, UInt8

from sas_jax.gaussians.files.formats import read_splats
from sas_jax.gaussians.files.ply import is_plain_ply, plain_columns
from sas_jax.gaussians.splats import C0, Splats, half_turn
from sas_jax.scenes.ply_elements import read_elements
from sas_jax.scenes.ply_write import write_ply

Columns = dict[str, Shaped[np.ndarray, " G"]]


@dataclasses.dataclass(frozen=True)
class SplatFile:
    """Gaussians and the columns of their file.

    Attributes:
      path: of the file.
      splats: in the axes of PLY files, in the file's order.
      columns: name -> a number for each; positions first. Lists are left out.
    """

    path: pathlib.Path
    splats: Splats
    columns: Columns

    def write(
        self,
        target: str | pathlib.Path,
        *,
        which: Bool[np.ndarray, " G"] | Int[np.ndarray, " M"] | None = None,
        colors: UInt8[np.ndarray, "G 3"] | None = None,
        properties: Mapping[str, Shaped[np.ndarray, " G"]] | None = None,
    ) -> None:
        """Write a PLY file of these Gaussians, whatever format they came from.

        Args:
          target: written atomically.
          which: those that are written, in this order; None: all.
          colors: sRGB, from all sides; the harmonics of the file are then left out.
          properties: further ones, behind all others; of a name that the file has,
            instead of the file's.

        Raises:
          InputError: when the disk is full or not writable, naming the file.
        """
        columns = self.columns
        if colors is not None:
            columns = {n: c for n, c in columns.items() if not n.startswith("f_rest_")}
            columns |= _constant(colors)
        columns = columns | dict(properties or {})
        if which is not None:
            columns = {name: column[which] for name, column in columns.items()}
        points = np.stack([columns[axis] for axis in "xyz"], axis=1)
        # Positions of another type than f32 keep it.
        write_ply(target, points, properties=columns)


def read_splat_file(path: str | pathlib.Path) -> SplatFile:
    """Read Gaussians of any format, to be written again.

    Raises:
      InputError: as `formats.read_splats`.
    """
    path = pathlib.Path(path)
    splats = read_splats(path)
    if path.suffix.lower() == ".spz":
        splats = half_turn(splats)
    if not is_plain_ply(path):
        return SplatFile(path, splats, plain_columns(splats))
    vertex = read_elements(path)["vertex"]
    return SplatFile(
        path, splats, {n: c for n, c in vertex.items() if isinstance(c, np.ndarray)}
    )


def _constant(
    colors: UInt8[np.ndarray, "G 3"],
) -> dict[str, Float32[np.ndarray, " G"]]:
    """Return the constant harmonics of colours."""
    levels = (np.arange(256) / 255 - 0.5) / C0
    return {f"f_dc_{i}": levels.astype(np.float32)[c] for i, c in enumerate(colors.T)}
