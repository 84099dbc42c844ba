"""A teacher from outside of the package: what it does wrong is told as its own fault.

The package's own models are tested; of one that a user wrote nothing is known. What it
raises, and what breaks its contract, becomes one line that names it.
"""

import functools
import pathlib
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sas_jax.errors import ContractError, InputError
from sas_jax.teachers.contracts import Segments, TeacherSpec, check_masks

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_METHOD = {"dense": "features", "mask": "segment", "heat": "heat"}


def load_own(name: str, contract: str, load: Callable[[], Any]) -> Any:
    """Load a teacher of a user's; its methods are checked at every call.

    Args:
      name: in the registry.
      contract: dense, mask or heat.
      load: returns the teacher.

    Returns:
      The teacher.

    Raises:
      InputError: for what loading raises, and what is not of the contract.
    """
    teacher = _called(load, f"teacher: {name} must load")
    spec, method = getattr(teacher, "spec", None), _METHOD[contract]
    if not isinstance(spec, TeacherSpec) or not hasattr(teacher, method):
        raise InputError(
            f"teacher: {name} must have a TeacherSpec, `spec`, and `{method}`, got "
            f"{type(teacher).__name__}. See teachers/contracts.py."
        )
    if spec.contract != contract:
        raise InputError(
            f"teacher: {name} must be {contract}, as it was added, got {spec.contract} "
            "in its spec. Correct either."
        )
    own = getattr(teacher, method)
    setattr(teacher, method, functools.partial(_look, name, teacher, contract, own))
    encode = getattr(teacher, "encode_text", None)
    if encode is not None:
        must = f"teacher: {name}.encode_text must encode texts"
        teacher.encode_text = lambda texts: _called(lambda: encode(texts), must)
    return teacher


def _look(
    name: str,
    teacher: Any,
    contract: str,
    method: Callable,
    images: Sequence[np.ndarray],
    *more: Any,
    **named: Any,
) -> list:
    """Call the method that looks at images, and check what it returns."""
    where = f"teacher: {name}.{_METHOD[contract]}"
    must = f"{where} must look at images of {list(images[0].shape) if images else []}"
    found = _called(lambda: method(images, *more, **named), must)
    if not isinstance(found, list | tuple) or len(found) != len(images):
        count = f" of {len(found)}" if hasattr(found, "__len__") else ""
        raise InputError(
            f"{where} must return a list of {len(images)}, one for each image, got "
            f"{type(found).__name__}{count}. Mend its code."
        )
    for image, each in zip(images, found, strict=True):
        if contract == "mask":
            _check_segments(where, image, each)
        else:
            channels = teacher.spec.feat_dim if contract == "dense" else None
            _check_maps(where, each, channels)
    return list(found)


def _check_maps(where: str, maps: Any, channels: int | None) -> None:
    """Refuse all but finite f16 [h, w, C], or [P, h, w] of a heat teacher."""
    is_right = (
        isinstance(maps, np.ndarray)
        and maps.dtype == np.float16
        and maps.ndim == 3
        and maps.size
        and channels in (None, maps.shape[2])
    )
    if not is_right:
        form = "[P, h, w]" if channels is None else f"[h, w, {channels}]"
        kind = f"{type(maps).__module__}.{type(maps).__name__}"
        got = f"{kind} {getattr(maps, 'dtype', '')} {list(getattr(maps, 'shape', ()))}"
        raise InputError(
            f"{where} must return numpy float16 {form} for each image, got {got}. Mend "
            "its code."
        )
    if not (finite := np.isfinite(maps)).all():
        raise InputError(
            f"{where} must return finite numbers, got {int((~finite).sum())} of "
            f"{maps.size} that are NaN or beyond float16. Mend its code."
        )


def _check_segments(where: str, image: np.ndarray, segments: Any) -> None:
    if not isinstance(segments, Segments):
        raise InputError(
            f"{where} must return Segments, got {type(segments).__name__}. Mend its "
            "code; see teachers/contracts.py."
        )
    try:
        check_masks(image, segments, where)
    except ContractError as error:
        raise InputError(str(error)) from error


def _called(call: Callable[[], Any], must: str) -> Any:
    """Return what a user's code returns; what it raises is told with its place."""
    try:
        return call()
    except (InputError, MemoryError):
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"{must}, got {what} ({_place(error)}). Mend its code; --debug shows the "
            "traceback."
        ) from error


def _place(error: Exception) -> str:
    """Return file and line of the user's code that an error passed last."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    package = str(pathlib.Path(__file__).resolve().parent.parent)
    told = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((package, "<"))
        and "site-packages" not in frame.filename
    ]
    return told[-1] if told else "outside of its file"
