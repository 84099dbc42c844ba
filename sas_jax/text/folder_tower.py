"""The text towers of SigLIP 2 and TIPSv2 in plain JAX: texts to unit vectors, no torch.

The layers are those of `clip_forward`; weights and tokenizer are read from the model's
folder at the first unknown text.
"""

from collections.abc import Sequence

import numpy as np

from sas_jax.artefacts.space import TextSpace
from sas_jax.text import folder_files, words
from sas_jax.text.clip import TransformerTower
from sas_jax.text.tower import in_batches
from sas_jax.weights.find import seed_of


class FolderTower(TransformerTower):
    """Encode texts with the tower of a folder."""

    def __init__(self, weights: folder_files.FolderWeights):
        """Take weights that were found; their numbers are not read yet."""
        style = weights.kind.style
        super().__init__(weights.space, lambda: weights.tower, weights.heads, style)
        self._tokens = weights.tokens

    def check(self, texts: Sequence[str]) -> dict[str, words.Reading]:
        """Refuse texts without a word that the tower knows; see `words.check`.

        Nothing is returned: these towers learned from many languages, whose words are
        in pieces all alike.

        Raises:
          InputError: naming the texts, or where there is no tokenizer.
        """
        tokens = self._tokens
        words.check(
            texts,
            tokens.tokenizer(),
            tokens.length,
            self.space.name,
            clean=tokens.clean,
            spell=tokens.spell,
        )
        return {}

    def _compute(self, texts: list[str]) -> list[np.ndarray]:
        longest = self._tokens.length
        lengths = sorted({min(each, longest) for each in (16, 32, longest)})
        return in_batches(self._tokens.encode(texts), lengths, self._encode_tokens)


def load_siglip2(space: TextSpace | None = None) -> FolderTower:
    """Return the text tower of SigLIP 2; see `load`."""
    return load("siglip2-text", space)


def load_tipsv2(space: TextSpace | None = None) -> FolderTower:
    """Return the text tower of TIPSv2; see `load`."""
    return load("tipsv2-text", space)


def load(name: str, space: TextSpace | None) -> FolderTower:
    """Return the tower of a space; without its weights no text is known.

    Args:
      name: of the space.
      space: that is asked for; `random:<seed>` is made, None and all others are what
        is on this machine.

    Raises:
      WeightsMissing: where there are none.
      InputError: for a folder that is not of this tower.
    """
    asked = "" if space is None else space.weights_sha256
    weights = asked if seed_of(asked) is not None else None
    return FolderTower(folder_files.load(name, weights))
