"""What the report says first: computed from its rows."""

import sys

import pytest

from sas_jax.evaluation.questions import ALL
from sas_jax.evaluation.summary import Row, claims


@pytest.fixture
def limits(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    import report_limits

    yield report_limits
    sys.modules.pop("report_limits")


def row(name, *iou, seeds=1):
    miou = sum(iou) / len(iou)
    return Row(name, name, miou, 0, 0, 0, None, (miou,) * seeds, iou)


def said(limits, rows, questions=None, correlation=0.9):
    by_name = {each.name: each for each in rows}
    teachers = [n.partition("/")[2] for n in by_name if n.startswith("teacher/")]
    results = {
        "claims": claims(by_name, teachers),
        "capability_difference_correlation": correlation,
    }
    found = limits.section(by_name, results, questions or {}, ["bed", "sink"])
    return "\n".join(found.items)


def test_a_claim_that_fails_comes_with_its_number(limits):
    rows = [row("teacher/a", 40, 50), row("fused/capability", 30, 54)]
    found = said(limits, rows, correlation=0.1)
    assert (
        "Not so here: fused features beat the best single teacher (-3.0 mIoU)" in found
    )
    assert "better than their fusion on 1 of 2 classes: bed (-10)" in found
    assert "differences is 0.10" in found
    assert "Not measured: answers to questions" in found
    assert "is not found" not in found and "One seed" not in found


def test_lost_classes_and_single_seeds_are_named(limits):
    rows = [row("student/superpoint", 70, 2), row("student/full", 71, 80, seeds=3)]
    found = said(limits, rows)
    assert "sink is not found (IoU below 5) by student/superpoint." in found
    assert "One seed each" in found and "full" not in found.split("\n")[0]


def test_answers_short_of_their_marks_are_named(limits):
    score = {"right": 70.0, "false": 20.0}
    kinds = {ALL: score, "name": {"right": 60.0, "false": 40.0}}
    found = said(limits, [row("fused/add", 50, 60)], {"fused/add": kinds})
    assert "fused/add finds what is not there, in questions of: name 40 %." in found
    assert "in 70 % of the questions, less than 80." in found
    good = {"fused/add": {ALL: {"right": 81.0, "false": 20.0}}}
    assert "fused/add" not in said(limits, [row("fused/add", 50, 60)], good)
