"""Gaussians of gsplat's trainer: its checkpoints, and .npz files of the same arrays."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sas_jax.artefacts.array_files import DamagedArrays
from sas_jax.artefacts.array_files import read_npz as read_npz_file
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.errors import InputError
from sas_jax.gaussians.files.activations import opacity_of_logit, scale_of_log
from sas_jax.gaussians.splats import Splats, checked_splats

_SHAPES = {
    "means": (3,),
    "quats": (4,),
    "scales": (3,),
    "opacities": (),
    "sh0": (1, 3),
}


def read_checkpoint(path: pathlib.Path) -> Splats:
    """Read `{'step', 'splats': {...}}` of torch.save; nothing in it is run.

    Raises:
      InputError: for a missing or damaged file, and for another one's checkpoint.
    """
    state = read_torch(path, strangers=True)
    if isinstance(state, Mapping) and isinstance(state.get("splats"), Mapping):
        state = state["splats"]
    return _splats(state, path)


def read_npz(path: pathlib.Path) -> Splats:
    """Read an .npz file of means, quats, scales, opacities, sh0 and shN.

    Raises:
      InputError: for a missing or damaged file, and for other arrays.
    """
    try:
        state = read_npz_file(path)
    except DamagedArrays as error:
        raise InputError(
            f"splat npz: a complete .npz file of numbers is required, got {error} "
            f"({path}). Copy or export it again."
        ) from error
    return _splats(state, path)


def _splats(state: Any, path: pathlib.Path) -> Splats:
    arrays: dict[str, np.ndarray] = {}
    if isinstance(state, Mapping):
        arrays = {n: a for n, a in state.items() if isinstance(a, np.ndarray)}
    missing = [name for name in _SHAPES if name not in arrays]
    if missing:
        raise InputError(
            f"gsplat: arrays {', '.join(_SHAPES)} and shN are required, got "
            f"{', '.join(map(str, arrays)) or 'none'} ({path}). Save gsplat's "
            "parameters `splats`, or export a PLY file."
        )
    num = len(arrays["means"]) if arrays["means"].ndim else 0
    rest = arrays.get("shN", np.zeros((num, 0, 3), np.float32))
    shapes = {name: (num, *shape) for name, shape in _SHAPES.items()}
    shapes["shN"] = (num, rest.shape[1] if rest.ndim == 3 else 0, 3)
    for name, shape in shapes.items():
        got = arrays.get(name, rest)
        if got.shape != shape or got.dtype.kind != "f":
            raise InputError(
                f"gsplat: {name} of shape {list(shape)} is required, got {got.dtype} "
                f"{list(got.shape)} ({path}). Save the arrays of one scene."
            )
    return checked_splats(
        arrays["means"].astype(np.float32),
        scale_of_log(arrays["scales"]),
        arrays["quats"].astype(np.float32),
        opacity_of_logit(arrays["opacities"]),
        np.concatenate([arrays["sh0"], rest], axis=1, dtype=np.float32),
        f"gsplat ({path})",
    )
