"""The PLY files of 3-D Gaussian Splatting, and PlayCanvas' compressed ones.

Source of the layout: Kerbl et al. 2023, "3D Gaussian Splatting": properties x y z,
nx ny nz (unused), f_dc_0..2, f_rest_0..(3K-1) with all K of red, then green, then blue,
opacity (logit), scale_0..2 (logarithm), rot_0..3 (w, x, y, z). Properties are found
by name: writers leave some out, add others and change their order.
"""

import logging
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped

from sas_jax.errors import InputError
from sas_jax.gaussians.files import compressed_ply
from sas_jax.gaussians.files.activations import (
    log_of_scale,
    logit_of_opacity,
    opacity_of_logit,
    scale_of_log,
)
from sas_jax.gaussians.files.columns import planar, side_by_side
from sas_jax.gaussians.splats import COEFFICIENTS, Splats, checked_splats
from sas_jax.scenes.ply_elements import Columns, read_elements
from sas_jax.scenes.ply_write import write_ply

_PLAIN = {
    "means": ("x", "y", "z"),
    "scales": ("scale_0", "scale_1", "scale_2"),
    "rotations": ("rot_0", "rot_1", "rot_2", "rot_3"),
    "opacities": ("opacity",),
}
_DC = ("f_dc_0", "f_dc_1", "f_dc_2")
_UNUSED = ("nx", "ny", "nz")
_HEADER = 1 << 17  # bytes, of hundreds of features
LABEL, FEATURE = "label", "semantic_"
"""Properties of our own: whole numbers, and channels as Feature 3DGS names them."""


def read_ply(path: pathlib.Path) -> Splats:
    """Read a PLY file of Gaussians, plain or compressed, text or binary.

    A whole-numbered property `label` becomes `Splats.labels`, `semantic_0`, ...
    features. What else the file holds is named in a warning.

    Raises:
      InputError: for a missing, damaged or empty file, one of points instead of
        Gaussians, and numbers that make no sense; the file is named.
    """
    try:
        elements = read_elements(path, copy=False)
        if "chunk" in elements:
            return compressed_ply.decode(elements, f"splat ply ({path})")
    except InputError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise InputError(
            "splat ply: a complete PLY file is required, got "
            f"{str(error) or type(error).__name__} ({path}). Copy or export it again."
        ) from error
    return _splats(elements.get("vertex", {}), path)


def _splats(vertex: Columns, path: pathlib.Path) -> Splats:
    columns = {n: c for n, c in vertex.items() if isinstance(c, np.ndarray)}
    required = [name for names in (*_PLAIN.values(), _DC) for name in names]
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(
            f"splat ply: the properties {', '.join(required)} are required, got none "
            f"called {', '.join(missing)} ({path}). Is this a mesh or a point cloud?"
        )
    rest = _counted(columns, "f_rest_", path)
    if len(rest) % 3 or len(rest) // 3 + 1 not in COEFFICIENTS:
        raise InputError(
            f"splat ply: {', '.join(str(3 * k - 3) for k in COEFFICIENTS)} properties "
            f"f_rest_* are required, got {len(rest)} ({path}). Export whole degrees."
        )
    semantic = _counted(columns, FEATURE, path)
    groups = dict(_PLAIN, sh=(*_DC, *planar(rest)))
    if semantic:
        groups["features"] = tuple(semantic)
    labels = columns.get(LABEL)
    known = {*_UNUSED, LABEL}.union(*groups.values())
    left = [name for name in vertex if name not in known]
    if left:
        more = f" and {len(left) - 8} more" if len(left) > 8 else ""
        logging.warning(
            "splat ply: not read: %s%s (%s)", ", ".join(left[:8]), more, path
        )
    got = side_by_side(columns, groups)
    return checked_splats(
        got["means"],
        scale_of_log(got["scales"]),
        got["rotations"],
        opacity_of_logit(got["opacities"][:, 0]),
        got["sh"].reshape(len(got["sh"]), 1 + len(rest) // 3, 3),
        f"splat ply ({path})",
        labels=None if labels is None else labels.astype(np.int32),
        features=got.get("features"),
    )


def _counted(columns: Mapping[str, object], stem: str, path: pathlib.Path) -> list[str]:
    """Return the names stem0, stem1, ... of a file, in order, none left out."""
    names = [name for name in columns if name.removeprefix(stem).isdecimal()]
    wanted = [f"{stem}{i}" for i in range(len(names))]
    if missing := [name for name in wanted if name not in columns]:
        raise InputError(
            f"splat ply: {len(names)} properties {stem}0 .. are required, got none "
            f"called {missing[0]} ({path}). Export the file again."
        )
    return wanted


def write_plain_ply(path: str | pathlib.Path, splats: Splats) -> None:
    """Write the plain layout, which every viewer reads; equal input, equal bytes.

    Labels become an int property `label`, features floats `semantic_*`, behind all
    others: viewers take properties by name and leave these alone. Opacities 0 and 1
    and scales 0, which have no logarithm, are written as numbers that are read back as
    the same f32, or as 1e-38 m.

    Args:
      path: target; written atomically.
      splats: what is written.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    write_ply(path, splats.means, properties=plain_columns(splats))


def plain_columns(splats: Splats) -> dict[str, Shaped[np.ndarray, " G"]]:
    """Return the properties of the plain layout, positions first."""
    num = len(splats)
    rest = splats.sh[:, 1:].transpose(0, 2, 1).reshape(num, 3 * splats.sh.shape[1] - 3)
    blocks = [
        (_PLAIN["means"], splats.means),
        (_UNUSED, np.zeros((num, 3), np.float32)),
        (_DC, splats.sh[:, 0]),
        ([f"f_rest_{i}" for i in range(rest.shape[1])], rest),
        (_PLAIN["opacities"], logit_of_opacity(splats.opacities)[:, None]),
        (_PLAIN["scales"], log_of_scale(splats.scales)),
        (_PLAIN["rotations"], splats.rotations),
    ]
    properties = {
        name: block[:, i] for names, block in blocks for i, name in enumerate(names)
    }
    if splats.labels is not None:
        properties[LABEL] = splats.labels
    if splats.features is not None:
        features = splats.features.astype(np.float32)
        properties |= {f"{FEATURE}{i}": c for i, c in enumerate(features.T)}
    return properties


def is_plain_ply(path: pathlib.Path) -> bool:
    """Tell by its header whether a file is a PLY of Gaussians, not compressed."""
    return {b"f_dc_0", b"scale_0", b"rot_0"} <= _header_words(path)


def is_compressed_ply(path: pathlib.Path) -> bool:
    """Tell by its header whether a file is PlayCanvas' compressed PLY of Gaussians."""
    return {b"chunk", b"packed_position", b"packed_scale"} <= _header_words(path)


def _header_words(path: pathlib.Path) -> set[bytes]:
    if path.suffix.lower() != ".ply":
        return set()
    with path.open("rb") as file:
        return set(file.read(_HEADER).partition(b"end_header")[0].split())
