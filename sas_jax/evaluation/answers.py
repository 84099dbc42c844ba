"""Answers with a probability: heat maps of belief, regions that are likely right."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures, TextSpace, one_space
from sas_jax.checks import in_range
from sas_jax.evaluation import query
from sas_jax.evaluation.evidence import AnswerFit, Seen, Words, evidence, seen
from sas_jax.superpoints.means import superpoint_rows


@dataclasses.dataclass(frozen=True)
class AnswerConfig:
    """When an answer is given.

    Attributes:
      abstain: price of a false find, where a right one is worth 1: what is answered is
        right with a probability of at least abstain / (1 + abstain).
      least: belief of the points of a region, at least.
      share: of the scene's best belief that the points of a region have, at least.
    """

    abstain: float = 0.25
    least: float = 0.02
    share: float = 0.75

    def __post_init__(self) -> None:
        in_range("query", "abstain", self.abstain, 0)
        in_range("query", "answer_least", self.least, 0, 1)
        in_range("query", "answer_share", self.share, 0, 1)

    @property
    def probability(self) -> float:
        """The least probability of what is answered."""
        return self.abstain / (1 + self.abstain)

    def regions(self, cells: query.QueryConfig) -> query.QueryConfig:
        """Return how regions are made of beliefs, by cells of `query.config_for`."""
        return dataclasses.replace(
            cells,
            threshold=self.least,
            relative_threshold=self.share,
            neutral=0.0,
        )


@dataclasses.dataclass(frozen=True)
class Listeners:
    """What answers of a scene, made ready once for any number of questions.

    Attributes:
      row: [P] i32 who answers for each point; -1: nobody.
      rows: [N, C] unit features of those who answer, or means of such.
      space: text space.
      seen: what they bring to mind; None where only relevancy is asked for.
    """

    row: Int32[np.ndarray, " P"]
    rows: Float[np.ndarray, "N C"]
    space: TextSpace
    seen: Seen | None

    def beliefs(
        self, questions: TextFeatures, words: Words, fit: AnswerFit
    ) -> Float32[np.ndarray, "Q P"]:
        """Return how much each point is believed to be what each question asks for.

        Args:
          questions: Q texts.
          words: what they are held against, as at `listeners`.
          fit: of the texts' space.

        Returns:
          Beliefs in 0..1; NaN where nothing was seen.

        Raises:
          InputError: when features and questions live in different text spaces.
        """
        self._check(questions)
        found = evidence(
            self.rows if self.seen is None else self.seen, questions, words
        )
        return self._of_points(fit.belief(found))

    def relevancy(
        self, questions: TextFeatures, anything: TextFeatures, temperature: float = 0.1
    ) -> Float32[np.ndarray, "Q P"]:
        """Return how much better each question fits each point than anything would.

        Args:
          questions: Q texts.
          anything: of `query.ANYTHING`.
          temperature: see `query.relevancy`.

        Returns:
          Values in 0..1; NaN where nothing was seen.

        Raises:
          InputError: when features and questions live in different text spaces.
        """
        self._check(questions)
        relevant = (
            query.relevancy(self.rows, row, anything.rows, temperature)
            for row in questions.rows
        )
        return self._of_points(np.array(list(relevant), np.float32))

    def _check(self, questions: TextFeatures) -> None:
        one_space("query", {"the features": self.space, "the text": questions.space})

    def _of_points(
        self, found: Float32[np.ndarray, "Q N"]
    ) -> Float32[np.ndarray, "Q P"]:
        unseen = np.full((len(found), 1), np.nan, np.float32)
        return np.concatenate([found, unseen], axis=1)[:, self.row]


def listeners(
    features: Features,
    superpoints: Int[np.ndarray, " P"] | None,
    words: Words | None = None,
) -> Listeners:
    """Return who answers for the points of a scene.

    Args:
      features: of the points, with rows of length one where relevancy is asked for.
      superpoints: of the points, which then answer by the mean feature of their
        superpoint, also those that no camera saw; None: each by its own.
      words: what questions will be held against; None for relevancy, or where they are
        so few that holding what N features bring to mind, 4 N V bytes, would not pay.
    """
    rows, row = features.feat, features.row
    if superpoints is not None:
        rows, row = (
            superpoint_rows(features, superpoints).astype(np.float32),
            superpoints,
        )
    silent = np.append(~rows.any(axis=1), True)  # the last: of row -1
    row = np.where(silent[row], -1, row).astype(np.int32)
    found = None if words is None else seen(rows, words)
    return Listeners(row, rows, features.space, found)


def beliefs(
    features: Features,
    superpoints: Int[np.ndarray, " P"] | None,
    questions: TextFeatures,
    words: Words,
    fit: AnswerFit,
) -> Float32[np.ndarray, "Q P"]:
    """Return what the `listeners` of a scene believe, asked once."""
    return listeners(features, superpoints).beliefs(questions, words, fit)


def likely(
    regions: Sequence[query.Region], fit: AnswerFit, config: AnswerConfig
) -> list[query.Region]:
    """Return the regions that are likely right, with that probability as score.

    Args:
      regions: with mean beliefs as scores, best first.
      fit: as beliefs were made with.
      config: see there.
    """
    scored = [(fit.probability(region.score), region) for region in regions]
    return [
        dataclasses.replace(region, score=probability)
        for probability, region in scored
        if probability >= config.probability
    ]
