"""Folders of the hub: network, tokenizer and the size of images; or random networks."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import tokenizers

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.pretrained import load_pretrained, reading
from sas_jax.teachers.weights_id import weights_id
from sas_jax.text import minilm_files
from sas_jax.weights.find import find_folder, seed_of


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A network with what it came from.

    Attributes:
      network: in f32, ready to evaluate.
      weights: hash of its weights, or `random:<seed>`.
      folder: that it was read from; None for a random one.
    """

    network: Any
    weights: str
    folder: pathlib.Path | None


def load_network(
    name: str,
    kind: Any,
    settings: Callable[[], Any],
    options: LoadOptions,
) -> Loaded:
    """Return the network of a card: of its folder, or random at its real size.

    Args:
      name: of the card.
      kind: class of transformers.
      settings: makes its configuration, for random weights.
      options: of the loader.

    Raises:
      WeightsMissing: where there is no such folder.
      InputError: as `load_pretrained`.
    """
    if (seed := seed_of(options.weights)) is not None:
        return Loaded(built(lambda: kind(settings()), seed), f"random:{seed}", None)
    folder = find_folder(name, options.weights, download=options.download)
    network = load_pretrained(kind, folder, what=name)
    return Loaded(network, weights_id(network=network), folder)


def edges_of(folder: pathlib.Path | None, usual: tuple[int, int]) -> tuple[int, int]:
    """Return the size of images that a folder's processor of images states.

    Args:
      folder: of the model.
      usual: where there is none, or it says nothing of the kind.

    Returns:
      Shortest and longest edge, or height and width.
    """
    path = folder / "preprocessor_config.json" if folder else None
    if path is None or not path.is_file():
        return usual
    with reading(path, "images"):
        size = json.loads(path.read_text(encoding="utf-8")).get("size")
        for pair in (("shortest_edge", "longest_edge"), ("height", "width")):
            if isinstance(size, dict) and size.get(pair[0]):
                first = int(size[pair[0]])
                return first, int(size.get(pair[1]) or first)
    return usual


def load_tokenizer(
    folder: pathlib.Path | None, what: str, tokens: int
) -> tokenizers.Tokenizer:
    """Return the tokenizer of a folder, neither cut nor padded.

    Args:
      folder: with `tokenizer.json`; None takes BERT's lower-casing word pieces, which
        come with the package of the MiniLM tower.
      what: the model's name.
      tokens: that the network knows.

    Raises:
      InputError: for a file that is none, or of more tokens.
    """
    if folder is None:
        tokenizer = minilm_files.load_tokenizer()
    else:
        path = folder / "tokenizer.json"
        with reading(path, what):
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if tokenizer.get_vocab_size() > tokens:
        raise InputError(
            f"{what}: a tokenizer of at most {tokens} tokens is required, got "
            f"{tokenizer.get_vocab_size()} ({folder}). Download the folder again."
        )
    return tokenizer
