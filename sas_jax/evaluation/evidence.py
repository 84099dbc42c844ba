"""How probable it is that something is what was asked for.

Similarities of texts and features say little by themselves: "something to sleep on" is
0.4 from a bed, and so is "a bicycle" from a chair. What a thing is and what a question
means are therefore both held against a few hundred everyday names n_v, and three
numbers of a unit feature f and a unit question q speak together:

    margin  f.q - max over a of f.a, a: words that fit anything (LERF, section 3.4)
    could   f.q - max over v of n_v.q: is there a name that would fit q better?
    shared  log(0.001 + cos(p(f), p(q))), where p(x) = softmax over v of n_v.x / T:
            do both bring the same names to mind?

A logistic regression of these is the belief that f is what q asks for. It is fitted on
labelled rooms for each text tower (`answer_fits.json`); a second, monotone fit says how
often the best region was right at such a mean belief.
"""

import dataclasses
import functools
import importlib.resources
import json
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from sas_jax.artefacts.space import TextFeatures, TextSpace, one_space
from sas_jax.text.articles import with_article

TEMPERATURE_SEEN, TEMPERATURE_ASKED = 0.08, 0.05
"""T of what is seen, and of what is asked."""

_LEAST = 1e-3
_ROWS_AT_ONCE = 8192
NUM_EVIDENCE = 3


class Words(NamedTuple):
    """What features and questions are held against.

    Attributes:
      anything: [A, C] of words that fit anything.
      names: [V, C] of everyday things.
    """

    anything: TextFeatures
    names: TextFeatures


@functools.cache
def everyday() -> tuple[str, ...]:
    """Return the everyday names as they are asked for, with their article.

    They are the classes of ScanNet200, Matterport160 and ImageNet.
    """
    file = importlib.resources.files("sas_jax.text") / "everyday.txt"
    return tuple(map(with_article, file.read_text(encoding="utf-8").splitlines()))


class Seen(NamedTuple):
    """What features bring to mind, before anything is asked of them.

    Attributes:
      rows: [N, C] of length one, or zero.
      anything: [N] likeness to the word that fits anything which is most like.
      names: [N, V] softmax over everyday names, of length one.
    """

    rows: Float32[np.ndarray, "N C"]
    anything: Float32[np.ndarray, " N"]
    names: Float32[np.ndarray, "N V"]


def seen(features: Float[np.ndarray, "N C"], words: Words) -> Seen:
    """Return what features bring to mind, for any number of questions.

    Args:
      features: of any length; zero where nobody saw anything, which says nothing.
      words: see there.
    """
    rows = _unit(features.astype(np.float32))
    names = _unit(_softmax(rows @ words.names.rows.T / TEMPERATURE_SEEN))
    return Seen(rows, (rows @ words.anything.rows.T).max(axis=1), names)


def evidence(
    features: Float[np.ndarray, "N C"] | Seen,
    questions: TextFeatures,
    words: Words,
) -> Float32[np.ndarray, "Q N 3"]:
    """Return margin, could and shared for each question and feature.

    Args:
      features: as `seen` takes them, or what it returned of them.
      questions: Q texts.
      words: see there.

    Raises:
      InputError: when texts live in different spaces.
    """
    one_space(
        "query",
        {
            "the questions": questions.space,
            "words": words.anything.space,
            "names": words.names.space,
        },
    )
    asked = questions.rows.astype(np.float32)
    likeness = asked @ words.names.rows.T
    meant = _unit(_softmax(likeness / TEMPERATURE_ASKED))
    best = likeness.max(axis=1)[:, None]
    count = len(features.rows if isinstance(features, Seen) else features)
    found = np.empty((len(asked), count, NUM_EVIDENCE), np.float32)
    for start in range(0, count, _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        if isinstance(features, Seen):
            part = Seen(*(each[block] for each in features))
        else:
            part = seen(features[block], words)
        fit = asked @ part.rows.T
        found[:, block, 0] = fit - part.anything
        found[:, block, 1] = fit - best
        found[:, block, 2] = np.log(_LEAST + meant @ part.names.T)
    return found


@dataclasses.dataclass(frozen=True)
class AnswerFit:
    """What was fitted for a text tower.

    Attributes:
      weights: of margin, could and shared.
      bias: of the logistic regression.
      beliefs: [n] rising mean beliefs of the best regions of questions.
      right: [n] share of them that were right at such a belief, not falling.
    """

    weights: tuple[float, ...]
    bias: float
    beliefs: tuple[float, ...]
    right: tuple[float, ...]

    def belief(self, found: Float[np.ndarray, "... 3"]) -> Float32[np.ndarray, "..."]:
        """Return the belief in 0..1 from the evidence."""
        logit = found @ np.array(self.weights, np.float32) + np.float32(self.bias)
        return (1 / (1 + np.exp(-logit))).astype(np.float32)

    def probability(self, belief: float) -> float:
        """Return how probably a region of this mean belief is right."""
        return float(np.interp(belief, self.beliefs, self.right))


def fit_of(space: TextSpace) -> AnswerFit | None:
    """Return what was fitted for a space; None where nothing was."""
    file = importlib.resources.files(__package__) / "answer_fits.json"
    fits = json.loads(file.read_text(encoding="utf-8"))["fits"]
    kept = fits.get(space.id)
    if kept is None:
        return None
    lists = ("weights", "beliefs", "right")
    return AnswerFit(bias=kept["bias"], **{key: tuple(kept[key]) for key in lists})


def _unit(rows: Float32[np.ndarray, "n k"]) -> Float32[np.ndarray, "n k"]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(length, 1e-12)


def _softmax(rows: Float32[np.ndarray, "n k"]) -> Float32[np.ndarray, "n k"]:
    raised = np.exp(rows - rows.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
