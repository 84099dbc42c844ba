"""Points as lines of text: XYZ, PTS, ASC, CSV, with or without names of columns.

Numbers stand between white space, commas or semicolons (then a comma is a decimal
point). A line of names says what the columns are; without, their values do: three that
are unit vectors are a normal, three in 0..255 or 0..1 a colour. PTS files begin with
the number of points and have an intensity before the colour.
"""

import pathlib
import re

import numpy as np
from jaxtyping import Float, Float64

from sas_jax.errors import InputError
from sas_jax.scenes.mesh import Mesh, byte_colors, checked_mesh
from sas_jax.scenes.text_numbers import parse_numbers

_NAMES = {
    "position": (("x", "y", "z"), ("points:0", "points:1", "points:2")),
    "normal": (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z")),
    "color": (("r", "g", "b"), ("red", "green", "blue")),
}
_HEAD_LINES = 100
_MOST_COLUMNS = 100
_BLOCK = 1 << 24  # bytes whose lines are counted at once
_WORD = re.compile(r"[A-Za-z_]")
_UNIT_TOLERANCE = 0.02
# Of the rows, what has to be a unit vector.
_MOST = 0.95
_JUDGED_ROWS = 10_000


def read_text_points(path: pathlib.Path) -> Mesh:
    """Read a point cloud; see the module.

    Raises:
      InputError: for a missing, damaged or empty file, and one of something else; the
        file is named.
    """
    try:
        table, names = _table(path.read_bytes(), path.suffix.lower() == ".pts")
    except (OSError, ValueError, MemoryError) as error:
        raise InputError(
            "points: lines of x y z and what belongs to them are required, got "
            f"{str(error) or type(error).__name__} ({path}). Correct the file, or "
            "export PLY."
        ) from error
    if names is not None:
        columns = _named(names)
    else:
        columns = _guessed(table[:_JUDGED_ROWS], path.suffix.lower())
    if "position" not in columns:
        raise InputError(
            f"points: columns x, y, z are required, got {', '.join(names or ())[:200]} "
            f"({path}). Name them so in the first line."
        )
    found = {what: table[:, list(where)] for what, where in columns.items()}
    colors = found.get("color")
    return checked_mesh(
        found["position"],
        f"points ({path})",
        normals=found.get("normal"),
        colors=None if colors is None else byte_colors(colors),
    )


def _table(
    data: bytes, counted: bool
) -> tuple[Float64[np.ndarray, "P C"], list[str] | None]:
    """Return the numbers in rows, and the names of the columns where there are any.

    Args:
      data: of the file.
      counted: a number that stands alone in the first line is that of the points.
    """
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    data = data.replace(b"\r", b"\n")
    names, at, first = None, 0, None
    for _ in range(_HEAD_LINES):
        end = data.find(b"\n", at)
        line = data[at : len(data) if end < 0 else end].strip()
        words = _words(line)
        if line and all(_is_number(word) for word in words):
            if counted and len(words) == 1 and first is None:
                first = words[0]
            else:
                break
        elif line and _WORD.search(line.decode("utf-8", "replace")):
            names = _head(line) or names
        at = len(data) if end < 0 else end + 1
        if at >= len(data):
            raise ValueError("no line of numbers")
    else:
        raise ValueError(f"no line of numbers among the first {_HEAD_LINES}")
    width = len(words)
    if not 3 <= width <= _MOST_COLUMNS:
        raise ValueError(f"lines of {width} number{'s' * (width != 1)}")
    text = _spaced(data[at:], line)
    numbers = parse_numbers(text)
    _check_lines(text, width)
    if first is not None and float(first) > len(numbers) // width:
        stated = first.decode("ascii", "replace")
        raise ValueError(f"{len(numbers) // width} points where {stated} are announced")
    names = names if names is not None and len(names) == width else None
    return numbers.reshape(-1, width), names


def _check_lines(text: bytes, width: int) -> None:
    """Raise ValueError for a line of another number of words; empty ones may be."""
    begin = 0
    while begin < len(text):
        last = text.rfind(b"\n", begin, begin + _BLOCK)
        last = text.find(b"\n", begin) if last < 0 else last
        end = len(text) if last < 0 else last + 1
        block = np.frombuffer(text, np.uint8, end - begin, begin)
        first = block > ord(" ")
        first[1:] &= block[:-1] <= ord(" ")
        so_far = np.cumsum(first, dtype=np.int64)
        ends = np.append(np.flatnonzero(block == ord("\n")), len(block) - 1)
        count = np.diff(so_far[ends], prepend=0)
        wrong = count[(count != width) & (count != 0)]
        if len(wrong):
            raise ValueError(f"a line of {wrong[0]} numbers among lines of {width}")
        begin = end


def _words(line: bytes) -> list[bytes]:
    return _spaced(line, line).split()


def _spaced(text: bytes, line: bytes) -> bytes:
    """Return a text with white space between numbers, separated as in a line of it."""
    if b";" in line:
        return text.replace(b",", b".").replace(b";", b" ")
    return text.replace(b",", b" ") if b"," in line else text


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _head(line: bytes) -> list[str] | None:
    """Return names of columns in a line, None where x, y and z are not among them."""
    text = line.decode("utf-8", "replace").lstrip("#/ \t").lower()
    names = [re.sub(r"[\"'\[(].*|\"|'", "", n) for n in re.split(r"[\s,;]+", text)]
    return names if {"x", "y", "z"} <= set(names) or "points:0" in text else None


def _named(names: list[str]) -> dict[str, tuple[int, ...]]:
    columns = {}
    for what, variants in _NAMES.items():
        for variant in variants:
            if set(variant) <= set(names):
                columns[what] = tuple(names.index(name) for name in variant)
    return columns


def _guessed(
    rows: Float64[np.ndarray, "R C"], suffix: str
) -> dict[str, tuple[int, ...]]:
    """Tell columns by their values."""
    columns: dict[str, tuple[int, ...]] = {"position": (0, 1, 2)}
    # An intensity stands before the colour where that is the custom.
    starts = list(range(3, rows.shape[1] - 2))
    if suffix == ".pts" and rows.shape[1] == 7:
        starts = [4, 3]
    tests = {"normal": _are_unit, "color": _are_colors}
    if suffix == ".xyzrgb":
        tests.pop("normal")
    for what, test in tests.items():
        for start in starts:
            where = (start, start + 1, start + 2)
            taken = {n for used in columns.values() for n in used}
            if not taken & set(where) and test(rows[:, where]):
                columns[what] = where
                break
    return columns


def _are_unit(values: Float[np.ndarray, "R 3"]) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.sqrt((values * values).sum(axis=1))
        share = (np.abs(length - 1) < _UNIT_TOLERANCE).mean()
    # Colours in 0..1 can have that length too, but no negative numbers.
    return bool(share > _MOST and (values < 0).any())


def _are_colors(values: Float[np.ndarray, "R 3"]) -> bool:
    if not ((values >= 0) & (values <= 255)).all():
        return False
    return bool((values == np.round(values)).all() or values.max() <= 1)
