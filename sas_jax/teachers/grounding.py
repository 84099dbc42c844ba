"""Names as Grounding DINO reads them: one text, and which tokens are whose."""

import dataclasses
import re
from collections.abc import Sequence

import tokenizers
import torch
from jaxtyping import Float

from sas_jax.errors import InputError

_SPECIAL = "[CLS]", "[SEP]", ".", "[UNK]"
_SEPARATING = re.compile(r"[.?]")  # a name of its own ends there


@dataclasses.dataclass(frozen=True)
class Prompt:
    """Names that one text asks for.

    Attributes:
      names: asked for.
      ids: of the tokens of the text, `name . name . `, from its begin to its end.
      spans: first and last token, the latter excluded, of every name.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


def prompts_of(
    names: Sequence[str], tokenizer: tokenizers.Tokenizer, most: int
) -> list[Prompt]:
    """Return texts that ask for all names, in order.

    Args:
      names: class names, read in lower case; dots and question marks are left out.
      tokenizer: BERT's word pieces.
      most: tokens of a text; what does not fit is asked for in another one.
    """
    special = [i for t in _SPECIAL if (i := tokenizer.token_to_id(t)) is not None]
    if len(special) < len(_SPECIAL):
        raise InputError(
            f"grounding: a tokenizer with {', '.join(_SPECIAL)} is required, got one "
            "without. Is this the detector's tokenizer.json?"
        )
    *ends, unknown = special
    made: list[Prompt] = []
    held: list[tuple[str, list[int]]] = []
    length = 2
    for name in names:
        text = _SEPARATING.sub(" ", name.lower())
        tokens = tokenizer.encode(text, add_special_tokens=False).ids or [unknown]
        tokens = tokens[: most - 3]
        if length + len(tokens) + 1 > most:
            made.append(_prompt(held, *ends))
            held, length = [], 2
        held.append((name, tokens))
        length += len(tokens) + 1
    return [*made, _prompt(held, *ends)]


def _prompt(held: Sequence[tuple[str, list[int]]], begin: int, end: int, dot: int):
    ids, spans = [begin], []
    for _, tokens in held:
        spans.append((len(ids), len(ids) + len(tokens)))
        ids += [*tokens, dot]
    return Prompt(tuple(name for name, _ in held), (*ids, end), tuple(spans))


def spans_scored(
    probability: Float[torch.Tensor, "Q T"], spans: Sequence[tuple[int, int]]
) -> tuple[Float[torch.Tensor, " Q"], list[int]]:
    """Return the likeliest name of every box, and its probability.

    Args:
      probability: that a box belongs to a token.
      spans: tokens of every name.

    Returns:
      The largest probability among a name's tokens, and the number of that name.
    """
    each = [probability[:, start:end].amax(1) for start, end in spans]
    best = torch.stack(each, 1).max(1)
    return best.values, best.indices.tolist()
