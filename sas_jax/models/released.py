"""The students that OpenScene and SAS published: their checkpoint to ours, and back.

    {"epoch", "state_dict": {"module.net3d.<name>": tensor}, "optimizer", "best_iou"}

Which network it is follows from the names and shapes of its arrays.
"""

import collections
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from sas_jax.artefacts.space import TextSpace
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.artefacts.torch_write import write_torch
from sas_jax.errors import InputError
from sas_jax.models.config import ARCHITECTURES, StudentConfig
from sas_jax.models.port import STEPS, from_minkowski, stripped, to_minkowski
from sas_jax.models.student import Student

VERSION = 0
"""It copies arrays; see `artefacts.versions`."""

_STEM, _HEAD = "conv0p1s1.kernel", "final.kernel"
_CONV = re.compile(r"block([1-8])\.(\d+)\.conv1\.kernel")


def read_checkpoint(
    path: str | os.PathLike, voxel_size_m: float, space_of_dim: Mapping[int, TextSpace]
) -> Student:
    """Return the student of a published checkpoint, without classes of its own.

    Args:
      path: as OpenScene and SAS write it, or the state dict alone.
      voxel_size_m: that it was trained with: 0.02 indoors, 0.05 on nuScenes.
      space_of_dim: text space of each dimension of features.

    Raises:
      InputError: for a file that is damaged or holds anything but a whole network of
        theirs, naming the arrays that are missing, unexpected or of another shape.
    """
    state = state_of(read_torch(path), path)
    config = detect(state, path)
    if config.out_dim not in space_of_dim:
        raise InputError(
            "checkpoint: a student of text features is required, of "
            f"{' or '.join(map(str, space_of_dim))} channels, got {config.out_dim} "
            f"({path}). A network of class scores answers no text."
        )
    variables = from_minkowski(state, config, path)
    counts = {int(a) for name, a in state.items() if name.endswith(STEPS)}
    if len(counts) > 1:
        raise InputError(
            f"checkpoint: one number of steps is required, got {sorted(counts)[:4]} in "
            f"the counters of its norms ({path}). Is it of one training run?"
        )
    return Student(
        config=config,
        variables=variables,
        voxel_size_m=voxel_size_m,
        text_features=np.zeros((0, config.out_dim), np.float32),
        text_space=space_of_dim[config.out_dim],
        class_names=(),
        step=max(counts, default=0),
    )


def write_checkpoint(
    path: str | os.PathLike, student: Student, prefix: str = "module.net3d."
) -> None:
    """Write a student as OpenScene and SAS do, without optimiser.

    Args:
      path: ends in `.pth.tar` by custom.
      student: of any architecture of theirs.
      prefix: before every name: "module.net3d.", "net3d." or none.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    state = to_minkowski(student.variables, student.config, prefix=prefix)
    counters = {n: np.array(student.step) for n in state if n.endswith(STEPS)}
    data = {"epoch": 0, "state_dict": {**state, **counters}, "best_iou": 0.0}
    write_torch(path, data)


def state_of(content: Any, where: object) -> dict[str, np.ndarray]:
    """Return the state dict of a checkpoint by the networks' own names.

    Args:
      content: of its file.
      where: names the file in errors.

    Raises:
      InputError: for anything else.
    """
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not state or not isinstance(state, dict):
        raise InputError(
            "checkpoint: a dict with the arrays of a network is required, got "
            f"{type(content).__name__} ({where}). Give the file of a student."
        )
    others = [
        str(name)
        for name, array in state.items()
        if not isinstance(name, str) or not isinstance(array, np.ndarray)
    ]
    if others:
        raise InputError(
            f"checkpoint: an array under every name is required, got something else "
            f"under {', '.join(others[:8])} ({where}). Give the file of a student."
        )
    return stripped(state)


def detect(state: Mapping[str, np.ndarray], where: object) -> StudentConfig:
    """Return the network whose arrays a state dict holds.

    Where blocks are missing or unexpected it is the nearest one, for `from_minkowski`
    to name the difference.

    Args:
      state: arrays by the networks' own names.
      where: names the file in errors.

    Raises:
      InputError: where the first or the last layer is missing.
    """
    absent = [n for n in (_STEM, _HEAD) if n not in state or state[n].ndim < 2]
    if absent:
        names = ", ".join(list(state)[:4])
        raise InputError(
            f"checkpoint: a MinkUNet is required, with {_STEM} and {_HEAD}, got none "
            f"of {' and '.join(absent)} among {len(state)} arrays, e.g. {names} "
            f"({where}). Give the checkpoint of a student."
        )
    found: collections.Counter[tuple[int, int]] = collections.Counter()
    width: dict[int, int] = {}
    for name, array in state.items():
        if match := _CONV.fullmatch(name):
            block = int(match[1])
            found[block, int(match[2])] = 1
            width[block] = array.shape[-1] if array.ndim else 0

    def agreement(arch: str) -> int:
        layers, widths = ARCHITECTURES[arch]
        wanted = {(b, i) for b, n in enumerate(layers, 1) for i in range(n)}
        alike = sum(width.get(b) == w for b, w in enumerate(widths, 1))
        return 4 * alike - len(wanted ^ found.keys())

    return StudentConfig(
        arch=max(ARCHITECTURES, key=agreement),
        in_channels=state[_STEM].shape[-2],
        out_dim=state[_HEAD].shape[-1],
    )
