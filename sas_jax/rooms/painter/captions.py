"""Captions for training the small diffusion model: what a render shows, in words.

A caption names the thing in focus or lists several visible things, sometimes with
their colour, in random order. Lists and colours teach the cross-attention to tell
things apart: which colour a pixel has follows from which of the words it belongs to.
No mask is used.
"""

import dataclasses

import numpy as np

PREFIXES = ("a good photo of ", "a photo of ", "a view of ", "")
_PREFIX_ODDS = (0.5, 0.2, 0.15, 0.15)


@dataclasses.dataclass(frozen=True)
class Seen:
    """One visible thing of a render.

    Attributes:
      class_name: name in the label set.
      noun: what a person would call it.
      color: everyday name of its colour; empty where it has none.
      fraction: share of the image's pixels, in (0, 1].
    """

    class_name: str
    noun: str
    color: str
    fraction: float


@dataclasses.dataclass(frozen=True)
class CaptionConfig:
    """Odds of the caption's parts.

    Attributes:
      drop: no text at all, for classifier-free guidance.
      alone: only the main thing is named.
      noun: the everyday noun stands for the class name.
      color: a colour word stands before the noun.
      room: " in a room" ends the caption.
      max_listed: most things in a list.
      min_fraction: a listed thing covers at least this share of the pixels.
      max_words: longer captions lose their last things.
    """

    drop: float = 0.1
    alone: float = 0.3
    noun: float = 0.12
    color: float = 0.6
    room: float = 0.4
    max_listed: int = 5
    min_fraction: float = 0.05
    max_words: int = 28


def draw_caption(
    seen: list[Seen], rng: np.random.Generator, config: CaptionConfig | None = None
) -> str:
    """Write one random caption for a render.

    Args:
      seen: visible things; the first is the one in focus.
      rng: source of every choice.
      config: odds; None means the defaults.

    Returns:
      A sentence, or "" when the text is dropped.
    """
    config = config or CaptionConfig()
    if not seen or rng.random() < config.drop:
        return ""
    named = [seen[0]]
    if rng.random() >= config.alone:
        named += _others(seen, rng, config)
    order = rng.permutation(len(named))
    phrases = [_phrase(named[i], rng, config) for i in order]
    prefix = PREFIXES[int(rng.choice(len(PREFIXES), p=_PREFIX_ODDS))]
    ending = " in a room" if rng.random() < config.room else ""
    while True:
        caption = prefix + join_words(phrases) + ending
        if len(phrases) == 1 or len(caption.split()) <= config.max_words:
            return caption
        phrases.pop()


def join_words(phrases: list[str]) -> str:
    """Write `a, b and c`."""
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def _others(seen: list[Seen], rng, config: CaptionConfig) -> list[Seen]:
    names = {seen[0].class_name}
    others = []
    for thing in seen[1:]:
        if thing.fraction >= config.min_fraction and thing.class_name not in names:
            names.add(thing.class_name)
            others.append(thing)
    count = int(rng.integers(1, config.max_listed))
    chosen = rng.permutation(len(others))[:count]
    return [others[i] for i in chosen]


def _phrase(thing: Seen, rng, config: CaptionConfig) -> str:
    name = thing.noun if rng.random() < config.noun else thing.class_name
    colored = thing.color and rng.random() < config.color
    return f"a {thing.color} {name}" if colored else f"a {name}"
