"""Questions to a scene: what each point answers, and which parts are the answer."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import settings
import stage_flags

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextSpace
from sas_jax.evaluation import query
from sas_jax.evaluation.answers import AnswerConfig, Listeners, likely, listeners
from sas_jax.evaluation.evidence import AnswerFit, Words, everyday, fit_of
from sas_jax.instances import answers as things_answers
from sas_jax.instances.masks import Instances


@dataclasses.dataclass(frozen=True)
class Asker:
    """Asks features of one text space.

    Attributes:
      words: what texts are held against; names only where there is a fit.
      fit: what a belief is worth; None where nobody fitted it for this space, or it is
        not asked for.
      config: when an answer is given.
    """

    space: TextSpace
    words: Words
    fit: AnswerFit | None
    config: AnswerConfig

    @property
    def scored_by(self) -> str:
        """What the score of an answer is."""
        return "probability" if self.fit else "relevancy"

    @property
    def bar(self) -> str:
        """What an answer must do, in words."""
        if self.fit is None:
            return "answers better than any object would"
        sure = 100 * self.config.probability
        return f"is right with a probability of {sure:.0f} % or more (--abstain)"

    def heat(
        self,
        features: Features,
        superpoints: np.ndarray | None,
        texts: Sequence[str],
    ) -> np.ndarray:
        """Return what each point says to each text, [Q, P] f32, NaN where unseen.

        Args:
          features: with rows of length one, from `query.unit_features`.
          superpoints: of the points, where they answer together.
          texts: Q questions.
        """
        return self.ask(listeners(features, superpoints), texts)

    def ready(self, features: Features, superpoints: np.ndarray | None) -> Listeners:
        """Return who answers, for many questions; arguments as those of `heat`."""
        held = self.words if self.fit and superpoints is not None else None
        return listeners(features, superpoints, held)

    def ask(self, answering: Listeners, texts: Sequence[str]) -> np.ndarray:
        """Return what each point says to each text, as `heat` does."""
        asked = settings.text_encoder(self.space)(list(texts))
        if self.fit:
            return answering.beliefs(asked, self.words, self.fit)
        return answering.relevancy(asked, self.words.anything)

    def regions(
        self,
        points: np.ndarray,
        values: np.ndarray,
        things: Instances | None,
        cells: query.QueryConfig | None = None,
    ) -> list[query.Region]:
        """Return the answer, best first.

        Args:
          points: metres.
          values: a row of `heat`.
          things: what can be an answer; None: any connected points.
          cells: `query.config_for` of the points, where it is at hand.
        """
        config = cells or query.config_for(points)
        if self.fit:
            config = self.config.regions(config)
        if things is None:
            found = query.regions(points, values, config)
        else:
            found = things_answers.answers(points, values, things, config)
        return likely(found, self.fit, self.config) if self.fit else found


def asker(space: TextSpace) -> Asker:
    """Return who asks features of a space, as --answer_by and --abstain say."""
    encode, config = settings.text_encoder(space), stage_flags.ANSWER.make()
    fit = fit_of(space) if stage_flags.ANSWER_BY.value != "relevancy" else None
    anything = encode(list(query.ANYTHING))
    return Asker(
        space,
        Words(anything, encode(list(everyday())) if fit else anything),
        fit,
        config,
    )
