"""Texts to the tokens of CLIP, with no hub and no torch.

The 48,894 merges of CLIP's vocabulary are all that has to be found; they come with
several packages and lie beside most weights. Wherever they come from, they are compared
with their checksum, and the tokenizer that is built of them is tried on a sentence.
"""

import functools
import gzip
import hashlib
import html
import importlib.util
import json
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import tokenizers
from jaxtyping import Int64
from tokenizers import models, pre_tokenizers, processors

from sas_jax.errors import ContractError, InputError, WeightsMissing
from sas_jax.extras import PIP

NUM_TOKENS = 49408
START, END = NUM_TOKENS - 2, NUM_TOKENS - 1
MAX_TOKENS = 77
"""Positions of the towers, the two special tokens counted."""

_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_NUM_MERGES = NUM_TOKENS - 2 * 256 - len(_SPECIAL)
_MERGES_SHA256 = "f61f2adf497e6f5357c347aeb4646fabe82f341e946de5bdec5d2858e41bef4a"
_HEADER = b"#version: 0.2\n"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
_KNOWN = ("a photo of a cat", [START, 320, 1125, 539, 320, 2368, END])
# The first is a dependency where its wheels run; of the others only a file is read.
_PACKAGES = {
    "instant_clip_tokenizer": "instant_clip_tokenizer.*",
    "open_clip": "bpe_simple_vocab_16e6.txt.gz",
    "clip": "bpe_simple_vocab_16e6.txt.gz",
}
_INSTALL = (
    f"{PIP} instant-clip-tokenizer==0.1.1 or, where it has no wheel for this Python, "
    f"{PIP} --no-deps open-clip-torch==3.3.0"
)


def tokenize(
    texts: Sequence[str], length: int = MAX_TOKENS, folder: pathlib.Path | None = None
) -> Int64[np.ndarray, "n L"]:
    """Return the token ids of texts, as CLIP's own `tokenize` does.

    Args:
      texts: any strings; see `clean`.
      length: of a row, at least 2. A longer text is cut; its last token is the end all
        the same.
      folder: with `tokenizer.json` or `merges.txt`, where it comes with weights; None
        looks in installed packages.

    Returns:
      int64 [n, length]: start, the text, end, then zeros.

    Raises:
      WeightsMissing: where no vocabulary is found.
      InputError: for one that is not CLIP's.
    """
    if length < 2:
        raise ContractError(
            f"clip tokens: rows of at least 2 are required, got {length}. They hold "
            "the start and the end of a text."
        )
    out = np.zeros((len(texts), length), np.int64)
    encodings = load_tokenizer(folder).encode_batch([clean(text) for text in texts])
    for row, encoding in zip(out, encodings, strict=True):
        ids = encoding.ids[:length]
        row[: len(ids)] = ids
        if len(encoding.ids) > length:
            row[-1] = END
    return out


def clean(text: str) -> str:
    """Return a text as CLIP reads it: mended, in lower case, single spaces.

    Mending is ftfy's, as in the original: it turns curly quotes straight, resolves
    ligatures and wide letters, and repairs what was decoded wrongly. Nothing of that
    concerns ASCII, of which the original only resolves HTML's entities. (The tokenizer
    in transformers mends nothing but composes letters, so the two part on `’`.)
    """
    if not text.isascii():
        import ftfy

        text = ftfy.fix_text(text)
    text = html.unescape(html.unescape(text))
    return re.sub(r"\s+", " ", text).strip().lower()


@functools.cache
def load_tokenizer(folder: pathlib.Path | None = None) -> tokenizers.Tokenizer:
    """Return CLIP's byte-level tokenizer, uncut and unpadded, for texts of `clean`.

    Args:
      folder: see `tokenize`.

    Raises:
      WeightsMissing, InputError: as `tokenize`.
    """
    merges = _merges(folder)
    alphabet = _alphabet()
    entries = [
        *alphabet,
        *(letter + "</w>" for letter in alphabet),
        *(a + b for a, b in merges),
        *_SPECIAL,
    ]
    ids = {entry: number for number, entry in enumerate(entries)}
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = _SPECIAL
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, START), (end, END)]
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    text, known = _KNOWN
    found = tokenizer.encode(text).ids
    if tokenizer.get_vocab_size() != NUM_TOKENS or found != known:
        raise ContractError(
            f"clip tokens: {NUM_TOKENS} entries and {known} for {text!r} are required, "
            f"got {tokenizer.get_vocab_size()} and {found}. Report this with the "
            f"version of tokenizers, {tokenizers.__version__}."
        )
    return tokenizer


def are_merges(lines: Sequence[bytes]) -> bool:
    """Tell whether lines are the merges of CLIP's vocabulary, in order."""
    return hashlib.sha256(b"\n".join(lines)).hexdigest() == _MERGES_SHA256


def spell(token: str) -> str:
    """Return the letters of a token; parts of letters are replaced by U+FFFD."""
    numbers = _numbers()
    spelled = bytes(numbers[letter] for letter in token.removesuffix("</w>"))
    return spelled.decode(errors="replace")


def _merges(folder: pathlib.Path | None) -> list[tuple[str, str]]:
    """Return the merges of the first file that is there, verified."""
    for path in _files(folder):
        lines = _lines(path)
        if not are_merges(lines):
            raise InputError(
                f"clip tokens: CLIP's own {_NUM_MERGES} merges are required, got "
                f"{len(lines)} or others ({path}). Give the tokenizer of OpenAI's "
                f"models, or take the file away and run: {_INSTALL}"
            )
        pairs = (line.decode().split(" ") for line in lines)
        return [(first, second) for first, second in pairs]
    where = f"{folder} and " if folder else ""
    raise WeightsMissing(
        "clip tokens: CLIP's vocabulary is required, got none in "
        f"{where}the packages {', '.join(_PACKAGES)}. Run: {_INSTALL}"
    )


def _files(folder: pathlib.Path | None) -> Iterator[pathlib.Path]:
    """Yield the files that hold the merges, those of a folder first."""
    if folder is not None:
        for name in ("merges.txt", "tokenizer.json"):
            if (folder / name).is_file():
                yield folder / name
    for package, name in _PACKAGES.items():
        # Located, never imported: some of them ask for torchvision.
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            yield from sorted(pathlib.Path(place).glob(name))


def _lines(path: pathlib.Path) -> list[bytes]:
    """Return the lines of the merges in a text, a compressed one or a library."""
    try:
        data = path.read_bytes()
        if path.suffix == ".json":
            merges = json.loads(data)["model"]["merges"]
            pairs = (m if isinstance(m, str) else " ".join(m) for m in merges)
            return [pair.encode() for pair in pairs]
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"clip tokens: a whole file is required, got {error} ({path}). Copy or "
            "install it again."
        ) from error
    start = data.find(_HEADER) + len(_HEADER)
    return data[start:].split(b"\n", _NUM_MERGES)[:_NUM_MERGES]


@functools.cache
def _alphabet() -> tuple[str, ...]:
    """Return the printable letters that stand for the bytes, in the order of ids."""
    return tuple(_numbers())


@functools.cache
def _numbers() -> dict[str, int]:
    """Return letter -> byte: what can be printed stands for itself, the rest follows.

    Source: GPT-2's byte-level encoding, which CLIP took over.
    """
    plain = [b for b in range(256) if _is_printed(b)]
    others = [b for b in range(256) if not _is_printed(b)]
    letters = {chr(b): b for b in plain}
    return letters | {chr(256 + k): b for k, b in enumerate(others)}


def _is_printed(byte: int) -> bool:
    """Tell whether a byte is a visible character of Latin-1."""
    return unicodedata.category(chr(byte))[0] not in "CZ" and byte != 0xAD
