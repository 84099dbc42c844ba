"""Files of answers: heat maps for viewers, regions, Gaussians that are cut out."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import students
from PIL import Image

from sas_jax.artefacts.features import Features, geometry_of, load_features
from sas_jax.artefacts.files import atomic_path, atomic_write, content_key
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.evaluation.query import Region
from sas_jax.gaussians.files.ply import is_plain_ply
from sas_jax.gaussians.files.rewrite import SplatFile, read_splat_file
from sas_jax.gaussians.files.sidecar import sidecar_of
from sas_jax.scenes.ply_write import write_ply
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.graph import vertex_normals
from sas_jax.view.pictures import heat_colors, render_views

_ENDINGS = (".ply", "_cut.ply", "_view0.png", "_view1.png")


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


def write(
    path: pathlib.Path,
    scene: Scene,
    splats: SplatFile | None,
    values: np.ndarray,
    found: list[Region],
    most: int,
    score: str,
) -> None:
    """Write the heat map, and cut the best regions out of Gaussians.

    Where nothing answers, files of an older answer are taken away.

    Args:
      path: without an ending.
      scene: that was asked.
      splats: those that its points are the centres of; None for another scene.
      values: heat of each point.
      found: regions, best first.
      most: so many of them are cut out, together.
      score: what heat and scores are, "probability" or "relevancy".
    """
    cloud, cut, *views = (path.with_name(path.name + ending) for ending in _ENDINGS)
    if not found:
        for file in (cloud, cut, *views):
            file.unlink(missing_ok=True)
        return
    values = np.nan_to_num(values, nan=0.0)
    low, high = (0.0, 0.5) if score == "probability" else (0.2, 0.7)
    heat = heat_colors(values, low=low, high=max(high, float(values.max())))
    properties = {score: values.astype(np.float32)}
    if splats is not None:
        splats.write(cloud, colors=heat, properties=properties)
        cut.unlink(missing_ok=True)
        if answer := [region.points for region in found[:most]]:
            splats.write(cut, which=np.unique(np.concatenate(answer)))
    else:
        write_ply(
            cloud,
            scene.points,
            colors=heat,
            faces=scene.faces,
            properties=properties,
            origin=scene.origin,
        )
    normals = scene.normals
    if normals is None and scene.faces is not None:
        normals = vertex_normals(scene.points, scene.faces)
    drawn = render_views(scene.points, heat, normals=normals)
    for file, view in zip(views, drawn, strict=True):
        with atomic_path(file) as temporary:
            Image.fromarray(view).save(temporary, "PNG")


def note(
    path: pathlib.Path,
    text: str,
    who: str,
    scan: Scan,
    scene: Scene,
    found: list[Region],
    score: str,
) -> None:
    """Write the regions, best first, in the coordinates of the input."""
    regions = [
        {
            score: round(region.score, 4),
            "center_m": np.round(region.center_m + scene.origin, 4).tolist(),
            "size_m": np.round(region.size_m, 4).tolist(),
            "points": len(region.points),
        }
        for region in found
    ]
    answer = {
        "text": text,
        "scan": str(scan.path.absolute()),
        "answered_by": who,
        "regions": regions,
    }
    atomic_write(path, json.dumps(answer, indent=1, ensure_ascii=False).encode())


def slug(text: str) -> str:
    """Return a file name of a question, another one for every question."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60]
    if plain and plain.replace("_", " ") == text.lower():
        return plain
    return "_".join(part for part in (plain, content_key(text)[:8]) if part)
