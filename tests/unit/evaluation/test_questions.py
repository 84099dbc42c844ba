"""Questions are read line by line, and answers judged as written out."""

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.evaluation.query import region_of
from sas_jax.evaluation.questions import (
    LEAST_POINTS,
    Question,
    heat_precision,
    judge,
    read_questions,
    right_points,
    scores,
    table,
)
from sas_jax.rooms.questions import questions_path
from sas_jax.scenes.labels import SCANNET20

NAMES = ("wall", "chair", "sofa")
SEAT = Question("a seat", "paraphrase", ("chair", "sofa"))


def test_the_rooms_questions_are_enough_and_a_third_asks_for_what_is_not_there():
    found = read_questions(questions_path(), SCANNET20.classes.names)
    kinds = [question.kind for question in found]
    assert len({question.text for question in found}) == len(found) >= 120
    assert kinds.count("absent") >= len(found) / 3 - 1
    assert kinds.count("paraphrase") >= 40
    assert all((q.kind == "absent") == (not q.classes) for q in found)
    assert {name for q in found for name in q.classes} == {
        *SCANNET20.classes.names,
    }


def test_a_file_is_read(tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(
        b"\xef\xbb\xbftext,kind,classes\r\na seat,paraphrase,chair; sofa\r\n"
        b'"a dog, brown",absent,\r\n'
    )
    assert read_questions(path, NAMES) == (
        SEAT,
        Question("a dog, brown", "absent", ()),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,kind\na,b\n", "columns text, kind, classes are required, got text, k"),
        ("", "got none"),
        ("text,kind,classes\n", "one is required, got none"),
        ("text,kind,classes\na,name,chair\nb,name,piano\n", "line 3.*--label_set"),
        ("text,kind,classes\n...,name,chair\n", "line 2"),
        ("text,kind,classes\na,,chair\n", "line 2"),
        ("text,kind,classes\na,name,chair,sofa\n", "line 2"),
    ],
)
def test_a_broken_file_is_named_by_its_line(tmp_path, text, message):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_questions(path, NAMES)


def test_a_missing_or_binary_file_is_named(tmp_path):
    path = tmp_path / "own.csv"
    with pytest.raises(InputError, match=r"own\.csv"):
        read_questions(path, NAMES)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"UTF-8.*own\.csv"):
        read_questions(path, NAMES)


def slow_precision(values, truth):
    """Average the precision at the level of every right point."""
    values = np.nan_to_num(values, nan=-np.inf)
    return np.mean([truth[values >= value].mean() for value in values[truth]])


@pytest.mark.parametrize("seed", range(4))
def test_precision_of_heat_with_ties_and_unseen_points(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, 40).astype(float)
    values[::7] = np.nan
    truth = rng.random(40) < 0.3
    truth[0] = True
    assert heat_precision(values, truth) == pytest.approx(slow_precision(values, truth))
    assert heat_precision(truth.astype(float), truth) == 1


def test_an_answer_is_judged():
    points = np.zeros((200, 3), np.float32)
    labels = np.repeat([0, 1, 2, 255], 50)
    truth = right_points(SEAT, labels, NAMES)
    np.testing.assert_array_equal(truth, np.isin(labels, [1, 2]))
    best = region_of(points, np.arange(50, 120), 0.9)
    other = region_of(points, np.arange(40), 0.4)
    found = judge(SEAT, truth, truth.astype(float), [best, other])
    assert found.there and found.found and found.right and found.precision == 1
    assert found.iou == pytest.approx(70 / 140) and found.score == 0.9
    wrong = judge(SEAT, truth, -truth.astype(float), [other, best])
    assert not wrong.right and wrong.precision == pytest.approx(0.5)
    none = judge(SEAT, truth, 0 * truth, [])
    assert none.there and not none.found and none.iou == none.score == 0


def test_what_is_not_there_is_a_false_find_and_a_rest_is_not_asked_for():
    points = np.zeros((200, 3), np.float32)
    truth = np.zeros(200, bool)
    false = judge(SEAT, truth, np.ones(200), [region_of(points, np.arange(9), 1.0)])
    assert not false.there and false.found and np.isnan(false.precision)
    assert not judge(SEAT, truth, np.ones(200), []).found
    truth[: LEAST_POINTS - 1] = True
    assert judge(SEAT, truth, np.ones(200), []) is None
    truth[:LEAST_POINTS] = True
    assert judge(SEAT, truth, np.ones(200), []).there


def test_the_table_has_a_line_for_each_method_and_kind():
    points, truth = np.zeros((200, 3), np.float32), np.arange(200) < 100
    region = region_of(points, np.arange(80), 0.7)
    right = judge(SEAT, truth, truth.astype(float), [region])
    absent = Question("a dog", "absent", ())
    false = judge(absent, 0 * truth > 0, np.ones(200), [region])
    honest = judge(absent, 0 * truth > 0, np.ones(200), [])
    rows = {"fused": [right, false, honest], "student": [right]}
    assert scores(rows["fused"]) == {
        "there": 1, "heat AP": 100, "right": 100, "missed": 0,
        "IoU": pytest.approx(80), "absent": 2, "false": 50,
    }  # fmt: skip
    lines = table(rows).splitlines()
    assert [line.split()[0] for line in lines] == [
        "answers", "fused", "paraphrase", "absent", "student",
    ]  # fmt: skip
    assert lines[3].split()[1:] == ["0", "-", "-", "-", "-", "2", "50.0"]


def test_scores_are_kept(tmp_path):
    from sas_jax.evaluation import questions

    answered = [
        questions.Judgement("name", True, True, 0.5, True, 0.4, 0.9),
        questions.Judgement("absent", False, True, np.nan, False, 0.0, 0.3),
    ]
    questions.save(tmp_path / "a.json", "fused/add", answered, "k")
    name, rows = questions.load(tmp_path / "a.json")
    assert name == "fused/add" and list(rows) == [questions.ALL, "name", "absent"]
    for kind, kept in rows.items():
        chosen = [a for a in answered if kind in (questions.ALL, a.kind)]
        assert kept == pytest.approx(questions.scores(chosen), nan_ok=True)
