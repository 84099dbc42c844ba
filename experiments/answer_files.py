"""What a file of Gaussians brings to answers, and the names of files of answers."""

import dataclasses
import pathlib
import re

import students

from sas_jax.artefacts.features import Features, geometry_of, load_features
from sas_jax.artefacts.files import content_key
from sas_jax.errors import InputError
from sas_jax.gaussians.files.ply import is_plain_ply
from sas_jax.gaussians.files.rewrite import SplatFile, read_splat_file
from sas_jax.gaussians.files.sidecar import sidecar_of
from sas_jax.scenes.scene import Scene


def opened(path: pathlib.Path, scene: Scene) -> SplatFile | None:
    """Return the Gaussians of a scan that is a file of them, None for another scan.

    Raises:
      InputError: for points of the scene that are not one for each Gaussian.
    """
    if not (path.is_file() and is_plain_ply(path)):
        return None
    file = read_splat_file(path)
    if len(scene.points) != len(file.splats):
        raise InputError(
            f"query: a point for each of {len(file.splats)} Gaussians is required, got "
            f"{len(scene.points)} ({path}). Leave --thin_m out."
        )
    return file


def beside(path: pathlib.Path) -> pathlib.Path | None:
    """Return the features that label_splats.py left beside a file; None without."""
    found = sidecar_of(path)
    return found if found.is_file() else None


def of_gaussians(student: str, splats: SplatFile, scene: Scene) -> Features:
    """Return what a student of Gaussians says, as features of their scene's points."""
    features = students.splat_features(student, splats)
    return dataclasses.replace(features, geometry=geometry_of(scene.points))


def lifted(path: pathlib.Path, splats: SplatFile, scene: Scene) -> Features:
    """Return features of Gaussians as those of their scene's points.

    Args:
      path: of features that were lifted onto them.
      splats: in the order of the scene's points.
      scene: their centres, upright and in metres.

    Raises:
      InputError: for features of other Gaussians.
    """
    features = load_features(path, splats.splats.means)
    return dataclasses.replace(features, geometry=geometry_of(scene.points))


def slug(text: str) -> str:
    """Return a file name of a question, another one for every question."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60]
    if plain and plain.replace("_", " ") == text.lower():
        return plain
    return "_".join(part for part in (plain, content_key(text)[:8]) if part)
