"""The rows of a PLY file, whatever they mean: columns of numbers and of lists.

Rows are text or binary. No memory is taken for rows that the file cannot hold.
"""

import dataclasses
import functools
import pathlib
import struct

import numpy as np
from jaxtyping import Int, Int64, Shaped

from sas_jax.scenes.ply_header import TYPE_NAMES, Element, Property, parse_header
from sas_jax.scenes.text_numbers import parse_numbers


@dataclasses.dataclass(frozen=True)
class Lists:
    """A list property: one list of numbers per row.

    Attributes:
      values: all lists, one after the other, in the type that the file declares.
      counts: [R] length of each.
    """

    values: Shaped[np.ndarray, " V"]
    counts: Int64[np.ndarray, " R"]


Columns = dict[str, Shaped[np.ndarray, " R"] | Lists]


class _Binary:
    """Rows as bytes; positions count bytes."""

    def __init__(self, data: memoryview):
        self._data = data
        self.end = len(data)

    @staticmethod
    def size(dtype: np.dtype) -> int:
        return dtype.itemsize

    def grid(
        self, dtype: np.dtype, start: int, shape: tuple[int, int], stride: int
    ) -> Shaped[np.ndarray, "R V"]:
        """Return V numbers of every row, the first of row i at start + i stride."""
        strides = (stride, dtype.itemsize)
        return np.ndarray(shape, dtype, self._data, start, strides)

    def gather(
        self, dtype: np.dtype, positions: Int[np.ndarray, " V"]
    ) -> Shaped[np.ndarray, " V"]:
        """Return the numbers at any positions."""
        data = np.frombuffer(self._data, np.uint8)
        rows = np.empty((len(positions), dtype.itemsize), np.uint8)
        for byte in range(dtype.itemsize):
            rows[:, byte] = data[positions + byte]
        return rows.view(dtype)[:, 0]

    @staticmethod
    def typed(numbers: Shaped[np.ndarray, "..."], dtype: np.dtype) -> np.ndarray:
        """Return a copy in native byte order."""
        return numbers.astype(dtype.newbyteorder("="))

    def count(self, dtype: np.dtype, position: int) -> int:
        """Return the length that stands before a list; struct.error past the end."""
        return struct.unpack_from(_struct_code(dtype), self._data, position)[0]


@functools.cache
def _struct_code(dtype: np.dtype) -> str:
    code = "bhi"[(1, 2, 4).index(dtype.itemsize)]
    order = ">" if dtype.str[0] == ">" else "<"
    return order + (code.upper() if dtype.kind == "u" else code)


class _Text:
    """Rows as numbers in text, on lines or not; positions count numbers."""

    def __init__(self, data: memoryview):
        self._numbers = parse_numbers(bytes(data))
        self.end = len(self._numbers)

    @staticmethod
    def size(dtype: np.dtype) -> int:
        return 1

    def grid(
        self, dtype: np.dtype, start: int, shape: tuple[int, int], stride: int
    ) -> Shaped[np.ndarray, "R V"]:
        """See `_Binary`."""
        step = self._numbers.itemsize
        strides = (stride * step, step)
        return np.ndarray(shape, np.float64, self._numbers, start * step, strides)

    def gather(
        self, dtype: np.dtype, positions: Int[np.ndarray, " V"]
    ) -> Shaped[np.ndarray, " V"]:
        """See `_Binary`."""
        return self._numbers[positions]

    @staticmethod
    def typed(numbers: Shaped[np.ndarray, "..."], dtype: np.dtype) -> np.ndarray:
        """Return a copy in the declared type; ValueError where that changes numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            typed = numbers.astype(dtype)
        if dtype.kind != "f" and not np.array_equal(typed, numbers):
            first = numbers[typed != numbers][0]
            raise ValueError(f"{first} for a {TYPE_NAMES[dtype.str[1:]][0]}")
        return typed

    def count(self, dtype: np.dtype, position: int) -> int:
        """See `_Binary`; IndexError past the end."""
        number = self._numbers[position]
        if not number.is_integer():
            raise ValueError(f"a list of {number} numbers")
        return int(number)


def read_elements(path: pathlib.Path, *, copy: bool = True) -> dict[str, Columns]:
    """Return element name -> property name -> column; names in lower case.

    Args:
      path: PLY file, text or binary of either byte order; bytes after the last row of
        a binary one are ignored.
      copy: whether columns are copied out of the rows of a binary file, where those of
        a row lie side by side; else they may be read-only views in its byte order.

    Returns:
      Columns in native byte order and in the type that the header declares.

    Raises:
      OSError: where the file cannot be read.
      ValueError: where it is no complete PLY file; says what is wrong.
    """
    data = path.read_bytes()
    header = parse_header(data)
    body = (_Text if header.is_text else _Binary)(memoryview(data)[header.size :])
    position, found = 0, {}
    for element in header.elements:
        found[element.name], position = _read(body, element, position, copy)
    if header.is_text and position < body.end:
        raise ValueError(f"{body.end} numbers where the header declares {position}")
    return found


def _read(
    body: _Binary | _Text, element: Element, start: int, copy: bool
) -> tuple[Columns, int]:
    """Return an element's columns and where they end."""
    properties, rows = element.properties, element.rows
    least = sum(body.size(p.count or p.dtype) for p in properties)
    if start + rows * least > body.end:
        raise ValueError(
            f"{rows} rows of {element.name} in the header, of which the file holds at "
            f"most {(body.end - start) // least}"
        )
    if not properties or not rows:
        return {p.name: _empty(p) for p in properties}, start
    begins, lengths, end = _walk(body, element, start, 1)
    if _are_alike(body, element, begins[0], lengths[0], start, end - start):
        stride = end - start
        columns = [
            body.grid(p.dtype, begin, (rows, length), stride).reshape(-1)
            for p, begin, length in zip(properties, begins[0], lengths[0], strict=True)
        ]
        lengths = np.broadcast_to(lengths, (rows, len(properties)))
        end = start + rows * stride
    else:
        begins, lengths, end = _walk(body, element, start, rows)
        columns = [
            body.gather(p.dtype, _positions(begin, length, body.size(p.dtype)))
            for p, begin, length in zip(properties, begins.T, lengths.T, strict=True)
        ]
    found = {}
    for p, column, length in zip(properties, columns, lengths.T, strict=True):
        keep = not copy and isinstance(body, _Binary)
        values = column if keep else body.typed(column, p.dtype)
        found[p.name] = values if p.count is None else Lists(values, length)
    return found, end


def _empty(column: Property) -> Shaped[np.ndarray, " 0"] | Lists:
    values = np.zeros(0, column.dtype.newbyteorder("="))
    return values if column.count is None else Lists(values, np.zeros(0, np.int64))


def _walk(
    body: _Binary | _Text, element: Element, start: int, rows: int
) -> tuple[Int64[np.ndarray, "R C"], Int64[np.ndarray, "R C"], int]:
    """Step through rows of any length.

    Returns:
      Where the numbers of every property begin and how many there are (1 for what is
      no list), row by row; and where the last row ends.
    """
    begins, lengths, at = [], [], start
    sizes = [
        (p.count, 0 if p.count is None else body.size(p.count), body.size(p.dtype))
        for p in element.properties
    ]
    try:
        for _ in range(rows):
            for count, count_size, size in sizes:
                length = 1
                if count is not None:
                    length = body.count(count, at)
                    at += count_size
                begins.append(at)
                lengths.append(length)
                at += length * size
                if length < 0 or at > body.end:
                    raise IndexError
    except (IndexError, struct.error) as error:
        row = len(begins) // len(sizes)
        raise ValueError(
            f"a list in row {row} of {element.name} that the file does not hold"
        ) from error
    shape = (rows, len(sizes))
    return (
        np.array(begins, np.int64).reshape(shape),
        np.array(lengths, np.int64).reshape(shape),
        at,
    )


def _are_alike(
    body: _Binary | _Text,
    element: Element,
    begins: Int64[np.ndarray, " C"],
    lengths: Int64[np.ndarray, " C"],
    start: int,
    stride: int,
) -> bool:
    """Tell whether all lists are as long as those of the first row.

    Each count that is as expected puts the next one where it is looked for.
    """
    if start + element.rows * stride > body.end:
        return False
    return all(
        (
            body.grid(p.count, begin - body.size(p.count), (element.rows, 1), stride)
            == length
        ).all()
        for p, begin, length in zip(element.properties, begins, lengths, strict=True)
        if p.count is not None
    )


def _positions(
    begins: Int64[np.ndarray, " R"], lengths: Int64[np.ndarray, " R"], size: int
) -> Int64[np.ndarray, " V"]:
    """Return where each number of all lists is."""
    before = np.cumsum(lengths) - lengths
    within = np.arange(lengths.sum()) - np.repeat(before, lengths)
    return np.repeat(begins, lengths) + size * within
