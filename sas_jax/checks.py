"""Checks of configurations: numbers within bounds, names of a list.

A field is called by the flag of its name, which most fields have.
"""

import math
from collections.abc import Collection

from sas_jax.errors import InputError

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


def in_range(
    where: str,
    name: str,
    value: float | None,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
) -> None:
    """Check a number; None, which leaves a choice open, passes.

    Args:
      where: begins the error.
      name: of the field.
      value: its value.
      low: least value.
      high: greatest value; infinity itself never passes.
      above: whether `low` itself is too little.

    Raises:
      InputError: for a number outside, and for what is none (NaN, infinity).
    """
    if value is None:
        return
    within = (value > low if above else value >= low) and value <= high
    if within and math.isfinite(value):
        return
    bound = f"{name} {'>' if above else '>='} {low:g}"
    bound += "" if high == math.inf else f" and <= {high:g}"
    raise InputError(f"{where}: {bound} is required, got {value}. Change --{name}.")


def one_of(where: str, name: str, value: object, allowed: Collection[object]) -> None:
    """Check a name; arguments as `in_range`.

    Raises:
      InputError: for a value that is not allowed.
    """
    if value not in allowed:
        raise InputError(
            f"{where}: {name} must be one of {', '.join(map(str, allowed))}, got "
            f"{value!r}. Check its spelling."
        )
