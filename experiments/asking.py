"""Questions as flags ask them, and who answers as --answer_by and --abstain say."""

import settings
import stage_flags
from absl import flags

from sas_jax.artefacts.space import TextSpace
from sas_jax.evaluation import asked
from sas_jax.evaluation.asked import Question
from sas_jax.evaluation.asker import Asker
from sas_jax.evaluation.asker import asker as asker_of

_WITHOUT = flags.DEFINE_list("without", [], "Names that are not meant.")
_AMONG = flags.DEFINE_list("among", [], "Names that the text must win against.")


def question(text: str) -> Question:
    """Return a question of --text with the names of --without and --among.

    Raises:
      InputError: see `asked.question`.
    """
    return asked.question(text, _WITHOUT.value, _AMONG.value)


def asker(space: TextSpace) -> Asker:
    """Return who asks features of a space, as --answer_by and --abstain say."""
    return asker_of(
        space,
        settings.text_encoder(space),
        stage_flags.ANSWER.make(),
        fitted=stage_flags.ANSWER_BY.value != "relevancy",
    )
