"""Asks features of a text space, for query.py, the viewer and `sas_jax.ask`."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.evaluation import query
from sas_jax.evaluation.answers import AnswerConfig, Listeners, likely, listeners
from sas_jax.evaluation.asked import Question, named
from sas_jax.evaluation.contrast import margins
from sas_jax.evaluation.evidence import AnswerFit, Words, everyday, fit_of
from sas_jax.text.words import Reading, doubts

Encode = Callable[[list[str]], TextFeatures]
"""Texts to their vectors."""

Find = Callable[[np.ndarray, np.ndarray, query.QueryConfig], list[query.Region]]
"""Points and heat to the best parts: `query.regions`, or that of whole things."""


@dataclasses.dataclass(frozen=True)
class Asker:
    """Asks features of one text space.

    Attributes:
      space: of the features.
      encode: its text tower.
      words: what texts are held against; names only where there is a fit.
      fit: what a belief is worth; None where nobody fitted it for this space, or it is
        not asked for.
      config: when an answer is given.
    """

    space: TextSpace
    encode: Encode
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
        asked = self.encode([*texts])
        if self.fit:
            return answering.beliefs(asked, self.words, self.fit)
        return answering.relevancy(asked, self.words.anything)

    def warn(self, read: Mapping[str, Reading]) -> None:
        """Say which texts the tower may not understand.

        Args:
          read: what it read of each, from `TextTower.check`.
        """
        near: dict[str, float] = {}
        if self.fit and read:
            rows = self.encode([*read]).rows
            cosines = (rows @ self.words.names.rows.T).max(axis=1)
            near = dict(zip(read, cosines.tolist(), strict=True))
        for line in doubts(read, near, self.space.name):
            logging.warning("%s", line)

    def scores(self, question: Question) -> str:
        """Return what the score of a region is."""
        return "preference" if question.among else self.scored_by

    def measure(self, question: Question, *, words: bool = False) -> str:
        """Return what the heat is: a name for files, or in words."""
        name = "belief" if self.fit else "relevancy"
        name = "preference" if question.among else name
        told = {
            "belief": "belief that it is meant",
            "relevancy": "relevancy; 0.50: as any object would",
            "preference": "preference; 0.50: as the best other name",
        }
        return told[name] if words else name

    def scale(self, question: Question) -> tuple[float, float]:
        """Return the ends of the colours of heat; larger values move the upper one."""
        if question.among:
            return 0.25, 0.75
        return (0.0, 0.5) if self.fit else (0.2, 0.7)

    def answers(
        self,
        features: Features,
        superpoints: np.ndarray | None,
        questions: Sequence[Question],
        ready: Listeners | None = None,
    ) -> list[np.ndarray]:
        """Return what each point says to each text of each question.

        For each question [T, P] f32, NaN where unseen: T is 1 for a question among
        names, else the number of its texts.

        Args:
          features: as for `heat`.
          superpoints: as for `heat`.
          questions: Q of them.
          ready: of the features and superpoints, where it is at hand.
        """
        plain = [q for q in questions if not q.among]
        texts = [text for q in plain for text in q.any_of]
        each: Iterator[np.ndarray] = iter(())
        if texts:
            ready = ready or listeners(features, superpoints)
            each = iter(self.ask(ready, texts))
        rows = []

        def margin(asked: Question, names: Sequence[str], *more: str) -> np.ndarray:
            others = self.encode([*map(named, names), *more])
            own = self.encode([*asked.any_of])
            return margins(features, superpoints, own, others)

        for asked in questions:
            if asked.among:
                # Else a wall would be a chair, among chairs, tables and beds.
                lead = margin(asked, asked.among, *query.ANYTHING)
                share = 1 / (1 + np.exp(-lead / query.QueryConfig().temperature))
                values = share[None]
            else:
                values = np.stack([next(each) for _ in asked.any_of])
            if asked.without:
                lost = margin(asked, asked.without) <= 0  # NaN is neither
                values = np.where(lost, np.float32(0), values)
            rows.append(values.astype(np.float32))
        return rows

    def found(
        self,
        question: Question,
        points: np.ndarray,
        rows: np.ndarray,
        find: Find = query.regions,
        cells: query.QueryConfig | None = None,
    ) -> list[query.Region]:
        """Return the answer, best first.

        Each text finds its own; of two regions that share half of the smaller one the
        better stands for both.

        Args:
          question: that was asked.
          points: metres.
          rows: its part of `answers`.
          find: as for `regions`.
          cells: as for `regions`.
        """
        if not question.among:
            each = [self.regions(points, values, find, cells) for values in rows]
            return each[0] if len(each) == 1 else query.distinct(each, len(points))
        (values,) = rows
        # All that the text wins is the answer, not only what fits as the best does.
        cells = cells or query.config_for(points)
        config = dataclasses.replace(cells, relative_threshold=0.0)
        return find(points, values, config)

    def regions(
        self,
        points: np.ndarray,
        values: np.ndarray,
        find: Find = query.regions,
        cells: query.QueryConfig | None = None,
    ) -> list[query.Region]:
        """Return the answer, best first.

        Args:
          points: metres.
          values: a row of `heat`.
          find: what can be an answer; any connected points by default.
          cells: `query.config_for` of the points, where it is at hand.
        """
        config = cells or query.config_for(points)
        if self.fit:
            config = self.config.regions(config)
        found = find(points, values, config)
        return likely(found, self.fit, self.config) if self.fit else found


def asker(
    space: TextSpace,
    encode: Encode,
    config: AnswerConfig | None = None,
    *,
    fitted: bool = True,
) -> Asker:
    """Return who asks features of a space.

    Args:
      space: of the features.
      encode: its text tower.
      config: when an answer is given.
      fitted: answer by probabilities, where somebody fitted them for the space.
    """
    fit, anything = fit_of(space) if fitted else None, encode(list(query.ANYTHING))
    known = Words(anything, encode(list(everyday())) if fit else anything)
    return Asker(space, encode, known, fit, config or AnswerConfig())
