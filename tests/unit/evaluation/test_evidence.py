"""Evidence against a formula written out; beliefs of points; what is answered."""

import numpy as np
import pytest

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.errors import InputError
from sas_jax.evaluation import evidence as module
from sas_jax.evaluation.answers import AnswerConfig, beliefs, likely, listeners
from sas_jax.evaluation.evidence import (
    TEMPERATURE_ASKED,
    TEMPERATURE_SEEN,
    AnswerFit,
    Words,
    everyday,
    evidence,
    fit_of,
)
from sas_jax.evaluation.query import config_for, point_relevancy, region_of, regions
from sas_jax.text import minilm_files

SPACE = TextSpace("letters", "none", 8)
FIT = AnswerFit((4.0, 1.0, 0.8), -0.5, (0.1, 0.5, 0.9), (0.0, 0.5, 1.0))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def texts(seed, count):
    rows = np.random.default_rng(seed).standard_normal((count, 8))
    return TextFeatures(unit(rows).astype(np.float32), SPACE)


WORDS = Words(texts(0, 4), texts(1, 9))


def written_out(feature, question):
    f, names = unit(feature), WORDS.names.rows
    margin = f @ question - max(f @ a for a in WORDS.anything.rows)
    could = f @ question - max(n @ question for n in names)

    def mind(x, temperature):
        raised = np.array([np.exp(n @ x / temperature) for n in names])
        return unit(raised / raised.sum())

    seen, asked = mind(f, TEMPERATURE_SEEN), mind(question, TEMPERATURE_ASKED)
    return margin, could, np.log(1e-3 + seen @ asked)


@pytest.mark.parametrize("at_once", [3, 8192])
def test_evidence_is_the_formula_whatever_the_blocks(monkeypatch, at_once):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", at_once)
    features = np.random.default_rng(2).standard_normal((10, 8)).astype(np.float32)
    questions = texts(3, 5)
    found = evidence(features, questions, WORDS)
    assert found.shape == (5, 10, 3) and found.dtype == np.float32
    for q in range(5):
        for n in range(10):
            truth = written_out(features[n], questions.rows[q])
            np.testing.assert_allclose(found[q, n], truth, rtol=2e-4, atol=2e-5)


def test_texts_of_another_space_are_refused():
    other = TextFeatures(texts(3, 1).rows, TextSpace("others", "none", 8))
    with pytest.raises(InputError, match="others"):
        evidence(np.ones((2, 8)), other, WORDS)


def test_a_thing_is_believed_to_be_what_it_is_called_rather_than_another():
    name = TextFeatures(WORDS.names.rows[:2], SPACE)
    found = FIT.belief(evidence(WORDS.names.rows[:2], name, WORDS))
    assert found[0, 0] > found[0, 1] and found[1, 1] > found[1, 0]


def test_probability_rises_between_knots_and_ends_flat():
    assert [FIT.probability(b) for b in (0, 0.1, 0.3, 0.9, 1)] == pytest.approx(
        [0, 0, 0.25, 1, 1]
    )


def features_of(row):
    rows = np.stack([WORDS.names.rows[0], WORDS.names.rows[1]])
    return Features(rows, np.array(row, np.int32), np.ones(2, np.int32), SPACE, "voxel")


def test_points_without_a_feature_are_unknown_unless_their_superpoint_has_one():
    features, asked = features_of([0, 0, 1, -1, -1]), texts(3, 2)
    alone = beliefs(features, None, asked, WORDS, FIT)
    assert alone.shape == (2, 5) and alone.dtype == np.float32
    assert np.isnan(alone[:, 3:]).all() and not np.isnan(alone[:, :3]).any()
    together = beliefs(features, np.array([0, 0, 1, 0, 2]), asked, WORDS, FIT)
    np.testing.assert_allclose(together[:, :3], alone[:, :3], rtol=1e-5)
    np.testing.assert_array_equal(together[:, 3], together[:, 0])
    assert np.isnan(together[:, 4]).all()


def test_the_price_of_a_false_find_decides_what_is_answered():
    points = np.random.default_rng(0).random((90, 3)).astype(np.float32) * 0.2
    points[60:] += 5
    values = np.repeat([0.8, 0.45], (60, 30)).astype(np.float32)
    found = regions(points, values, AnswerConfig(share=0.5).regions(config_for(points)))
    assert [len(region.points) for region in found] == [60, 30]

    def scores(price):
        return [r.score for r in likely(found, FIT, AnswerConfig(abstain=price))]

    assert scores(0.5) == pytest.approx([0.875, 0.4375], abs=1e-4)
    assert scores(1) == pytest.approx([0.875], abs=1e-4)
    assert scores(9) == []
    assert likely([region_of(points, np.arange(3), 0.95)], FIT, AnswerConfig(9))
    for wrong in ({"abstain": -1}, {"least": 2}, {"share": np.nan}):
        with pytest.raises(InputError):
            AnswerConfig(**wrong)


def test_everyday_names_are_many_and_asked_for_in_words():
    names = everyday()
    assert len(set(names)) == len(names) > 1000
    assert {"a chair", "an armchair", "a bicycle-built-for-two"} <= set(names)


def test_the_shipped_fit_is_of_minilm_and_rises():
    fit = fit_of(minilm_files.SPACE)
    assert fit is not None and len(fit.weights) == 3
    assert (np.diff(fit.beliefs) > 0).all() and (np.diff(fit.right) >= 0).all()
    assert fit.right[0] >= 0 and fit.right[-1] <= 1
    assert fit_of(SPACE) is None


def test_what_is_held_for_many_questions_answers_as_what_is_asked_once():
    rng = np.random.default_rng(7)
    feat = unit(rng.standard_normal((4, 8))).astype(np.float32)
    row = np.array([0, 1, 2, 3, -1, -1], np.int32)
    features = Features(feat, row, np.ones(4, np.int32), SPACE)
    asked, superpoints = texts(8, 3), np.array([0, 0, 1, 1, 1, 2])
    held = listeners(features, superpoints, WORDS)
    assert held.seen is not None and held.row.tolist() == [0, 0, 1, 1, 1, -1]
    once = beliefs(features, superpoints, asked, WORDS, FIT)
    np.testing.assert_array_equal(held.beliefs(asked, WORDS, FIT), once)
    for number, text in enumerate(asked.rows):
        alone = point_relevancy(
            *(features, TextFeatures(text[None], SPACE), WORDS.anything),
            superpoints=superpoints,
        )
        found = held.relevancy(asked, WORDS.anything)[number]
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="others"):
        held.beliefs(
            TextFeatures(asked.rows, TextSpace("others", "none", 8)), WORDS, FIT
        )
