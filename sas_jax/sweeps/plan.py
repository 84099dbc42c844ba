"""The file of a sweep, and the trials that follow from it.

    seeds = [0, 1, 2]            # each setting once for each

    [flags]                      # of every trial
    epochs = 20

    [grid]                       # or [random], or [[list]]: what varies
    learning_rate = [1e-3, 3e-3]
    [grid.fuse_features]         # a table of a stage: flags of that stage alone
    strategy = ["add", "capability"]

`[random]` draws `trials` settings, each flag of a list of values or of a range
`{min = 1e-4, max = 1e-2, log = true}`; more trials keep those that were drawn before.
`[[list]]` gives one table a setting, with a `name` for people where it has one.
"""

import dataclasses
import itertools
import math
import pathlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from sas_jax.errors import InputError

Value = bool | int | float | str | list
"""Of a flag; a list becomes one with commas."""

WAYS = ("grid", "random", "list")
_KNOWN = ("flags", "seeds", "trials", "draw_seed", "metric", "early_stopping", *WAYS)
_STOPPING = {"metric": "loss", "first_epoch": 1, "keep_one_in": 3}


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training, or one fusion, to be scored.

    Attributes:
      label: words for people; the same for all seeds of a setting.
      flags: name -> value, `<stage>.<name>` for a flag of one stage alone.
      varied: the flags that make the setting, of those.
      seed: of the student.
    """

    label: str
    flags: Mapping[str, Value]
    varied: Mapping[str, Value]
    seed: int


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """When a trial ends before its time.

    Attributes:
      metric: mean of an epoch of training, lower is better.
      first_epoch: before which none ends.
      keep_one_in: of so many trials one goes on, at every such multiple of epochs.
    """

    metric: str
    first_epoch: int
    keep_one_in: int


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a file says.

    Attributes:
      name: of the file, without its ending.
      trials: settings times seeds, in the file's order.
      metric: that ranks settings, higher is better.
      early_stopping: None: every trial goes to its end.
    """

    name: str
    trials: tuple[Trial, ...]
    metric: str
    early_stopping: EarlyStopping | None


def read(path: pathlib.Path) -> Sweep:
    """Read the file of a sweep.

    Args:
      path: TOML; the module's docstring shows it.

    Raises:
      InputError: for a file that is not there, is no TOML, or says what cannot be.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"sweep: --sweep must be a file of TOML, got {error} ({path}). Correct it; "
            "experiments/sweeps has some."
        ) from error
    return _Reader(path, told).sweep()


class _Reader:
    """Reads one file, and names it in what is wrong."""

    def __init__(self, path: pathlib.Path, told: Mapping[str, Any]):
        self._path, self._told = path, told

    def sweep(self) -> Sweep:
        told = self._told
        self._check_keys(told, _KNOWN, "a key")
        ways = [way for way in WAYS if way in told]
        if len(ways) != 1:
            self._refuse("one of [grid], [random] and [[list]]", ways or "none")
        for key in ("trials", "draw_seed"):
            if key in told and ways != ["random"]:
                self._refuse(f"{key} beside [random] alone", f"it beside {ways[0]}")
        fixed = self._flat(told.get("flags", {}), "flags")
        settings = list(getattr(self, f"_{ways[0]}")(told[ways[0]]))
        seeds = told.get("seeds", [0])
        if not _distinct(seeds, lambda s: type(s) is int and s >= 0):
            self._refuse("seeds as distinct whole numbers >= 0", seeds)
        if not settings:
            self._refuse("at least one setting", "none")
        self._check_distinct(settings)
        metric = told.get("metric", "miou")
        if not isinstance(metric, str):
            self._refuse("metric as a name", metric)
        trials = [
            Trial(label, {**fixed, **varied}, varied, seed)
            for label, varied in settings
            for seed in seeds
        ]
        return Sweep(self._path.stem, tuple(trials), metric, self._stopping())

    def _grid(self, told: Any) -> Iterator[tuple[str, dict[str, Value]]]:
        flags = self._flat(told, "grid")
        for name, values in flags.items():
            if not isinstance(values, list) or not values:
                self._refuse(f"a list of values of grid.{name}", values)
        for values in itertools.product(*flags.values()):
            varied = dict(zip(flags, values, strict=True))
            yield label_of(varied), varied

    def _random(self, told: Any) -> Iterator[tuple[str, dict[str, Value]]]:
        flags = self._flat(told, "random", ranges=True)
        trials, seed = self._told.get("trials"), self._told.get("draw_seed", 0)
        if type(trials) is not int or trials < 1:
            self._refuse("trials, how many [random] draws, as a number > 0", trials)
        if type(seed) is not int or seed < 0:
            self._refuse("draw_seed as a whole number >= 0", seed)
        for number in range(trials):
            chance = np.random.default_rng([seed, number])
            varied = {n: self._drawn(n, how, chance) for n, how in flags.items()}
            yield label_of(varied), varied

    def _list(self, told: Any) -> Iterator[tuple[str, dict[str, Value]]]:
        if not isinstance(told, list) or not all(isinstance(t, dict) for t in told):
            self._refuse("[[list]] with one table a setting", told)
        for number, setting in enumerate(told, 1):
            name = setting.get("name")
            if name is not None and not (isinstance(name, str) and name):
                self._refuse("words as the name of a setting", name)
            rest = {key: value for key, value in setting.items() if key != "name"}
            varied = self._flat(rest, f"list {number}")
            yield name or label_of(varied), varied

    def _drawn(self, name: str, how: Any, chance: np.random.Generator) -> Value:
        if isinstance(how, list) and how:
            return how[int(chance.integers(len(how)))]
        if isinstance(how, dict) and {"min", "max"} <= how.keys() <= _RANGE:
            low, high, log = how["min"], how["max"], how.get("log", False)
            numbers = all(type(bound) in (int, float) for bound in (low, high))
            if numbers and type(log) is bool and (0 if log else -math.inf) < low < high:
                return _between(low, high, log, chance)
        self._refuse(
            f"a list of values of random.{name}, or {{min = x, max = y, log = true or "
            "false}} with min < max, and min > 0 where log is true",
            how,
        )

    def _flat(self, told: Any, where: str, *, ranges: bool = False) -> dict[str, Any]:
        """Return flags by name; those of a stage's table by `<stage>.<name>`."""
        if not isinstance(told, dict):
            self._refuse(f"[{where}] as a table of flags", told)
        found: dict[str, Any] = {}
        for name, value in told.items():
            if not isinstance(value, dict) or (ranges and "min" in value):
                found[name] = value
                continue
            for inner, own in value.items():
                if isinstance(own, dict) and not (ranges and "min" in own):
                    self._refuse(f"no table within [{where}.{name}]", inner)
                found[f"{name}.{inner}"] = own
        for name in found:
            if name.rpartition(".")[2] in ("seed", "run", "workspace"):
                self._refuse(
                    f"seeds = [...] for seeds, and no run nor workspace in [{where}]",
                    name,
                )
        return found

    def _stopping(self) -> EarlyStopping | None:
        told = self._told.get("early_stopping")
        if told is None:
            return None
        if not isinstance(told, dict):
            self._refuse("[early_stopping] as a table", told)
        self._check_keys(told, _STOPPING, "of [early_stopping], a key")
        found = EarlyStopping(**{**_STOPPING, **told})
        if type(found.first_epoch) is not int or found.first_epoch < 1:
            self._refuse("first_epoch as a number > 0", found.first_epoch)
        if type(found.keep_one_in) is not int or found.keep_one_in < 2:
            self._refuse("keep_one_in as a number > 1", found.keep_one_in)
        return found

    def _check_keys(self, told: Mapping, known: Sequence[str] | Mapping, what: str):
        for key in told:
            if key not in known:
                self._refuse(f"{what} of {', '.join(known)}", key)

    def _check_distinct(self, settings: Sequence[tuple[str, Mapping]]) -> None:
        labels = [label for label, _ in settings]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            self._refuse("settings that differ, under names that do", twice[0])

    def _refuse(self, wanted: str, got: object) -> NoReturn:
        raise InputError(
            f"sweep: {wanted} is required, got {got} ({self._path}). Correct the file."
        )


_RANGE = frozenset({"min", "max", "log"})


def _between(
    low: float, high: float, log: bool, chance: np.random.Generator
) -> int | float:
    """Return a number of a range; of whole ones where both ends are."""
    whole = type(low) is int and type(high) is int
    if log:
        drawn = math.exp(chance.uniform(math.log(low), math.log(high)))
    elif whole:
        return int(chance.integers(int(low), int(high), endpoint=True))
    else:
        drawn = float(chance.uniform(low, high))
    return round(drawn) if whole else float(f"{drawn:.4g}")


def _distinct(values: Any, fits: Any) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(map(fits, values))
        and len(set(values)) == len(values)
    )


def label_of(varied: Mapping[str, Value]) -> str:
    """Return words for a setting: its flags."""
    told = {
        name: ",".join(map(str, value)) if isinstance(value, list) else value
        for name, value in varied.items()
    }
    return " ".join(f"{name}={value}" for name, value in told.items()) or "as it is"
