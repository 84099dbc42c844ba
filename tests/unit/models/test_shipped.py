"""The students that come with the package."""

import numpy as np
import pytest

from sas_jax.models import shipped
from sas_jax.models.student import Predictor
from sas_jax.models.student_card import read_card
from sas_jax.models.student_file import read_student


@pytest.mark.parametrize("name", shipped.STUDENTS)
def test_a_shipped_student_says_what_it_is_and_answers(name):
    path = shipped.find(name)
    assert path.stat().st_size < 10e6
    card = read_card(path)
    assert card.data and card.scores and card.steps > 0
    points = np.random.default_rng(0).uniform(0, 1, (300, 3)).astype(np.float32)
    found = Predictor(read_student(path)).features(points)
    assert found.space == card.text_space
    assert found.feat.shape[1] == card.out_dim and np.isfinite(found.feat).all()


def test_other_names_are_those_of_runs():
    assert shipped.find("full-seed0") is None
