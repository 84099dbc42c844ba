"""Instances on disk: one `.npz` of a scene, which numpy alone can read.

`masks` u8 [K, ceil(P / 8)], `numpy.packbits(masks, axis=1)`; `num_points`, P; `scores`
f32 or f64 [K]; `classes` i32 [K], index into `class_names`, -1 = no class. Strings:
`geometry` of the points, `key` of what they were made from, `schema` of the layout.
"""

import io
import os
import pathlib

import numpy as np
from jaxtyping import Float

from sas_jax.artefacts.array_files import DamagedArrays, read_npz
from sas_jax.artefacts.features import geometry_of
from sas_jax.artefacts.files import atomic_path
from sas_jax.errors import ContractError, InputError
from sas_jax.instances.masks import NO_CLASS, Instances, check_same_points

SCHEMA = "sas_jax.instances/1"


def save_instances(
    path: str | os.PathLike,
    instances: Instances,
    *,
    points: Float[np.ndarray, "P 3"] | None = None,
    key: str = "",
) -> None:
    """Write instances as `.npz`, atomically.

    Args:
      path: ends in `.npz`.
      instances: to be written.
      points: the scene's, to be compared by readers.
      key: content key of what they were made from.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    data = io.BytesIO()
    np.savez_compressed(
        data,
        masks=instances.packed,
        num_points=np.int64(instances.num_points),
        scores=instances.scores,
        classes=instances.classes,
        class_names=np.array(instances.class_names, np.str_),
        geometry=np.str_("" if points is None else geometry_of(points)),
        key=np.str_(key),
        schema=np.str_(SCHEMA),
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.getvalue())


def load_instances(
    path: str | os.PathLike, points: Float[np.ndarray, "P 3"] | None = None
) -> Instances:
    """Read instances.

    Args:
      path: as `save_instances` wrote it; a file of others needs `masks`, `num_points`
        and `scores` alone.
      points: the scene that they are for, to be compared; None compares nothing.

    Raises:
      InputError: for a file that is absent, damaged or of another layout, and for
        masks of other points.
    """
    path = pathlib.Path(path)
    arrays = _arrays(path)
    try:
        unnamed = np.full(len(arrays["scores"]), NO_CLASS)
        classes = np.asarray(arrays.get("classes", unnamed))
        if classes.dtype.kind not in "iu":
            raise ContractError(f"integer classes are required, got {classes.dtype}.")
        found = Instances(
            arrays["masks"],
            int(arrays["num_points"]),
            arrays["scores"],
            classes.astype(np.int32),
            tuple(arrays.get("class_names", np.zeros(0, np.str_)).tolist()),
        )
    except (ContractError, TypeError, ValueError) as error:
        raise _wrong(f"{error}".removesuffix("."), path) from error
    if points is not None:
        _check_points(found, points, str(arrays.get("geometry", "")), path)
    return found


def is_current(path: str | os.PathLike, key: str) -> bool:
    """Tell whether a file of instances is whole and was made from `key`."""
    path = pathlib.Path(path)
    try:
        return path.exists() and str(_arrays(path).get("key", "")) == key
    except InputError:
        return False


def _arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise InputError(
            f"instances: a file must exist, got none ({path}). Correct the path."
        )
    try:
        arrays = read_npz(path)
    except DamagedArrays as error:
        raise _wrong(f"a whole .npz file is required, got {error}", path) from error
    if missing := {"masks", "num_points", "scores"} - arrays.keys():
        raise _wrong(
            f"masks, num_points and scores are required, got no "
            f"{', '.join(sorted(missing))}",
            path,
        )
    return arrays


def _check_points(
    found: Instances,
    points: Float[np.ndarray, "P 3"],
    geometry: str,
    path: pathlib.Path,
) -> None:
    check_same_points(found, len(points), path)
    if geometry and geometry != geometry_of(points):
        raise InputError(
            f"instances: masks over the scene's points in their order are required, "
            f"got those of another geometry ({path}). The scene has changed: predict "
            "again."
        )


def _wrong(what: str, path: pathlib.Path) -> InputError:
    return InputError(f"instances: {what} ({path}). Make the file again.")
