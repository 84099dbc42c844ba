"""What became of the trials of a sweep, and which setting was best."""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from sas_jax.artefacts.files import atomic_write
from sas_jax.errors import InputError
from sas_jax.sweeps.plan import Trial

DONE, STOPPED, FAILED = "done", "stopped early", "failed"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one trial.

    Attributes:
      trial: it.
      run: name of its run folder.
      state: DONE, STOPPED or FAILED.
      metrics: scores on validation scenes, in percent; none where it is not done.
      workspace: folder that has the run.
    """

    trial: Trial
    run: str
    state: str
    metrics: Mapping[str, float]
    workspace: str


@dataclasses.dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
      label: words for people.
      varied: its flags.
      values: the metric of each seed that is done.
      mean: of these; NaN without any.
      spread: their standard deviation; None for fewer than two.
      means: of every metric.
      unfinished: trials that failed or were stopped early.
      best: whether no other setting has a higher mean.
    """

    label: str
    varied: Mapping[str, object]
    values: tuple[float, ...]
    mean: float
    spread: float | None
    means: Mapping[str, float]
    unfinished: int
    best: bool = False


def rows(outcomes: Sequence[Outcome], metric: str) -> list[Row]:
    """Return one row a setting, the best first and those without a score last.

    Raises:
      InputError: for a metric that trials do not have.
    """
    settings: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        settings.setdefault(outcome.trial.label, []).append(outcome)
    found = [_row(label, group, metric) for label, group in settings.items()]
    found.sort(key=lambda row: -np.nan_to_num(row.mean, nan=-np.inf))
    if found and found[0].values:
        found[0] = dataclasses.replace(found[0], best=True)
    return found


def _row(label: str, group: Sequence[Outcome], metric: str) -> Row:
    done = [outcome for outcome in group if outcome.state == DONE]
    for outcome in done:
        if metric not in outcome.metrics:
            raise InputError(
                f"sweep: metric must be of {', '.join(outcome.metrics)}, got {metric} "
                f"({outcome.run}). Correct the file of the sweep."
            )
    values = tuple(outcome.metrics[metric] for outcome in done)
    names = list(done[0].metrics) if done else []
    return Row(
        label=label,
        varied=group[0].trial.varied,
        values=values,
        mean=float(np.mean(values)) if values else float("nan"),
        spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        means={n: float(np.mean([o.metrics[n] for o in done])) for n in names},
        unfinished=len(group) - len(done),
    )


def text(found: Sequence[Row], metric: str) -> str:
    """Return the table for a terminal."""
    wide = 2 + max(len(row.label) for row in found)
    lines = [f"{'setting':<{wide}}{metric:>12}{'spread':>9}{'seeds':>7}"]
    for row in found:
        spread = "-" if row.spread is None else f"{row.spread:.2f}"
        mean = f"{row.mean:.2f}" if row.values else "-"
        ends = ["best"] * row.best + [f"{row.unfinished} unfinished"] * (
            row.unfinished > 0
        )
        line = f"{row.label:<{wide}}{mean:>12}{spread:>9}{len(row.values):>7}"
        lines.append(f"{line}  {', '.join(ends)}".rstrip())
    return "\n".join(lines)


def write_rows(path: pathlib.Path, found: Sequence[Row], metric: str) -> None:
    """Write one line a setting as CSV: flags, mean, spread, seeds, other metrics."""
    names = list(dict.fromkeys(name for row in found for name in row.varied))
    others = list(dict.fromkeys(name for row in found for name in row.means))
    others = [name for name in others if name != metric]
    head = ["setting", *names, metric, "spread", "seeds", "best", *others]
    lines = [
        [
            row.label,
            *(row.varied.get(name, "") for name in names),
            _cell(row.mean if row.values else None),
            _cell(row.spread),
            len(row.values),
            int(row.best),
            *(_cell(row.means.get(name)) for name in others),
        ]
        for row in found
    ]
    _write(path, [head, *lines])


def write_outcomes(path: pathlib.Path, outcomes: Sequence[Outcome]) -> None:
    """Write one line a trial as CSV: flags, seed, state, metrics, run and workspace."""
    names = list(dict.fromkeys(n for each in outcomes for n in each.trial.varied))
    metrics = list(dict.fromkeys(n for each in outcomes for n in each.metrics))
    lines = [
        [
            each.trial.label,
            *(each.trial.varied.get(name, "") for name in names),
            each.trial.seed,
            each.state,
            *(_cell(each.metrics.get(name)) for name in metrics),
            each.run,
            each.workspace,
        ]
        for each in outcomes
    ]
    head = ["setting", *names, "seed", "state", *metrics, "run", "workspace"]
    _write(path, [head, *lines])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _write(path: pathlib.Path, lines: Sequence[Sequence[object]]) -> None:
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator="\n").writerows(lines)
    atomic_write(path, made.getvalue().encode())
