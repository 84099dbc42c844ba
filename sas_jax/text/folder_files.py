"""Text towers that lie with their image tower and tokenizer in a folder of the hub.

SigLIP 2's and TIPSv2's: transformers like CLIP's with other habits (`Kind`). Their
weights are brought under the names of `clip_weights`, so that the layers of
`clip_forward` compute them; what is done to tokens and positions is folded into the
tables. Each checkpoint has a text space of its own: the name of its kind, the hash of
its values, its length. D width, C length of a text feature.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors
from jaxtyping import Float

from sas_jax.artefacts.cache import cache_folder
from sas_jax.artefacts.space import TextSpace
from sas_jax.artefacts.stamps import Memo
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.text import clip_weights
from sas_jax.text.clip_forward import Style
from sas_jax.text.folder_tokens import FolderTokens
from sas_jax.text.tower_names import ANCHOR, LAYER, Names
from sas_jax.weights.find import find_folder, seed_of

_PLACES = "positional_embedding"
_HEAD = {
    "text_projection": "text_model.head.weight",
    "text_bias": "text_model.head.bias",
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A family of towers.

    Attributes:
      teacher: model whose folders hold it.
      style: how its layers compute.
      size: of the published base model.
      pads: whether every text is filled up with padding, which is seen like a word.
      is_sinusoid: whether positions are waves, and tokens scaled, and nothing is
        projected; else both are learnt.
    """

    teacher: str
    style: Style
    size: clip_weights.Size
    pads: bool
    is_sinusoid: bool


_BASE = clip_weights.Size(768, 768, 12, 12, vocabulary=256000, length=64)
KINDS = {
    "siglip2-text": Kind(
        teacher="siglip2",
        style=Style(False, "gelu_pytorch_tanh", 1e-6, "end"),
        size=_BASE,
        pads=True,
        is_sinusoid=False,
    ),
    "tipsv2-text": Kind(
        teacher="tipsv2",
        style=Style(False, "relu", 1e-5, "mean"),
        size=dataclasses.replace(_BASE, vocabulary=32000),
        pads=False,
        is_sinusoid=True,
    ),
}
"""Text space -> what its towers have in common."""


@dataclasses.dataclass(frozen=True)
class FolderWeights:
    """A tower that was found.

    Attributes:
      space: that its vectors live in.
      kind: of tower.
      heads: of its attention.
      tokens: its tokenizer.
      read: returns the tensors.
    """

    space: TextSpace
    kind: Kind
    heads: int
    tokens: FolderTokens
    read: Callable[[], clip_weights.Tower]

    @functools.cached_property
    def tower(self) -> clip_weights.Tower:
        """All tensors, read when first asked for."""
        return self.read()


def load(
    name: str, weights: str | None = None, *, download: bool = False
) -> FolderWeights:
    """Return a tower.

    Args:
      name: a key of `KINDS`.
      weights: folder, `random:<seed>`, or None to look it up.
      download: whether absent weights may be fetched.

    Raises:
      WeightsMissing: where there are none.
      InputError: for a folder that is not of this tower.
    """
    kind = KINDS[name]
    if (seed := seed_of(weights)) is not None:
        return FolderWeights(
            TextSpace(name, f"random:{seed}", kind.size.dim),
            kind,
            kind.size.heads,
            FolderTokens(None, kind.size.length, pads=kind.pads),
            lambda: _untrained(kind, seed),
        )
    folder = _find(name, weights, download)
    size = _stated(folder, kind)
    read = functools.cache(lambda: read_tower(name, folder, size))
    files = [*sorted(folder.glob("*.safetensors")), folder / "config.json"]
    record = f"{name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"

    def identity() -> str:
        tower = read()
        return f"{clip_weights.size_of(tower).dim}/{clip_weights.digest(tower)}"

    memo = Memo(cache_folder() / "verified")
    dim, digest = memo.value(record, files, identity).split("/")
    tokens = FolderTokens(folder, size.length, pads=kind.pads)
    space = TextSpace(name, digest, int(dim))
    return FolderWeights(space, kind, size.heads, tokens, read)


def read_tower(
    name: str, folder: pathlib.Path, stated: clip_weights.Size
) -> clip_weights.Tower:
    """Return the tensors of a folder's tower under the names of `clip_weights`.

    Args:
      name: a key of `KINDS`.
      folder: of the model.
      stated: layers and places of the tower; what else there is to it, tensors say.

    Raises:
      InputError: naming tensors that are missing, of another shape or no numbers.
    """
    kind, state = KINDS[name], _state(name, folder)
    file = Names("text_encoder.", False)  # as TIPSv2 is published
    if file.of(ANCHOR)[0] not in state:
        file = Names("", True, _HEAD)
    if file.of(ANCHOR)[0] not in state:
        raise InputError(
            f"{name}: a text tower is required, got no {file.of(ANCHOR)[0]} among "
            f"{len(state)} tensors ({folder}). Give the published folder."
        )
    wanted = _shapes(state, file, kind, stated)
    tower = clip_weights.filled(state, file, wanted, folder, what=name)
    return _folded(tower, stated.length) if kind.is_sinusoid else tower


def _shapes(
    state: clip_weights.State, file: Names, kind: Kind, stated: clip_weights.Size
) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of all tensors of a tower of the size of a file's.

    Sizes are those of single tensors; that all fit them is found out later.
    """

    def size(name: str, axis: int, usual: int) -> int:
        shape = np.shape(state.get(file.of(name)[0], ()))
        return shape[axis] if len(shape) > axis else usual

    width = size(ANCHOR, 1, stated.width)
    found = dataclasses.replace(
        stated,
        dim=width if kind.is_sinusoid else size("text_bias", 0, stated.dim),
        width=width,
        vocabulary=size(ANCHOR, 0, stated.vocabulary),
        wide=size(f"{LAYER.format(0)}mlp.c_fc.bias", 0, stated.wide),
    )
    shapes = clip_weights.shapes(found)
    if kind.is_sinusoid:
        return {n: s for n, s in shapes.items() if n not in _HEAD and n != _PLACES}
    return shapes | {"text_bias": (found.dim,)}


def _untrained(kind: Kind, seed: int) -> clip_weights.Tower:
    tower = clip_weights.random_tower(kind.size, seed)
    if kind.is_sinusoid:
        return _folded(tower, kind.size.length)
    return tower | {"text_bias": np.zeros(kind.size.dim, np.float32)}


def _folded(tower: clip_weights.Tower, length: int) -> clip_weights.Tower:
    """Return a tower with its tokens scaled, waves as positions and no projection."""
    table = tower["token_embedding.weight"]
    width = table.shape[1]
    return tower | {
        "token_embedding.weight": table * np.float32(width**0.5),
        "positional_embedding": waves(length, width),
        "text_projection": np.eye(width, dtype=np.float32),
    }


def waves(length: int, width: int) -> Float[np.ndarray, "L D"]:
    """Return sines, then cosines, of positions: periods from 2 pi to 20000 pi.

    Source: Vaswani et al. (arXiv 1706.03762), section 3.5, halves side by side.
    """
    half = width // 2
    rates = np.exp(-np.log(10000) / (half - 1) * np.arange(half))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


def _find(name: str, weights: str | None, download: bool) -> pathlib.Path:
    """Return the folder: of the tower, or of the teacher that it belongs to."""
    if weights is None:
        for model in (name, KINDS[name].teacher):
            with contextlib.suppress(WeightsMissing):
                return find_folder(model)
    return find_folder(name, weights, download=download)


def _state(name: str, folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Return all of a folder's tensors but those of the image tower."""
    found: dict[str, np.ndarray] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with safetensors.safe_open(path, framework="numpy") as file:
                keys = [k for k in file.keys() if not k.startswith("vision_")]  # noqa: SIM118
                found |= {key: file.get_tensor(key) for key in keys}
    except (OSError, TypeError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{name}: complete safetensors of numpy's types are required, got {error} "
            f"({folder}). Copy or download the folder again."
        ) from error
    return found


def _stated(folder: pathlib.Path, kind: Kind) -> clip_weights.Size:
    """Return layers, heads and places of a folder's tower; refuse other habits.

    TIPSv2's authors write them beside those of the image tower, transformers apart.
    """
    file = folder / "config.json"
    named = {
        "layers": ("num_hidden_layers", "text_num_layers"),
        "heads": ("num_attention_heads", "text_num_heads"),
        "length": ("max_position_embeddings", "max_len"),
    }
    habits = {"hidden_act": kind.style.activation, "layer_norm_eps": kind.style.epsilon}
    try:
        stated: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        text = stated.get("text_config") or {}
        given = {
            field: text.get(own) or stated.get(theirs)
            for field, (own, theirs) in named.items()
        }
        others = {k: text[k] for k in habits if text.get(k, habits[k]) != habits[k]}
        sizes = {field: int(value) for field, value in given.items() if value}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{kind.teacher}: settings as transformers writes them are required, got "
            f"{error} ({file}). Copy or download the folder again."
        ) from error
    if others:
        raise InputError(
            f"{kind.teacher}: a text tower with {habits} is required, got {others} "
            f"({file}). Give the published folder."
        )
    return dataclasses.replace(kind.size, **sizes)
