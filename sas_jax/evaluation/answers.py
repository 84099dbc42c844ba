"""Answers with a probability: heat maps of belief, regions that are likely right."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures, one_space
from sas_jax.checks import in_range
from sas_jax.evaluation import query
from sas_jax.evaluation.evidence import AnswerFit, Words, evidence
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

    def regions(self, points: Float[np.ndarray, "P 3"]) -> query.QueryConfig:
        """Return how regions are made of beliefs."""
        return dataclasses.replace(
            query.config_for(points),
            threshold=self.least,
            relative_threshold=self.share,
            neutral=0.0,
        )


def beliefs(
    features: Features,
    superpoints: Int[np.ndarray, " P"] | None,
    questions: TextFeatures,
    words: Words,
    fit: AnswerFit,
) -> Float32[np.ndarray, "Q P"]:
    """Return how much each point is believed to be what each question asks for.

    Args:
      features: of the points.
      superpoints: of the points, which then answer by the mean feature of their
        superpoint, also those that no camera saw; None: each by its own.
      questions: Q texts.
      words: what they are held against.
      fit: of the texts' space.

    Returns:
      Beliefs in 0..1; NaN where nothing was seen.

    Raises:
      InputError: when features and questions live in different text spaces.
    """
    one_space("query", {"the features": features.space, "the text": questions.space})
    if superpoints is None:
        rows, row = features.feat, features.row
    else:
        rows, row = superpoint_rows(features, superpoints), superpoints
    found = fit.belief(evidence(rows, questions, words))
    found[:, ~rows.any(axis=1)] = np.nan
    unseen = np.full((len(found), 1), np.nan, np.float32)
    return np.concatenate([found, unseen], axis=1)[:, row]


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
