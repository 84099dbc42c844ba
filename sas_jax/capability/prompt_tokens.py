"""Which tokens of a prompt stand for a class, for tokenizers of CLIP.

A class may be several words (`shower curtain`), a word several tokens, and stand more
than once in a prompt.
"""

from sas_jax.errors import InputError
from sas_jax.registry import Compat
from sas_jax.teachers.text import word_tokens


def positions(tokenizer, prompt: str, word: str, compat: Compat = "paper") -> list[int]:
    """Return the positions of a class's tokens in a prompt.

    Args:
      tokenizer: of transformers, one that knows where its tokens begin and end.
      prompt: full text.
      word: class name; any case.
      compat: `paper` takes the tokens that spell the name, wherever the whole name
        stands. `official` takes every token of the prompt whose text is that of one of
        the name's tokens, as the authors' code compares decoded strings: with `living
        room` "a good photo of a living room in a room" gives the last word too.

    Returns:
      Ascending positions, of which 0 is the start token.

    Raises:
      InputError: when the prompt does not contain the name, or only where the text
        encoder no longer reads.
    """
    told = tokenizer(prompt, return_offsets_mapping=True)
    offsets = [tuple(pair) for pair in told["offset_mapping"]]
    found = word_tokens(prompt, word, offsets)
    if compat == "official":
        name = set(_texts(tokenizer, tokenizer(word, add_special_tokens=False)))
        texts = _texts(tokenizer, told)
        found = [i for i, (a, b) in enumerate(offsets) if b > a and texts[i] in name]
    length = tokenizer.model_max_length
    # the last place that is read belongs to the end token
    if not found or found[-1] > length - 2:
        raise InputError(
            f"prompt_tokens: the text encoder must read all of {word!r}, got a prompt "
            f"of {len(offsets)} tokens where it reads {length} ({prompt!r}). Take a "
            "shorter name."
        )
    return found


def _texts(tokenizer, told) -> list[str]:
    return [tokenizer.decode([i]).strip() for i in told["input_ids"]]
