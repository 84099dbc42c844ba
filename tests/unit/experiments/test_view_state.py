"""What the viewer shows follows from its fields: no browser, no text tower."""

import sys

import numpy as np
import pytest
from absl import flags

from sas_jax.errors import InputError
from sas_jax.evaluation.query import region_of
from sas_jax.instances.masks import of_ids
from sas_jax.scenes.labels import SCANNET20
from sas_jax.scenes.scene import Scene
from sas_jax.view.browser import paint

POINTS = np.random.default_rng(0).uniform(0, 3, (40, 3)).astype(np.float32)
COLORS = np.random.default_rng(1).integers(0, 255, (40, 3)).astype(np.uint8)


@pytest.fixture
def state(root, monkeypatch):
    """The module, with the flags' defaults."""
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    import view_state

    flags.FLAGS.mark_as_parsed()
    return view_state


class Toy:
    """A source whose answer is a number for every point."""

    is_fitted = True
    asked = 0

    def __init__(self, module, best):
        self.module, self.best = module, best

    def check(self, question):
        if "xyzzy" in question.texts:
            raise InputError("query: known words are required, got xyzzy.")

    def ask(self, question, abstain):
        self.asked += 1
        values = np.linspace(0, self.best, 40).astype(np.float32)
        values[0] = np.nan
        found = [region_of(POINTS, np.arange(30, 40), self.best - abstain / 10)]
        return self.module.Answer(values, found, (0.0, max(0.5, self.best)), "belief")

    def classes(self, labels):
        return np.repeat([0, 0, 4, -1], 10)


@pytest.fixture
def view(state, monkeypatch):
    toys = {"first": Toy(state, 0.9), "second": Toy(state, 0.3)}
    monkeypatch.setattr(state, "Answerer", lambda name, *rest: toys[name])
    shown = state.View(
        Scene("s", POINTS, colors=COLORS),
        {name: lambda name=name: name for name in toys},
        SCANNET20,
        lambda: np.arange(40) // 10,
        lambda: of_ids(np.arange(40) // 20),
    )
    shown.toys = toys
    return shown


def test_before_a_question_the_scan_is_as_it_is(view):
    assert view.shown == ("first",) and view.colours == "scan"
    np.testing.assert_array_equal(view.colors("first"), COLORS)
    assert view.legend() == "" and view.regions("first") == []


def test_a_question_paints_heat_and_is_asked_once(view):
    view.ask("a chair | a sofa")
    assert view.colours == "answer" and view.question.any_of == ("a chair", "a sofa")
    colors = view.colors("first")
    assert tuple(colors[0]) == paint.UNSEEN and np.ptp(colors[1]) < 40
    assert colors[-1, 0] > 100 > colors[-1, 1]
    assert view.label("first", 0) == "1: 88 %" and "0.9" in view.legend()
    assert view.toys["first"].asked == 1
    view.abstain = 1.0
    assert view.label("first", 0) == "1: 80 %" and view.toys["first"].asked == 2


def test_sources_side_by_side_share_their_scale_in_their_order(view):
    view.ask("a chair")
    alone = view.colors("first")
    view.show(["second", "first"])
    assert view.shown == ("first", "second")
    np.testing.assert_array_equal(view.colors("first"), alone)
    assert (view.colors("second")[-1] != alone[-1]).any()  # 0.3 on a scale to 0.9
    view.show([])
    assert view.shown == ("first", "second")  # somebody has to answer


@pytest.mark.parametrize("text", ["", " !?", "a chair |", "xyzzy"])
def test_what_is_no_question_leaves_the_answer_as_it_was(view, text):
    view.ask("a chair")
    before = view.question
    with pytest.raises(InputError, match=r"must hold a word|xyzzy"):
        view.ask(text)
    assert view.question == before


def test_a_source_that_cannot_be_loaded_is_not_shown(view):
    def fail():
        raise InputError("features: gone")

    view.sources["second"] = fail
    with pytest.raises(InputError):
        view.show(["first", "second"])
    assert view.shown == ("first",)


def test_classes_are_painted_listed_by_size_and_can_be_hidden(view):
    view.colours = "classes"
    assert view.present() == [0, 4]
    colors = view.colors("first")
    assert tuple(colors[0]) == tuple(SCANNET20.palette[0])
    assert tuple(colors[-1]) == paint.UNSEEN
    view.hidden = frozenset({4})
    hidden = view.colors("first")[20:30]
    assert (np.ptp(hidden, axis=1) == 0).all()
    names = SCANNET20.classes.names
    assert names[0] in view.legend() and names[4] not in view.legend()


def test_superpoints_and_instances_have_colours_and_boxes(view):
    view.colours = "superpoints"
    assert len(np.unique(view.colors("first"), axis=0)) == 4
    view.colours = "instances"
    assert len(np.unique(view.colors("first"), axis=0)) == 2
    (first, second) = view.things()
    np.testing.assert_allclose(first.size_m, np.ptp(POINTS[:20], axis=0))
    assert len(second.points) == 20
