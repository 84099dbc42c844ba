"""Questions to a scene: what each point answers, and which parts are the answer."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import settings
import stage_flags

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import InputError
from sas_jax.evaluation import query
from sas_jax.evaluation.answers import AnswerConfig, Listeners, likely, listeners
from sas_jax.evaluation.contrast import margins
from sas_jax.evaluation.evidence import AnswerFit, Words, everyday, fit_of
from sas_jax.instances import answers as things_answers
from sas_jax.instances.masks import Instances
from sas_jax.text import words
from sas_jax.text.articles import with_article

OR = "|"
"""Between the texts of a question any of which is right."""

_ARTICLES = ("a", "an", "the", "some", "something", "anything")


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
      any_of: texts, at least one; what fits any of them answers.
      without: names; what fits one of them better than the text does not answer.
      among: names; the answer is all that the text fits better than each of them, and
        than words that fit anything.
    """

    any_of: tuple[str, ...]
    without: tuple[str, ...] = ()
    among: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The question in words."""
        parts = [f" {OR} ".join(self.any_of)]
        parts += [f"without {', '.join(self.without)}"] * bool(self.without)
        parts += [f"among {', '.join(self.among)}"] * bool(self.among)
        return ", ".join(parts)

    @property
    def texts(self) -> tuple[str, ...]:
        """All that a text tower must know."""
        return (*self.any_of, *self.without, *self.among)

    def stated(self) -> dict[str, object]:
        """Return it for a file of the answer."""
        lists = {"without": self.without, "among": self.among}
        several = {"any_of": list(self.any_of)} if len(self.any_of) > 1 else {}
        return {
            "text": f" {OR} ".join(self.any_of),
            **several,
            **{name: list(names) for name, names in lists.items() if names},
        }


def question(text: str, without: Sequence[str], among: Sequence[str]) -> Question:
    """Return a question from what a user gives.

    Args:
      text: one text, or several with `|` between them.
      without: names, with or without articles.
      among: names; the text itself may be one of them.

    Raises:
      InputError: for a text or name without a word.
    """
    any_of = tuple(" ".join(part.split()) for part in text.split(OR))
    lists = [
        tuple(" ".join(name.split()) for name in names) for names in (without, among)
    ]
    for each in (*any_of, *lists[0], *lists[1]):
        if not any(map(str.isalnum, each)):
            raise InputError(
                f"query: --text, --without and --among must hold a word, got none in "
                f"{each!r} of {text!r}. Say what to look for."
            )
    own = {_named(each).lower() for each in any_of}
    others = [
        tuple(n for n in names if _named(n).lower() not in own) for names in lists
    ]
    if lists[0] and not others[0]:
        raise InputError(
            f"query: other names than the text are required for --without, got "
            f"{', '.join(without)} for {text!r}. Leave it out."
        )
    return Question(any_of, *others)


def _named(name: str) -> str:
    """Return a name as things are asked for, with its article."""
    first = name.partition(" ")[0].lower()
    return name if first in _ARTICLES else with_article(name)


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

    def warn(self, read: Mapping[str, words.Reading]) -> None:
        """Say which texts the tower may not understand.

        Args:
          read: what it read of each, from `settings.check_texts`.
        """
        near: dict[str, float] = {}
        if self.fit and read:
            rows = settings.text_encoder(self.space)(list(read)).rows
            cosines = (rows @ self.words.names.rows.T).max(axis=1)
            near = dict(zip(read, cosines.tolist(), strict=True))
        for line in words.doubts(read, near, self.space.name):
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
    ) -> list[np.ndarray]:
        """Return what each point says to each text of each question.

        For each question [T, P] f32, NaN where unseen: T is 1 for a question among
        names, else the number of its texts.

        Args:
          features: as for `heat`.
          superpoints: as for `heat`.
          questions: Q of them.
        """
        plain = [q for q in questions if not q.among]
        texts = [text for q in plain for text in q.any_of]
        each = iter(self.heat(features, superpoints, texts) if texts else ())
        encode, rows = settings.text_encoder(self.space), []

        def margin(asked: Question, names: Sequence[str], *more: str) -> np.ndarray:
            others = encode([*map(_named, names), *more])
            own = encode(list(asked.any_of))
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
        things: Instances | None,
        cells: query.QueryConfig | None = None,
    ) -> list[query.Region]:
        """Return the answer, best first.

        Each text finds its own; of two regions that share half of the smaller one the
        better stands for both.

        Args:
          question: that was asked.
          points: metres.
          rows: its part of `answers`.
          things: as for `regions`.
          cells: as for `regions`.
        """
        if not question.among:
            each = [self.regions(points, values, things, cells) for values in rows]
            return each[0] if len(each) == 1 else query.distinct(each, len(points))
        (values,) = rows
        # All that the text wins is the answer, not only what fits as the best does.
        cells = cells or query.config_for(points)
        config = dataclasses.replace(cells, relative_threshold=0.0)
        if things is None:
            return query.regions(points, values, config)
        return things_answers.answers(points, values, things, config)

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
