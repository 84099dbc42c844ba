"""COLMAP reconstructions: a sparse model, its images and, where there is one, its mesh.

    <scan>/sparse/0/ cameras images points3D (.bin or .txt)     images/
           or the three files in `sparse/` or in the folder itself
           fused.ply or meshed-poisson.ply or meshed-delaunay.ply, also in `dense/`

Points are those of the dense cloud or mesh, else of the model; depth is rendered from
them. A point of the model that an image was matched to is seen by it: its own depth
stands at its pixel. Of several models (`sparse/1`), the largest one counts.

A model has neither a unit nor an up: cameras and floors tell (`CaptureDataset`).
"""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Int64

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.datasets.colmap_model import (
    Image,
    Points,
    is_model,
    model_file,
    read_images,
    read_points,
)
from sas_jax.datasets.transforms import names_geometry
from sas_jax.errors import InputError
from sas_jax.scenes.frames import natural_key
from sas_jax.scenes.mesh import Mesh, checked_mesh
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.views import View, ViewFrames

_DENSE = ("fused.ply", "meshed-poisson.ply", "meshed-delaunay.ply")
_IMAGES = ("images", "", "../images", "../../images", "input", "images_2", "images_4")
# Points this many times as far from the middle as most are no part of the scene.
_STRAY = 20
# Images asked for to tell which folder they lie in.
_TRIED = 20


@dataclasses.dataclass(frozen=True)
class Colmap(CaptureDataset):
    """COLMAP reconstructions; see the module and `CaptureDataset`."""

    name: ClassVar = "colmap"
    layout: ClassVar = "<scan>/ with images/ and sparse/0/ of COLMAP"
    needs: ClassVar = ("images/*", "sparse/*")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there is a model, and no transforms that say more."""
        return model_folder(path) is not None and not names_geometry(path)

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the registered images, and the points of the model or better ones."""
        model = model_folder(path)
        if model is None:
            raise InputError(
                "colmap: cameras and images of a model are required, got none in it or "
                f"in its folder sparse ({path}). Check the path."
            )
        images = read_images(model)
        names = sorted({image.name for image in images.values()}, key=natural_key)
        folder = _images_folder(path, names)
        by_name = {image.name: image for image in images.values()}
        views = [_view(by_name[name], folder) for name in names]
        frames = ViewFrames(path, tuple(views), convention="inverse")
        parts = (model_file(model, p) for p in ("cameras", "images", "points3D"))
        index = [file for file in parts if file is not None]
        places = [path / "dense" / "0", path / "dense", path]
        dense = [place / name for name in _DENSE for place in places]
        better = next((file for file in dense if file.is_file()), None)
        if better is not None:
            return Capture(
                frames,
                "surfaces",
                (*index, better),
                functools.partial(read_ply, better),
                scale=None,
            )
        points = functools.cache(lambda: _without_strays(read_points(model), path))
        return Capture(
            frames,
            "surfaces",
            tuple(index),
            lambda: _cloud(points(), model),
            lambda: _tracks(points(), images),
            scale=None,
        )


def model_folder(path: pathlib.Path) -> pathlib.Path | None:
    """Return where the model of a reconstruction lies, None where there is none."""
    sparse = path / "sparse"
    if sparse.is_dir():
        models = [f for f in sorted(sparse.iterdir()) if f.is_dir() and is_model(f)]
        if models:
            return max(models, key=_size)
    return next((place for place in (sparse, path) if is_model(place)), None)


def _size(model: pathlib.Path) -> int:
    file = model_file(model, "images")
    return 0 if file is None else file.stat().st_size


def _images_folder(path: pathlib.Path, names: list[str]) -> pathlib.Path:
    folders = [path / place for place in _IMAGES]
    for folder in folders:
        if any((folder / name).is_file() for name in names[:_TRIED]):
            return folder
    got = f"none of {len(names)}, the first named {names[0]}" if names else "no names"
    raise InputError(
        f"colmap: the images of the model are required, got {got} ({folders[0]}). Put "
        "them there, under the names that the model has."
    )


def _view(image: Image, folder: pathlib.Path) -> View:
    file = folder / image.name
    return View(image.name, image.pose, image.camera, file, files=(file,))


def _cloud(points: Points, model: pathlib.Path) -> Mesh:
    return checked_mesh(points.xyz, f"colmap ({model})", colors=points.rgb)


def _without_strays(points: Points, path: pathlib.Path) -> Points:
    """Leave out what was triangulated far beyond the scene, and say how much.

    Rays that are nearly parallel meet anywhere; one such point a kilometre away makes
    a room too large for voxels.
    """
    if not len(points.xyz):
        return points
    off = np.abs(points.xyz - np.median(points.xyz, axis=0)).max(axis=1)
    most = float(np.median(off))
    near = ~(off > _STRAY * most)
    if near.all() or not most > 0:
        return points
    logging.warning(
        "%s: %d of %d points are left out: they are more than %d times as far from the "
        "middle as most.",
        *(path.name, (~near).sum(), len(near), _STRAY),
    )
    row = np.cumsum(near) - 1
    kept = near[points.track_point]
    return Points(
        points.xyz[near],
        points.rgb[near],
        points.track_image[kept],
        row[points.track_point[kept]],
    )


def _tracks(
    points: Points, images: Mapping[int, Image]
) -> dict[str, Int64[np.ndarray, " N"]]:
    """Return the rows of the points that each image was matched to, by its name."""
    order = np.argsort(points.track_image, kind="stable")
    ids, first = np.unique(points.track_image[order], return_index=True)
    rows = np.split(points.track_point[order], first[1:])
    pairs = zip(ids.tolist(), rows, strict=False)
    return {images[i].name: r for i, r in pairs if i in images}
