"""The table and the picture of a sweep: mean, spread, best, and what is unfinished."""

import csv
import statistics

import numpy as np
import pytest
from PIL import Image

from sas_jax.errors import InputError
from sas_jax.sweeps import picture, table
from sas_jax.sweeps.plan import Trial
from sas_jax.sweeps.table import DONE, FAILED, STOPPED, Outcome


def outcome(rate, seed, miou=None, state=DONE):
    varied = {"learning_rate": rate}
    trial = Trial(f"rate {rate}", {**varied, "epochs": 2}, varied, seed)
    metrics = {} if miou is None else {"miou": miou, "macc": miou / 2}
    return Outcome(trial, f"run-{rate}-{seed}", state, metrics, "runs/a")


OUTCOMES = [
    outcome(1, 0, 40.0),
    outcome(1, 1, 46.0),
    outcome(2, 0, 44.0),
    outcome(2, 1, state=FAILED),
    outcome(3, 0, state=STOPPED),
    outcome(4, 0, 42.0),
    outcome(4, 1, 47.0),
]


def read(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_settings_are_ranked_by_the_mean_of_their_seeds():
    rows = table.rows(OUTCOMES, "miou")
    assert [row.label for row in rows] == ["rate 4", "rate 2", "rate 1", "rate 3"]
    assert [row.best for row in rows] == [True, False, False, False]
    assert [row.unfinished for row in rows] == [0, 1, 0, 1]
    assert rows[0].mean == 44.5 and rows[0].means["macc"] == 22.25
    assert rows[0].spread == pytest.approx(statistics.stdev([42, 47]))
    assert rows[1].spread is None and np.isnan(rows[3].mean)
    said = table.text(rows, "miou").splitlines()
    assert said[1].endswith("best") and "44.50" in said[1]
    assert said[4].endswith("1 unfinished")


def test_a_metric_that_trials_do_not_have_is_said():
    with pytest.raises(InputError, match="metric must be of miou, macc, got iou"):
        table.rows(OUTCOMES, "iou")


def test_both_tables_are_exported(tmp_path):
    rows = table.rows(OUTCOMES, "macc")
    table.write_rows(tmp_path / "settings.csv", rows, "macc")
    settings = read(tmp_path / "settings.csv")
    assert list(settings[0]) == [
        *("setting", "learning_rate", "macc", "spread", "seeds", "best", "miou")
    ]
    assert settings[0] == {
        "setting": "rate 4",
        "learning_rate": "4",
        "macc": "22.2500",
        "spread": "1.7678",
        "seeds": "2",
        "best": "1",
        "miou": "44.5000",
    }
    assert settings[3]["macc"] == "" and settings[3]["seeds"] == "0"
    table.write_outcomes(tmp_path / "trials.csv", OUTCOMES)
    trials = read(tmp_path / "trials.csv")
    assert [t["seed"] for t in trials] == ["0", "1", "0", "1", "0", "0", "1"]
    assert trials[3]["state"] == "failed" and trials[3]["miou"] == ""
    assert trials[1]["run"] == "run-1-1" and trials[1]["workspace"] == "runs/a"


def test_the_picture_shows_every_scored_setting_and_at_most_thirty(tmp_path):
    rows = table.rows(OUTCOMES, "miou")
    figure = picture.draw(rows, "miou")
    axes = figure.axes[0]
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert shown == ["rate 4", "rate 2", "rate 1"]
    assert [text.get_text() for text in axes.texts] == ["44.5", "44.0", "43.0"]
    figure.savefig(tmp_path / "sweep.png")
    assert np.asarray(Image.open(tmp_path / "sweep.png")).std() > 5
    many = [outcome(rate, 0, float(rate)) for rate in range(40)]
    axes = picture.draw(table.rows(many, "miou"), "miou").axes[0]
    assert len(axes.get_yticklabels()) == 30
    assert "the best 30 of 40" in axes.get_title(loc="left")
