"""Which weights a text tower of CLIP is made of, and which space its vectors live in.

A space must be one wherever the same weights came from: OpenAI's archive in half
precision, a copy of transformers in single, LSeg's checkpoint. So a tower lives in the
space of OpenAI's weights, whose id is the checksum of OpenAI's file, if any of these
holds:

  1. the file has that checksum,
  2. it gives published vectors of some texts (`clip_published.safetensors`),
  3. it gives the vectors that imported files hold of some texts (`known_texts`),

each at a cosine of at least 0.999: half precision moves a vector less, and any other
tower turns it. Otherwise the id is `sha256:<hex>` of the values in half precision under
OpenAI's names, which is the same for copies of one tower too. For random weights it is
`random:<seed>`. Of CLIP ViT-B/16 no vectors are known, and OpenAI's own file is not
read: its space always has the hash of values.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import safetensors

from sas_jax.artefacts.cache import cache_folder
from sas_jax.artefacts.files import sha256_file
from sas_jax.artefacts.space import TextSpace
from sas_jax.artefacts.stamps import Memo
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.artefacts.torch_pickle import Stranger
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.text import clip_forward, clip_tokens, clip_weights
from sas_jax.text.known_texts import PUBLISHED, SAME_COSINE, KnownTexts
from sas_jax.weights.find import find_file, find_folder, seed_of

_VECTORS = pathlib.Path(__file__).with_name("clip_published.safetensors")
_PUBLISHED = {space.name: space for space in PUBLISHED.values()}
OPENAI_FILES = {
    "clip-vit-b32": "ViT-B-32.pt",
    "clip-vit-l14-336": "ViT-L-14-336px.pt",
}
"""Text space -> OpenAI's own file, beside the copy on the hub."""
_FOLDER = "*"
_MODELS = ("model.safetensors", "pytorch_model.bin")
# Networks that were trained with a tower and keep it in their checkpoint or folder.
_CARRIERS = {
    "clip-vit-b32": [("lseg", "demo_e200.ckpt")],
    "clip-vit-b16": [("maskclip", _FOLDER), ("clipseg", _FOLDER)],
}
_HOLDERS = ("state_dict", "model")
_IMAGES = re.compile(r"\bvis(ual|ion_model)\.")
_COMPARED = 8
_DEEPEST = 8  # modules in modules; a file may pretend that one holds itself


@dataclasses.dataclass(frozen=True)
class TextWeights:
    """Weights that were found.

    Attributes:
      space: that their vectors live in.
      read: returns the tensors.
      folder: where the tokenizer's files may lie beside them, or None.
    """

    space: TextSpace
    read: Callable[[], clip_weights.Tower]
    folder: pathlib.Path | None = None

    @functools.cached_property
    def tower(self) -> clip_weights.Tower:
        """All tensors, read when first asked for; see `clip_weights.shapes`."""
        return self.read()


def load(
    name: str, weights: str | None = None, *, download: bool = False
) -> TextWeights:
    """Return the weights of a tower.

    Args:
      name: a key of `clip_weights.SIZES`.
      weights: a file or folder, `random:<seed>`, or None to look it up.
      download: whether absent weights may be fetched.

    Raises:
      WeightsMissing: where there are none.
      InputError: for files that are not of this tower.
    """
    size = clip_weights.SIZES[name]
    if (seed := seed_of(weights)) is not None:
        space = TextSpace(name, f"random:{seed}", size.dim)
        return TextWeights(space, lambda: clip_weights.random_tower(size, seed))
    path = _find(name, weights, download)
    _check_settings(path, size)
    read = functools.cache(lambda: read_tower(path, size))
    memo = Memo(cache_folder() / "verified")
    published = _PUBLISHED.get(name)
    sources = [path, *([KnownTexts(published).path] if published else [])]
    identity = memo.value(
        _record(name, path), sources, lambda: _identity(name, path, read())
    )
    return TextWeights(TextSpace(name, identity, size.dim), read, path.parent)


def space_of(name: str, tower: clip_weights.State) -> TextSpace:
    """Return the space of a tower, by the rule above without its first case."""
    published, dim = _PUBLISHED.get(name), tower["text_projection"].shape[1]
    if published and dim == published.dim and _gives_known_vectors(published, tower):
        return published
    return TextSpace(name, clip_weights.digest(tower), dim)


def read_tower(path: pathlib.Path, size: clip_weights.Size) -> clip_weights.Tower:
    """Return the text tower in a file.

    Args:
      path: safetensors, or what torch.save wrote: a state dict, one in a checkpoint of
        a trainer, or OpenAI's archive of a traced network. Nothing in it is run.
      size: of the tower.

    Raises:
      InputError: for a damaged file, and one of another network.
    """
    if path.suffix != ".safetensors":
        state = _tensors(read_torch(path, strangers=True))
        return clip_weights.text_tower(state, path, size)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            # Of the image tower, twice as large, nothing is read.
            names = [n for n in file.keys() if not _IMAGES.search(n)]  # noqa: SIM118
            return clip_weights.text_tower(
                {name: file.get_tensor(name) for name in names}, path, size
            )
    except (OSError, TypeError, safetensors.SafetensorError) as error:
        raise InputError(
            f"clip text: complete safetensors of numpy's types are required, got "
            f"{error} ({path}). Copy or download the file again."
        ) from error


def _find(name: str, weights: str | None, download: bool) -> pathlib.Path:
    """Return the file of weights: OpenAI's own, else what holds a copy."""
    if weights is None:
        if name in OPENAI_FILES:
            with contextlib.suppress(WeightsMissing):
                return find_file(name, OPENAI_FILES[name])
        with contextlib.suppress(WeightsMissing):
            return _find_copy(name, find_folder(name))
        for model, file in _CARRIERS.get(name, ()):
            with contextlib.suppress(WeightsMissing):
                path = (
                    _find_copy(name, find_folder(model))
                    if file == _FOLDER
                    else find_file(model, file)
                )
                if _carries(name, path):
                    return path
    elif pathlib.Path(weights).is_file():
        return pathlib.Path(weights)
    return _find_copy(name, find_folder(name, weights, download=download))


def _carries(name: str, path: pathlib.Path) -> bool:
    """Tell whether another model's checkpoint holds the tower; it may have none."""

    def read() -> str:
        try:
            read_tower(path, clip_weights.SIZES[name])
        except InputError:
            return "no"
        return "yes"

    memo = Memo(cache_folder() / "verified")
    return memo.value(_record(f"{name}-carried", path), [path], read) == "yes"


def _record(what: str, path: pathlib.Path) -> str:
    return f"{what}-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"


def _find_copy(name: str, folder: pathlib.Path) -> pathlib.Path:
    own = [OPENAI_FILES[name]] if name in OPENAI_FILES else []
    for file in (*own, *_MODELS):
        if (folder / file).is_file():
            return folder / file
    raise WeightsMissing(
        f"clip text: {' or '.join(_MODELS)} is required beside config.json, got none "
        f"({folder}). Copy or download the folder again."
    )


def _check_settings(path: pathlib.Path, size: clip_weights.Size) -> None:
    """Refuse a copy that says of itself that it computes otherwise than OpenAI's.

    CLIPs of other authors have tensors of the same names and shapes.
    """
    file = path.with_name("config.json")
    if path.name not in _MODELS or not file.is_file():
        return
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
        text = {**stated, **(stated.get("text_config") or {})}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            "clip text: settings as transformers writes them are required, got "
            f"{error} ({file}). Copy or download the folder again."
        ) from error
    wanted = {"hidden_act": "quick_gelu", "num_attention_heads": size.heads}
    for setting, value in wanted.items():
        if (found := text.get(setting, value)) != value:
            raise InputError(
                f"clip text: {setting} must be {value}, as in OpenAI's model, got "
                f"{found} ({file}). Give a copy of OpenAI's weights."
            )


def _tensors(stored: Any) -> dict[str, np.ndarray]:
    for name in _HOLDERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(name), Mapping):
            stored = stored[name]
    return dict(_named(stored, "", _DEEPEST))


def _named(stored: Any, prefix: str, left: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of a state dict, or of the modules of a traced network."""
    held = stored.state if isinstance(stored, Stranger) else stored
    for name, value in held.items() if isinstance(held, Mapping) else ():
        if isinstance(value, np.ndarray):
            yield f"{prefix}{name}", value
        elif left and isinstance(value, Stranger):
            yield from _named(value, f"{prefix}{name}.", left - 1)


def _identity(name: str, path: pathlib.Path, tower: clip_weights.State) -> str:
    if path.name == OPENAI_FILES.get(name):
        published = _PUBLISHED[name].weights_sha256
        if sha256_file(path) == published:
            return published
    return space_of(name, tower).weights_sha256


def _gives_known_vectors(space: TextSpace, tower: clip_weights.State) -> bool:
    """Tell whether a tower gives vectors that are known of OpenAI's."""
    known = _published_vectors(space.name) or KnownTexts(space).some(_COMPARED)
    if not known:
        return False
    heads = clip_weights.SIZES[space.name].heads
    ids = clip_tokens.tokenize(list(known))
    rows = clip_forward.features(tower, ids, heads)
    return bool((np.sum(rows * np.stack([*known.values()]), 1) >= SAME_COSINE).all())


def _published_vectors(name: str) -> dict[str, np.ndarray]:
    with safetensors.safe_open(_VECTORS, framework="numpy") as file:
        if name not in file.keys():  # noqa: SIM118
            return {}
        texts = json.loads(file.metadata()[name])
        return dict(zip(texts, file.get_tensor(name).astype(np.float32), strict=True))
