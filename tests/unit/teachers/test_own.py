"""A user's teacher that is wrong: one line says what it did, whatever it did."""

import dataclasses
import sys

import numpy as np
import pytest
import second_teacher

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry
from sas_jax.teachers.contracts import Segments, TeacherSpec

IMAGES = [np.zeros((8, 6, 3), np.uint8)] * 3
GOOD = np.zeros((4, 3, second_teacher.SPACE.dim), np.float16)


class Mine(second_teacher.ColourTeacher):
    def __init__(self, answers):
        self.answers = answers

    def features(self, images):
        return self.answers(images)


class MyMasks:
    spec = dataclasses.replace(Mine.spec, contract="mask")

    def segment(self, images, vocabulary=None):
        return [Segments(np.full((8, 5), 1, np.int32), ["a"], np.ones(1))] * 3


def fail(*_):
    raise RuntimeError("no memory\nleft")


@pytest.fixture
def load(monkeypatch):
    """Return what loads an object as a teacher of one's own."""
    monkeypatch.setenv(registry.OWN, "")
    monkeypatch.setattr(registry, "ENTRIES", dict(registry.ENTRIES))

    def load(make, contract="dense"):
        monkeypatch.setattr(sys.modules[__name__], "made", lambda _: make(), False)
        registry.add("mine", contract, f"{__name__}:made")
        return registry.load("mine", LoadOptions())

    return load


def test_what_is_right_comes_through(load):
    teacher = load(lambda: Mine(lambda images: [GOOD] * len(images)))
    assert [each is GOOD for each in teacher.features(IMAGES)] == [True] * 3
    assert teacher.encode_text(["a"]).shape == (1, second_teacher.SPACE.dim)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (lambda _: [GOOD + np.float16(np.nan)] * 3, r"got 576 of 576 that are NaN"),
        (
            lambda _: [GOOD.astype(np.float32)] * 3,
            r"float16 \[h, w, 48\].*got .*float32",
        ),
        (lambda _: [GOOD[..., :9]] * 3, r"got .* float16 \[4, 3, 9\]"),
        (lambda _: [GOOD[:0]] * 3, r"got .* \[0, 3, 48\]"),
        (lambda _: [None] * 3, "got builtins.NoneType"),
        (lambda _: [GOOD] * 2, "list of 3, .*got list of 2"),
        (lambda _: None, "got NoneType"),
        (fail, r"\[8, 6, 3\], got RuntimeError: no memory left \(.*test_own.py:\d+\)"),
    ],
)
def test_what_breaks_the_contract_is_one_line(load, answers, told):
    with pytest.raises(InputError, match=rf"^teacher: mine\.features .*{told}") as got:
        load(lambda: Mine(answers)).features(IMAGES)
    assert "\n" not in str(got.value)


def test_masks_of_another_size_are_told(load):
    with pytest.raises(
        InputError, match=r"mine.segment: masks of .*\[8, 6\].*\[8, 5\]"
    ):
        load(MyMasks, "mask").segment(IMAGES)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (fail, "mine must load, got RuntimeError"),
        (lambda: None, "mine must have a TeacherSpec.*got NoneType"),
        (MyMasks, "mine must have .* and `features`, got MyMasks"),
    ],
)
def test_what_is_no_teacher_is_refused(load, make, told):
    with pytest.raises(InputError, match=f"^teacher: {told}"):
        load(make)


def test_the_contract_of_the_spec_is_the_one_it_was_added_with(load):
    with pytest.raises(InputError, match="must be dense, as it was added, got heat"):
        odd = Mine(fail)
        odd.spec = TeacherSpec("mine", "heat", *dataclasses.astuple(Mine.spec)[2:])
        load(lambda: odd)
