"""CLIP's text spaces where their towers are not: the texts of published files.

OpenScene and SAS publish features in the spaces of OpenAI's CLIP, and vectors of their
classes. What stands in such a file is kept in the user's cache, so that class lists can
be scored and teachers fused without the tower that made them.
"""

import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sas_jax.artefacts.cache import cache_folder
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.errors import InputError
from sas_jax.stages import command
from sas_jax.text import kept_texts, words

# The hashes are those of OpenAI's own files, ViT-B-32.pt and ViT-L-14-336px.pt.
CLIP_B32 = TextSpace(
    "clip-vit-b32",
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    512,
)
CLIP_L14_336 = TextSpace(
    "clip-vit-l14-336",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    768,
)
PUBLISHED = {space.dim: space for space in (CLIP_B32, CLIP_L14_336)}
"""Channels of published features -> their space: LSeg and SEEM, or OpenSeg."""

SAME_COSINE = 0.999
"""Least cosine of two vectors of a text by one tower.

Half precision moves a component by 2^-12 at most; another tower turns a vector.
"""


class KnownTexts:
    """Looks texts up; see `text.registry.TextTower`.

    Attributes:
      space: of the vectors.
    """

    def __init__(self, space: TextSpace, missing: str = ""):
        """Take a space; its file is read when texts are asked for.

        Args:
          space: of the vectors.
          missing: why there is no tower, for errors.
        """
        self.space = space
        self._missing = missing

    @property
    def path(self) -> pathlib.Path:
        """The file of all known texts."""
        return cache_folder() / "text" / f"{self.space.name}-imported.safetensors"

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return one unit vector per text, f32.

        Raises:
          InputError: for texts that no imported file held, naming them.
        """
        known = kept_texts.read(self.path, self.space)
        if unknown := [text for text in texts if text not in known]:
            more = f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
            raise InputError(
                f"text: without the weights of the tower {self.space.name}, texts "
                f"of imported files are required, got {unknown[:4]}{more}, which are "
                f"not among {len(known)} known ones. Give a file with their vectors: "
                f"{command('import_features')} --text_features=<class list>=<file>; or "
                f"get the weights. {self._missing}"
            )
        if not texts:
            return np.zeros((0, self.space.dim), np.float32)
        return np.stack([known[text] for text in texts])

    def check(self, texts: Sequence[str]) -> dict[str, words.Reading]:
        """Raise InputError unless every text is known; nothing is read of any."""
        self.encode(texts)
        return {}

    def some(self, count: int) -> dict[str, Float[np.ndarray, " C"]]:
        """Return the vectors of a few known texts; none where none is known."""
        known = kept_texts.read(self.path, self.space)
        return dict(itertools.islice(known.items(), count))

    def add(self, texts: Sequence[str], found: TextFeatures) -> int:
        """Keep vectors of texts for all later runs.

        Args:
          texts: one a row.
          found: their vectors, of this space.

        Returns:
          How many were known before, and agree.

        Raises:
          InputError: for a vector that differs from the known one of its text, or a
            cache folder that cannot be written.
        """
        known = kept_texts.read(self.path, self.space)
        new = dict(zip(texts, found.rows, strict=True))
        old = [text for text in new if text in known]
        check_same(old, np.array([known[t] for t in old]), [new[t] for t in old])
        kept_texts.add(self.path, self.space, new)
        return len(old)


def check_same(
    texts: Sequence[str],
    wanted: Float[np.ndarray, "n C"],
    got: Sequence[Float[np.ndarray, " C"]],
) -> None:
    """Raise InputError where two unit vectors of a text are not of one tower."""
    for text, right, row in zip(texts, wanted, got, strict=True):
        if (cosine := float(right @ row)) < SAME_COSINE:
            raise InputError(
                f"text: vectors of one tower are required, got a cosine of "
                f"{cosine:.3f} between the known one of {text!r} and the file's. Is "
                "the file of this class list, and of this text space?"
            )
