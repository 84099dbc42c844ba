"""What text towers in JAX share: texts are encoded once, in batches of few shapes."""

import contextlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from sas_jax.artefacts.cache import cache_folder
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import InputError
from sas_jax.text import kept_texts

Tokens = list[list[int]]
_BATCHES = (1, 8, 64)


class KeptTower:
    """Encode texts that were not met before; keep all, in memory and on disk.

    A query from a fresh process then need not even load the weights.

    Attributes:
      space: text space of the vectors.
    """

    space: TextSpace

    def __init__(self, space: TextSpace, file: pathlib.Path | None):
        """Remember where features are kept; None keeps them in memory only."""
        self.space = space
        self._file = file
        self._known = {} if file is None else kept_texts.read(file, space)

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return one unit vector per text.

        Args:
          texts: any strings; what is longer than the tower takes is cut.

        Returns:
          float32 [n, C], unit norm, in the order given.

        Raises:
          WeightsMissing: when a text is new and the weights are not installed.

        Deterministic: yes; independent of which other texts are in the call up to
        1e-7 (another batch size is another compiled program).
        """
        new = [t for t in dict.fromkeys(texts) if t not in self._known]
        if new:
            self._known.update(zip(new, self._compute(new), strict=True))
            if self._file is not None:
                # Without a writable cache every process computes its own.
                with contextlib.suppress(InputError):
                    kept_texts.add(self._file, self.space, self._known)
        if not texts:
            return np.zeros((0, self.space.dim), np.float32)
        return np.stack([self._known[t] for t in texts])

    def _compute(self, texts: list[str]) -> Sequence[np.ndarray]:
        raise NotImplementedError


def kept_file(space: TextSpace) -> pathlib.Path:
    """Return where the user's cache keeps the texts of a space."""
    weights = space.weights_sha256.removeprefix("sha256:").replace(":", "-")[:16]
    return cache_folder() / "text" / f"{space.name}-{weights}.safetensors"


def in_batches(
    tokens: Tokens,
    lengths: Sequence[int],
    run: Callable[[Tokens, int, int], np.ndarray],
) -> list[np.ndarray]:
    """Encode texts in batches of few shapes, so that few programs are compiled.

    Args:
      tokens: ids of each text, none longer than the last of `lengths`.
      lengths: that texts are padded to.
      run: returns one row per text, given ids, rows and length to pad to.

    Returns:
      The row of each text, in the order given.
    """
    rows: list[np.ndarray] = [np.zeros(0)] * len(tokens)
    by_length: dict[int, list[int]] = {}
    for i, ids in enumerate(tokens):
        by_length.setdefault(_round_up(len(ids), lengths), []).append(i)
    for length, members in by_length.items():
        for start in range(0, len(members), _BATCHES[-1]):
            chunk = members[start : start + _BATCHES[-1]]
            size = _round_up(len(chunk), _BATCHES)
            found = run([tokens[i] for i in chunk], size, length)
            for i, row in zip(chunk, found, strict=False):
                rows[i] = row
    return rows


def _round_up(value: int, sizes: Sequence[int]) -> int:
    return next(size for size in sizes if value <= size)
