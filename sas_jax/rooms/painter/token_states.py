"""Texts as sequences of MiniLM token states: what the small diffusion model reads.

The states are those before the first transformer layer (word + position, normalised).
Deeper ones mix every word into every token, so that `[CLS]` alone would tell the
class and attention to the class word would say little about where it is; here a word
is known to the image only through its own token.
L tokens per text, D = 384.
"""

import dataclasses
import functools
from collections.abc import Sequence

import safetensors
import torch
from jaxtyping import Float

from sas_jax.errors import InputError
from sas_jax.text import minilm_files

Offsets = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class PromptTokens:
    """Hold the tokens of a padded batch of texts.

    Attributes:
      states: float32 [n, L, D]; padding has states of its own, as in CLIP.
      offsets: per text L pairs (start, end) of characters; (0, 0) for the special and
        the padding tokens.
    """

    states: Float[torch.Tensor, "n L D"]
    offsets: list[Offsets]


class TokenStates:
    """Turn texts into token states of a fixed length."""

    dim = minilm_files.DIM
    id = f"{minilm_files.SPACE.name}:embeddings"

    def __init__(self):
        """Read tokenizer and embedding tables from the installed package.

        Raises:
          WeightsMissing: when the package is absent.
        """
        self._tokenizer = minilm_files.load_tokenizer()
        path = minilm_files.model_folder() / "model.safetensors"
        with safetensors.safe_open(path, framework="pt") as file:
            read = functools.partial(_read, file)
            self._words = read("word_embeddings.weight")
            self._positions = read("position_embeddings.weight")
            self._type = read("token_type_embeddings.weight")[0]
            self._scale = read("LayerNorm.weight")
            self._shift = read("LayerNorm.bias")

    def __reduce__(self) -> tuple:
        """Let another process read its own copy: the tables have 47 MB."""
        return load_token_states, ()

    def __call__(self, texts: Sequence[str], length: int) -> PromptTokens:
        """Return the states of n texts padded to `length` tokens.

        Raises:
          InputError: when a text has more tokens.
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = torch.zeros((len(encodings), length), dtype=torch.int64)
        offsets = []
        for row, encoding in enumerate(encodings):
            num = len(encoding.ids)
            if num > length:
                raise InputError(
                    f"prompt: a text must have at most {length} tokens, got {num} in "
                    f"{texts[row]!r}. Shorten it."
                )
            ids[row, :num] = torch.tensor(encoding.ids)
            offsets.append(list(encoding.offsets) + [(0, 0)] * (length - num))
        summed = self._words[ids] + self._positions[:length] + self._type
        states = torch.nn.functional.layer_norm(
            summed, (self.dim,), self._scale, self._shift, eps=1e-12
        )
        return PromptTokens(states, offsets)


def _read(file, name: str) -> torch.Tensor:
    return file.get_tensor(f"embeddings.{name}")


@functools.cache
def load_token_states() -> TokenStates:
    """Return the one table of this process."""
    return TokenStates()
