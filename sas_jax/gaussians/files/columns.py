"""Columns that are interleaved in memory, taken out row block by row block."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

# A block's rows (a quarter of a kilobyte each) stay in the second cache while every
# column is read from them.
_ROWS_AT_ONCE = 2048


def side_by_side(
    columns: Mapping[str, Shaped[np.ndarray, " G"]],
    groups: Mapping[str, Sequence[str]],
    dtype: type[np.generic] = np.float32,
) -> dict[str, Shaped[np.ndarray, "G C"]]:
    """Return a matrix for each group of columns, which are of one length.

    Args:
      columns: by name, of any number type.
      groups: name of a matrix -> names of its columns.
      dtype: of the result; what it does not hold becomes infinite.
    """
    rows = len(next(iter(columns.values()), ()))
    found = {n: np.empty((rows, len(g)), dtype) for n, g in groups.items()}
    pairs = [
        (columns[name], found[group][:, place])
        for group, names in groups.items()
        for place, name in enumerate(names)
    ]
    with np.errstate(over="ignore"):
        for first in range(0, rows, _ROWS_AT_ONCE):
            block = slice(first, first + _ROWS_AT_ONCE)
            for column, target in pairs:
                target[block] = column[block]
    return found


def planar(names: Sequence[str]) -> list[str]:
    """Return names of coefficients, all of red first, with the three colours inside."""
    each = len(names) // 3
    return [name for k in range(each) for name in names[k::each]]
