"""Porting of MinkowskiEngine checkpoints to and from flax variables.

A name such as `block2.0.downsample.1.bn.running_var` corresponds to the path
`("batch_stats", "block2_0", "shortcut_norm", "var")`; kernels keep their layout, so
porting copies arrays and never transposes them. Every array on either side must find
its partner of the same shape, else nothing is returned.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from sas_jax.errors import InputError
from sas_jax.models.config import StudentConfig
from sas_jax.models.init import variable_shapes

PREFIXES = ("module.net3d.", "net3d.")
STEPS = "num_batches_tracked"
"""End of the name of a norm's counter of training steps."""
_LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
    "kernel": ("params", "kernel"),
}
_SHORTCUT = {"0": "shortcut", "1": "shortcut_norm"}

Path = tuple[str, ...]


def from_minkowski(
    state: Mapping[str, np.ndarray], config: StudentConfig, where: object = None
) -> dict[str, Any]:
    """Return flax variables with the arrays of a MinkowskiEngine state dict.

    Args:
      state: arrays by original name, with or without one of `PREFIXES`; the counters
        `num_batches_tracked` are checked for and dropped, since they have no effect
        at a fixed momentum.
      config: the student that the checkpoint is for.
      where: names the file in errors, where there is one.

    Returns:
      {"params": ..., "batch_stats": ...} of float32 arrays.

    Raises:
      InputError: if names are missing or unexpected or shapes differ, naming them.
    """
    arrays = stripped(state)
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    check_shapes(shapes, minkowski_shapes(config), where)
    flat = {
        path_of(name): np.asarray(array, np.float32)
        for name, array in arrays.items()
        if not name.endswith(STEPS)
    }
    return flax.traverse_util.unflatten_dict(flat)


def to_minkowski(
    variables: Mapping[str, Any], config: StudentConfig, *, prefix: str = ""
) -> dict[str, np.ndarray]:
    """Return a MinkowskiEngine state dict with the arrays of flax variables.

    Args:
      variables: {"params": ..., "batch_stats": ...}.
      config: the student they belong to.
      prefix: put before every name, for example "net3d.".

    Returns:
      float32 arrays by original name; the counters `num_batches_tracked` are 0.

    Raises:
      InputError: if variables are missing or unexpected, or shapes differ.
    """
    flat = flax.traverse_util.flatten_dict(
        {kind: dict(variables.get(kind, {})) for kind in ("params", "batch_stats")}
    )
    expected = minkowski_shapes(config)
    paths = {path_of(name): name for name in expected if not name.endswith(STEPS)}
    shapes = {paths.get(p, "/".join(p)): np.shape(a) for p, a in flat.items()}
    check_shapes(shapes, {name: expected[name] for name in paths.values()})
    state = {}
    for name in expected:
        if name.endswith(STEPS):
            state[prefix + name] = np.zeros((), np.int64)
        else:
            state[prefix + name] = np.asarray(flat[path_of(name)], np.float32)
    return state


@functools.cache
def minkowski_shapes(config: StudentConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every array in the original state dict."""
    return shapes_by_name(flax.traverse_util.flatten_dict(variable_shapes(config)))


def shapes_by_name(flat: Mapping[Path, Any]) -> dict[str, tuple[int, ...]]:
    """Return the original names and shapes of a U-Net's variables by flax path."""
    shapes = {}
    for path in flat:
        if path[-1] in ("kernel", "scale"):
            shapes.update(_module_shapes(path, flat))
    return shapes


def _module_shapes(path: Path, flat: Mapping[Path, Any]) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the original module that holds a flax parameter."""
    module = _module_name(path[1:-1])
    shape = tuple(flat[path].shape)
    if path[-1] == "kernel":
        return {f"{module}.kernel": shape}
    names = {f"{module}.bn.{leaf}": shape for leaf in _LEAVES if leaf != "kernel"}
    return names | {f"{module}.bn.{STEPS}": ()}


def _module_name(modules: Path) -> str:
    """Return `block2.0.downsample.1` for ("block2_0", "shortcut_norm")."""
    if len(modules) == 1:
        return modules[0]
    block, layer = modules
    inverse = {new: f"downsample.{old}" for old, new in _SHORTCUT.items()}
    return f"{block.replace('_', '.')}.{inverse.get(layer, layer)}"


def path_of(name: str) -> Path:
    """Return the flax path of an original name."""
    module, _, leaf = name.removesuffix(".kernel").partition(".bn.")
    kind, leaf = _LEAVES[leaf or "kernel"]
    parts = module.split(".")
    if len(parts) == 1:
        return (kind, module, leaf)
    layer = _SHORTCUT[parts[3]] if parts[2] == "downsample" else parts[2]
    return (kind, f"{parts[0]}_{parts[1]}", layer, leaf)


def stripped(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a state dict by names without prefix.

    Raises:
      InputError: where two names differ by their prefix alone.
    """
    plain = {_strip(name): array for name, array in state.items()}
    if len(plain) < len(state):
        raise InputError(
            f"checkpoint: every array once is required, got {len(state)} under "
            f"{len(plain)} names. Save one network alone."
        )
    return plain


def _strip(name: str) -> str:
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def check_shapes(
    got: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    where: object = None,
    *,
    of: str = "the configured student",
    remedy: str = "Check arch, in_channels and out_dim.",
) -> None:
    """Check that arrays are all there, of the right shapes, and no others.

    Args:
      got: shape of each array by name.
      expected: the same, as it must be.
      where: names the file in the error, where there is one.
      of: what the arrays belong to.
      remedy: what to do about it.

    Raises:
      InputError: naming what is missing, unexpected or of another shape.
    """
    missing = [f"{name} {list(expected[name])}" for name in expected if name not in got]
    unexpected = [f"{name} {list(got[name])}" for name in got if name not in expected]
    differing = [
        f"{name} {list(got[name])} instead of {list(expected[name])}"
        for name in got
        if name in expected and tuple(got[name]) != tuple(expected[name])
    ]
    found = {"missing": missing, "unexpected": unexpected, "other shape": differing}
    problems = [f"{what}: {_listed(names)}" for what, names in found.items() if names]
    if problems:
        raise InputError(
            f"checkpoint: the arrays of {of} are required, got "
            f"{'; '.join(problems)}{'' if where is None else f' ({where})'}. {remedy}"
        )


def _listed(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
