"""Names to vectors of SEEM's own text space: means over sentences, kept on disk."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from tqdm import tqdm

from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.space import TextSpace
from sas_jax.teachers.precision import exact
from sas_jax.teachers.seem.network import Seem
from sas_jax.text import kept_texts

Tokenize = Callable[[Sequence[str]], Int64[np.ndarray, "n T"]]


class NameEncoder:
    """Encodes names with SEEM's own text tower.

    139 names in 81 sentences each take minutes on one CPU thread, so what has been
    encoded with the same weights and sentences is read from disk.
    """

    def __init__(
        self,
        network: Seem,
        tokenize: Tokenize,
        sentences: Sequence[str],
        weights_id: str,
        folder: pathlib.Path | None = None,
    ):
        """Take the network and where its vectors are kept.

        Args:
          network: whose tower encodes.
          tokenize: sentences to tokens of that tower.
          sentences: with one `{}` each, whose vectors are averaged.
          weights_id: of the network.
          folder: of files of vectors; None keeps them in memory only.
        """
        self._network, self._tokenize = network, tokenize
        self._sentences = tuple(sentences)
        key = content_key({"weights": weights_id, "sentences": self._sentences})
        self._space = TextSpace("seem", key, network.sizes.space_dim)
        self._path = folder / f"seem-{key[:16]}.safetensors" if folder else None
        self._known: dict[str, np.ndarray] = {}

    def encode(self, names: Sequence[str]) -> Float[np.ndarray, "n P"]:
        """Return one unit vector per name, f32: the mean over all sentences."""
        self._find(names)
        absent = [name for name in names if name not in self._known]
        bar = tqdm(absent, desc="names", unit="name", leave=False, disable=not absent)
        new = {name: self._encode_one(name) for name in bar}
        self._known |= new
        if new and self._path is not None:
            kept_texts.add(self._path, self._space, new)
        return np.stack([self._known[name] for name in names])

    def _find(self, names: Sequence[str]) -> None:
        if self._path is not None and any(name not in self._known for name in names):
            self._known |= kept_texts.read(self._path, self._space)

    @torch.no_grad()
    @exact()
    def _encode_one(self, name: str) -> Float[np.ndarray, " P"]:
        tokens = self._tokenize([sentence.format(name) for sentence in self._sentences])
        lengths = tokens.argmax(1) + 1
        vectors = np.empty((len(tokens), self._space.dim), np.float32)
        device = self._network.logit_scale.device
        # Sentences see backwards only: what follows the end token costs and tells
        # nothing. Those of one length go together.
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            batch = torch.from_numpy(tokens[rows, :length]).to(device)
            vectors[rows] = self._network.encode_tokens(batch).float().cpu().numpy()
        mean = vectors.mean(0)
        return mean / np.linalg.norm(mean)
