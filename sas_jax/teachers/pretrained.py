"""Networks in folders as transformers and diffusers write them: complete, or refused.

Both libraries leave what the files lack as it was initialised, and only log it. What
they raise for a configuration that no network can be built of is anything at all.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import tokenizers

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers.checkpoint import built, check_finite
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


def load_pretrained(
    kind: Any, folder: pathlib.Path, *, what: str, subfolder: str = ""
) -> Any:
    """Return a network of a folder in f32, ready to evaluate; nothing is unpickled.

    Args:
      kind: class of transformers or diffusers.
      folder: of the model.
      what: the model's name, for errors.
      subfolder: of the network in it.

    Raises:
      InputError: for a folder that cannot be read, files that do not fill the network,
        and weights that are no numbers.
    """
    place = folder / subfolder
    with reading(place, what):
        is_diffusers = kind.__module__.startswith("diffusers")
        # The other way of diffusers needs accelerate; transformers would not name the
        # tensors of another shape.
        how = "low_cpu_mem_usage" if is_diffusers else "ignore_mismatched_sizes"
        network, report = kind.from_pretrained(
            folder,
            subfolder=subfolder,
            variant=_variant(place),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **{how: not is_diffusers},
        )
    other = (n if isinstance(n, str) else n[0] for n in report["mismatched_keys"])
    faults = {
        "none for": sorted(report["missing_keys"]),
        "another shape for": sorted(other),
    }
    if any(faults.values()):
        told = (f"{k} {', '.join(names[:3])}" for k, names in faults.items() if names)
        raise InputError(
            f"{what}: the files must fill {kind.__name__}, got {'; '.join(told)} "
            f"({place}). Download it again."
        )
    check_finite(network, what=what, path=place)
    return network.eval().float()


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


@contextlib.contextmanager
def reading(place: pathlib.Path, what: str) -> Iterator[None]:
    """Turn whatever these libraries raise while they read a folder into an InputError.

    Args:
      place: that is read.
      what: the model's name.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"{what}: a complete folder is required, got one that cannot be read "
            f"({place}: {type(error).__name__}: {said}). Download it again."
        ) from error


def _variant(folder: pathlib.Path) -> str | None:
    """Return `fp16` where the weights lie there in half precision only."""
    names = [path.name for path in folder.glob("*.safetensors")]
    return "fp16" if names and all(".fp16" in name for name in names) else None
