"""How files name the tensors of a text tower: OpenAI's names, and transformers'."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from sas_jax.errors import InputError

State = Mapping[str, np.ndarray]

ANCHOR = "token_embedding.weight"
"""Tensor that every tower has."""

LAYER = "transformer.resblocks.{}."
# Name here -> name in transformers.
_NAMES = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "text_projection": "text_projection.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
_IN_LAYER = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "ln_2": "layer_norm2",
}


@dataclasses.dataclass(frozen=True)
class Names:
    """How a file names the tensors of a tower.

    Attributes:
      prefix: of all names.
      is_transformers: whether the rest is as transformers has it.
      others: OpenAI's name -> that of the file, where transformers has no CLIP's.
    """

    prefix: str
    is_transformers: bool
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def of(self, name: str) -> list[str]:
        """Return the names in the file of one tensor, whose rows they share."""
        if name in self.others:
            return [self.prefix + self.others[name]]
        names = names_in_transformers(name) if self.is_transformers else [name]
        return [self.prefix + each for each in names]

    def parts(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return name in the file -> shape there, for one tensor."""
        names = self.of(name)
        if self.is_transformers and name == "text_projection":
            shape = shape[::-1]
        return dict.fromkeys(names, (shape[0] // len(names), *shape[1:]))

    def read(self, state: State, name: str) -> np.ndarray:
        """Return one tensor of a checkpoint, f32."""
        parts = [np.asarray(state[part], np.float32) for part in self.of(name)]
        array = parts[0] if len(parts) == 1 else np.concatenate(parts)
        is_turned = self.is_transformers and name == "text_projection"
        return array.T if is_turned else array


def layout(state: State, where: object) -> tuple[str, bool]:
    """Return the prefix of a tower's names and whether they are of transformers."""
    found = [name for name in state if name.endswith(ANCHOR)]
    if not found:
        raise InputError(
            f"clip text: a text tower of CLIP is required, got no {ANCHOR} among "
            f"{len(state)} tensors ({where}). Give a checkpoint of CLIP."
        )
    name, theirs = min(found, key=len), _NAMES[ANCHOR]
    is_theirs = name.endswith(theirs)
    return name.removesuffix(theirs if is_theirs else ANCHOR), is_theirs


def names_in_transformers(name: str) -> list[str]:
    """Return the names in transformers of one tensor, whose rows they share."""
    if name in _NAMES:
        return [_NAMES[name]]
    _, _, number, part = name.split(".", 3)
    layer = f"text_model.encoder.layers.{number}."
    if part.startswith("attn.in_proj"):
        leaf = part.rpartition("_")[2]
        return [f"{layer}self_attn.{which}_proj.{leaf}" for which in "qkv"]
    module, _, leaf = part.rpartition(".")
    return [f"{layer}{_IN_LAYER[module]}.{leaf}"]
