"""The published file of TAP to our network, whose names are the same."""

import functools
import pathlib
from collections.abc import Mapping

import torch

from sas_jax.teachers.checkpoint import built, fill, read_state, sized, without_prefix
from sas_jax.teachers.tap.network import Tap, sizes_of

# What follows from the sizes, or projects to concepts that captions do not need.
_UNUSED = ("concept_projector.",)
_ANCHOR = "image_encoder.patch_embed.proj.weight"
_INDEX = ".rel_pos_embed.index"


def read_network(path: pathlib.Path) -> Tap:
    """Return the network of a published file, ready to evaluate.

    Args:
      path: a pickled dictionary of arrays by name; nothing is unpickled.

    Raises:
      InputError: for a damaged file, or one that lacks tensors, naming them.
    """
    return network_of(read_state(path), path)


def network_of(state: Mapping[str, torch.Tensor], path: pathlib.Path | str) -> Tap:
    """Return the network of tensors by their published names, of the sizes they have.

    Raises:
      InputError: as `read_network`.
    """
    state = {
        name: tensor
        for name, tensor in without_prefix(state, _ANCHOR).items()
        if not name.endswith(_INDEX)
    }
    with sized("tap", path):
        network = built(functools.partial(Tap, sizes_of(state, path)), seed=0)
    return fill(network, state, what="tap", path=path, unused=_UNUSED)
