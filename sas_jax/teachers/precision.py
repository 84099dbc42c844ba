"""Half precision for any teacher: PyTorch chooses which operations may round.

Weights stay f32; products of matrices and convolutions take halves, sums over many
numbers do not (torch.autocast). Features of half precision have a key of their own.
"""

import contextlib
import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator

import torch

from sas_jax.errors import InputError
from sas_jax.registry import Precision
from sas_jax.teachers.contracts import Teacher

_TYPES = {"bf16": torch.bfloat16, "f16": torch.float16}
_METHODS = ("features", "segment", "heat")

_AnyTeacher = typing.TypeVar("_AnyTeacher", bound=Teacher)


def at_precision(
    teacher: _AnyTeacher, precision: Precision, device: str
) -> _AnyTeacher:
    """Let a teacher look at images in half precision; texts stay f32.

    Args:
      teacher: computes with PyTorch in this process. Its methods and its spec are
        replaced, which names the precision from now on.
      precision: `f32` leaves it as it is.
      device: where its weights are and stay.

    Returns:
      The teacher.
    """
    if precision == "f32":
        return teacher
    for name in _METHODS:
        if hasattr(teacher, name):
            method = _within(getattr(teacher, name), device, _TYPES[precision])
            setattr(teacher, name, method)
    preprocess = {**teacher.spec.preprocess, "precision": precision}
    teacher.spec = dataclasses.replace(teacher.spec, preprocess=preprocess)
    return teacher


def _within(method: Callable, device: str, dtype: torch.dtype) -> Callable:
    kind = device.partition(":")[0]

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        with torch.autocast(kind, dtype=dtype):
            return method(*args, **kwargs)

    return wrapped


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Compute in f32 within a teacher of any precision.

    For what is kept under a key that does not know the precision: vectors of texts.
    """
    with (
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


def check_precision(precision: Precision, device: str) -> None:
    """Check that a device computes in half precision itself, and not by detours.

    Raises:
      InputError: where it does not: it would be slower than f32.
    """
    if precision == "f32" or _is_native(precision, device):
        return
    raise InputError(
        f"registry: a device that computes in {precision} is required, got {device}, "
        "which would be slower than in f32. Leave out --precision or take another one."
    )


def _is_native(precision: Precision, device: str) -> bool:
    if device != "cpu":
        return precision == "f16" or torch.cuda.is_bf16_supported()
    mkldnn = torch.ops.mkldnn
    if precision == "f16":
        return bool(mkldnn._is_mkldnn_fp16_supported())
    # Without the instructions PyTorch emulates bf16.
    return bool(mkldnn._is_mkldnn_bf16_supported() and _has_bf16())


def _has_bf16() -> bool:
    cpu = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())
