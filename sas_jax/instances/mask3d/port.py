"""Published weights of Mask3D as flax variables, complete or refused by name.

A Lightning checkpoint keeps the network under `model.` and beside it the weights of
the classes in the loss. Arrays are copied as they lie, never transposed.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from sas_jax.artefacts.torch_files import read_torch
from sas_jax.errors import InputError
from sas_jax.instances.mask3d.config import SCANNET200, Mask3DConfig
from sas_jax.instances.mask3d.network import Mask3D
from sas_jax.instances.mask3d.scenes import VoxelScene, make_batch
from sas_jax.models.port import STEPS, Path, check_shapes, path_of, shapes_by_name
from sas_jax.sparse.rungs import exact_rung

LIGHTNING = "model."
_CLASS_WEIGHTS = "criterion.empty_weight"
_BACKBONE = "backbone"
UNUSED = ("backbone.final.kernel", "backbone.final.bias")
_CLASSES = "class_embed_head.weight"
_NUMBER = re.compile(r"_(\d+)")


def read_lightning(
    path: str | os.PathLike, config: Mask3DConfig = SCANNET200
) -> tuple[Mask3DConfig, dict[str, Any]]:
    """Return the network of a published checkpoint; nothing of the file is run.

    Args:
      path: a Lightning checkpoint, or the network's state dict alone.
      config: sizes and options; the number of classes is the file's.

    Returns:
      The configuration with that number, and variables of `Mask3D`.

    Raises:
      InputError: for a damaged file, and naming the arrays that are missing,
        unexpected or of another shape.
    """
    content = read_torch(path, strangers=True)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    state = state if isinstance(state, dict) else {}
    arrays = {
        name: array
        for name, array in state.items()
        if isinstance(name, str) and isinstance(array, np.ndarray)
    }
    if not arrays or len(arrays) < len(state):
        others = [str(name) for name in state if name not in arrays]
        raise InputError(
            "mask3d: a checkpoint with the arrays of a network is required, got "
            f"{', '.join(others[:8]) or 'none'} ({path}). Give a published checkpoint "
            "of Mask3D."
        )
    classes = _plain_names(arrays, path).get(_CLASSES)
    if classes is not None and classes.ndim == 2 and len(classes):
        config = dataclasses.replace(config, num_classes=len(classes))
    return config, from_state(arrays, config, path)


def from_state(
    state: Mapping[str, np.ndarray], config: Mask3DConfig, where: object = None
) -> dict[str, Any]:
    """Return flax variables with the arrays of the original's state dict.

    Args:
      state: arrays by original name, with or without `model.` before them. The class
        weights of the loss, counters of norms and the backbone's last layer, which
        nothing uses, are checked and dropped.
      config: of the network.
      where: names the file in errors.

    Raises:
      InputError: naming what is missing, unexpected or of another shape.
    """
    arrays = _plain_names(state, where)
    named = _named(config)
    expected = original_shapes(config)
    last = arrays.get(UNUSED[0])
    # Any number: classes of a pretraining.
    outputs = last.shape[1] if last is not None and last.ndim == 2 else 0
    width = config.backbone.widths[-1]
    expected |= {UNUSED[0]: (width, outputs), UNUSED[1]: (1, outputs)}
    if any(name.startswith(LIGHTNING) for name in state):
        expected[_CLASS_WEIGHTS] = (config.num_classes,)
    got = {name: np.shape(array) for name, array in arrays.items()}
    remedy = "Check num_classes and the options of the network."
    check_shapes(got, expected, where, of="the configured Mask3D", remedy=remedy)
    flat = {
        path: np.asarray(arrays[name], np.float32)
        for name, (path, _) in named.items()
        if path is not None
    }
    return flax.traverse_util.unflatten_dict(flat)


def original_shapes(config: Mask3DConfig) -> dict[str, tuple[int, ...]]:
    """Return the original name and shape of every array of the configured network.

    Without the backbone's last layer, which no output depends on.
    """
    return {name: shape for name, (_, shape) in _named(config).items()}


@functools.cache
def _named(config: Mask3DConfig) -> dict[str, tuple[Path | None, tuple[int, ...]]]:
    """Return original name -> flax path, None for a counter of steps, and shape."""
    flat = flax.traverse_util.flatten_dict(variable_shapes(config))
    named: dict[str, tuple[Path | None, tuple[int, ...]]] = {}
    unet = {(p[0], *p[2:]): leaf for p, leaf in flat.items() if p[1] == _BACKBONE}
    for name, shape in shapes_by_name(unet).items():
        kind, *rest = (None,) if name.endswith(STEPS) else path_of(name)
        path = None if kind is None else (kind, _BACKBONE, *rest)
        named[f"{_BACKBONE}.{name}"] = (path, shape)
    for path, leaf in flat.items():
        if path[1] != _BACKBONE:
            parts = (_NUMBER.sub(r".\1", part) for part in path[1:])
            named[".".join(parts)] = (path, tuple(leaf.shape))
    return named


@functools.cache
def variable_shapes(config: Mask3DConfig) -> dict[str, Any]:
    """Return the variables of the network as shapes, without computing anything."""
    one = np.zeros((1, 3), np.float32)
    scene = VoxelScene(np.zeros((1, 3), np.int32), one, one)
    rung = exact_rung((1,) * config.plan_spec.num_levels)
    scenes = make_batch([scene], config.plan_spec, rung).scenes
    return jax.eval_shape(Mask3D(config).init, jax.random.key(0), scenes)


def _plain_names(
    state: Mapping[str, np.ndarray], where: object
) -> dict[str, np.ndarray]:
    """Return a state dict by names without `model.`; refuses one name twice."""
    plain = {name.removeprefix(LIGHTNING): array for name, array in state.items()}
    if len(plain) < len(state):
        raise InputError(
            f"checkpoint: every array once is required, got {len(state)} under "
            f"{len(plain)} names ({where}). Save one network alone."
        )
    return plain
