"""A student as one file: its arrays and its card.

Kernels are f16, all else f32; of a student from elsewhere, which must be given back as
it came, kernels are f32 too.

Kernels are nearly all of the bytes, and half an ulp of f16 is 2^-11 of a value: far
below what a step of training moves. Biases, scales and statistics stay as they are:
they are few, and a variance may exceed the range of f16.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree, Shaped

from sas_jax.artefacts.files import atomic_write, content_key
from sas_jax.errors import DamagedFile, InputError
from sas_jax.models.config import StudentConfig
from sas_jax.models.init import variable_shapes
from sas_jax.models.port import check_shapes
from sas_jax.models.student import Student
from sas_jax.models.student_card import (
    SUFFIX,
    StudentCard,
    from_metadata,
    to_metadata,
    unreadable,
)
from sas_jax.stages import command

_TEXTS = "text_features"

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]


def card_of(
    student: Student, *, data: str = "", scores: Mapping[str, float] | None = None
) -> StudentCard:
    """Return the card of a student.

    Args:
      student: trained.
      data: what it was trained on, a line for people.
      scores: measured ones, percent.
    """
    return StudentCard(
        arch=student.config.arch,
        in_channels=student.config.in_channels,
        out_dim=student.config.out_dim,
        voxel_size_m=float(student.voxel_size_m),
        text_space=student.text_space,
        class_names=tuple(student.class_names),
        steps=student.step,
        data=data,
        scores={name: float(value) for name, value in (scores or {}).items()},
    )


def write_student(
    path: str | os.PathLike,
    student: Student,
    *,
    data: str = "",
    scores: Mapping[str, float] | None = None,
    exact: bool = False,
) -> None:
    """Write a student atomically; equal students give equal bytes.

    Args:
      path: ends in `.safetensors`.
      student: trained.
      data: what it was trained on, a line for people.
      scores: measured ones, percent.
      exact: keep every bit of the kernels, at twice the size.

    Raises:
      InputError: for another ending, arrays that are not this network's, or values
        that are not finite or beyond the range of f16, naming them.
    """
    if pathlib.Path(path).suffix != SUFFIX:
        raise InputError(
            f"student: a file that ends in {SUFFIX} is required, got {path}. "
            "Correct the name."
        )
    arrays = _flat(student.variables)
    check_shapes(_shapes(arrays), _expected(student.config), path)
    stored = {name: _stored(name, array, exact) for name, array in arrays.items()}
    stored[_TEXTS] = np.ascontiguousarray(student.text_features, np.float32)
    card = card_of(student, data=data, scores=scores)
    header = to_metadata(card, content_key(stored))
    atomic_write(path, safetensors.numpy.save(stored, header))


def read_student(path: str | os.PathLike) -> Student:
    """Read a student's file; every array is f32 again.

    Raises:
      DamagedFile: when there is no such file, it is cut short or was changed.
      InputError: for another kind of file, or arrays that are missing, unexpected or
        of another shape than the card's network has, naming them.
    """
    stored, metadata = _read(path)
    card, checksum = from_metadata(metadata, path)
    try:
        config = StudentConfig(card.arch, card.in_channels, card.out_dim)
    except InputError as error:
        raise InputError(f"{error} ({path})") from error
    expected = _expected(config)
    expected[_TEXTS] = (len(card.class_names), card.out_dim)
    check_shapes(_shapes(stored), expected, path)
    if content_key(stored) != checksum:
        raise DamagedFile(
            f"student: the checksum must match the arrays, got a changed file ({path})."
            " Copy or write it again."
        )
    arrays = {name: array.astype(np.float32) for name, array in stored.items()}
    texts = arrays.pop(_TEXTS)
    return Student(
        config=config,
        variables=flax.traverse_util.unflatten_dict(arrays, sep="/"),
        voxel_size_m=card.voxel_size_m,
        text_features=texts,
        text_space=card.text_space,
        class_names=card.class_names,
        step=card.steps,
    )


def _read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], Any]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            for name in names:
                _check_dtype(name, file.get_slice(name).get_dtype(), path)
            return {name: file.get_tensor(name) for name in names}, file.metadata()
    except (OSError, safetensors.SafetensorError) as error:
        raise unreadable(path, error) from error


def _check_dtype(name: str, dtype: str, path: object) -> None:
    if dtype not in ("F16", "F32"):
        raise InputError(
            f"student: arrays of F16 or F32 are required, got {dtype} of {name} "
            f"({path}). Write the file again: {command('export_student')}"
        )


def _stored(name: str, array: Shaped[np.ndarray, "..."], exact: bool) -> np.ndarray:
    """Return an array as the file holds it."""
    array = np.ascontiguousarray(array, np.float32)
    with np.errstate(over="ignore"):
        half = array.ndim > 1 and not exact
        stored = array.astype(np.float16) if half else array
    if not np.isfinite(stored).all():
        largest = np.abs(array).max()
        raise InputError(
            f"student: finite values are required, up to {np.finfo(np.float16).max:g} "
            f"in kernels, got up to {largest:g} in {name}. Train it again with a "
            "smaller --learning_rate."
        )
    return stored


def _flat(variables: PyTree) -> dict[str, np.ndarray]:
    flat = flax.traverse_util.flatten_dict(dict(variables), sep="/")
    return {name: np.asarray(array) for name, array in flat.items()}


def _shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _expected(config: StudentConfig) -> dict[str, tuple[int, ...]]:
    flat = flax.traverse_util.flatten_dict(variable_shapes(config), sep="/")
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}
