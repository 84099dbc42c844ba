"""Call the native kernels from XLA: registration, and marking under `shard_map`.

A custom call has no type rule of its own for values that vary over devices; all
operands of one must vary alike, and its results vary like them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sas_jax import native_library

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

# By platform of `native_library`: XLA's name of it, and the operations that it has.
_HANDLERS = {
    "cpu": (
        "cpu",
        {
            "sas_conv_forward": "SasConvForward",
            "sas_conv_weight_grad": "SasConvWeightGrad",
            "sas_moments": "SasMoments",
            "sas_normalize": "SasNormalize",
            "sas_normalize_bf16": "SasNormalizeBf16",
            "sas_normalize_sums": "SasNormalizeSums",
            "sas_normalize_grad": "SasNormalizeGrad",
            "sas_gauss_forward": "SasGaussForward",
            "sas_gauss_feature_grad": "SasGaussFeatureGrad",
            "sas_gauss_ellipse_grad": "SasGaussEllipseGrad",
        },
    ),
    "cuda": (
        "CUDA",
        {
            "sas_conv_forward": "SasConvForward",
            "sas_conv_weight_grad": "SasConvWeightGrad",
            "sas_neighbours": "SasNeighbours",
        },
    ),
}
_PLATFORMS = {"cpu": "cpu", "gpu": "cuda"}


def is_available(target: str) -> bool:
    """Say whether an operation can run on JAX's default platform."""
    platform = _PLATFORMS.get(jax.default_backend())
    if platform is None or target not in _HANDLERS[platform][1]:
        return False
    return native_library.load(platform) is not None


def call(
    target: str,
    shapes: tuple[tuple[int, ...], ...],
    *operands: Array,
    dtype: jnp.dtype | tuple[jnp.dtype, ...] = jnp.float32,
    **attributes: bool | float | str,
) -> list[Array]:
    """Run one native operation; under vmap once for each.

    Args:
      target: name of the operation.
      shapes: shapes of its results.
      operands: arrays, as the handler in kernels/ lists them.
      dtype: type of its results, or one for each.
      attributes: flags and settings of the operation.

    Raises:
      InputError: if the native library is not there.
    """
    _register()
    dtypes = dtype if isinstance(dtype, tuple) else (dtype,) * len(shapes)
    results = list(map(jax.ShapeDtypeStruct, shapes, dtypes))
    settings = {name: _attribute(value) for name, value in attributes.items()}
    axes = varying_axes(operands)
    operands = mark_varying(operands, axes)
    run = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    return mark_varying(run(*operands, **settings), axes)


def _attribute(value: bool | float | str) -> np.generic | str:
    """Return a numpy scalar or text: XLA has no type for Python's bool and float."""
    if isinstance(value, str):
        return value
    return np.bool_(value) if isinstance(value, bool) else np.float32(value)


def vary_alike(*operands: Any) -> tuple[Any, ...]:
    """Mark all operands as varying over the same axes of a `shard_map`.

    Done before differentiation: the sum over devices that the gradient of replicated
    weights needs is then added by JAX.
    """
    return mark_varying(operands, varying_axes(operands))


def varying_axes(tree: Any) -> frozenset[str]:
    """Return the mapped axes over which any array of a tree varies."""
    return frozenset().union(*map(_varying_axes, jax.tree.leaves(tree)))


def mark_varying(tree: Any, axes: frozenset[str]) -> Any:
    """Return the arrays of a tree typed as varying over all of these axes."""

    def mark(array: Array) -> Array:
        missing = tuple(sorted(axes - _varying_axes(array)))
        return jax.lax.pcast(array, missing, to="varying") if missing else array

    return jax.tree.map(mark, tree)


def _varying_axes(array: Array) -> frozenset[str]:
    kind = jax.typeof(array)
    # The name of this attribute depends on the version of JAX.
    axes = kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying
    return frozenset(axes)


@functools.cache
def _register() -> None:
    """Tell XLA about the handlers, the first time that one is needed.

    Those of all libraries that are there: a program may be lowered for a platform that
    is not the default one.
    """
    native_library.require(_PLATFORMS.get(jax.default_backend(), "cpu"))
    for platform, (xla_name, symbols) in _HANDLERS.items():
        library = native_library.load(platform)
        if library is None:
            continue
        for target, symbol in symbols.items():
            handler = jax.ffi.pycapsule(getattr(library, symbol))
            jax.ffi.register_ffi_target(target, handler, platform=xla_name)
