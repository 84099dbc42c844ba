"""The text at the start of a PLY file: which rows of which numbers follow.

Writers take liberties with it: a byte order mark, other line ends, comments in any
encoding, any white space. None of them is a reason to refuse the file.
"""

import dataclasses
import re

import numpy as np

TYPE_NAMES = {
    "i1": ("char", "int8"),
    "u1": ("uchar", "uint8"),
    "i2": ("short", "int16"),
    "u2": ("ushort", "uint16"),
    "i4": ("int", "int32"),
    "u4": ("uint", "uint32"),
    "f4": ("float", "float32"),
    "f8": ("double", "float64"),
}
_TYPES = {name: code for code, names in TYPE_NAMES.items() for name in names}
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_FIRST_LINE = re.compile(rb"(?:\xef\xbb\xbf)?ply[ \t]*(\r\n|\n|\r)")
_LAST_LINE = re.compile(rb"(?<=[\r\n])end_header[ \t]*(\r\n|\n|\r|\Z)")
_LINE_END = re.compile(r"\r\n|\n|\r")
_LONGEST = 1 << 22


@dataclasses.dataclass(frozen=True)
class Property:
    """A column of numbers, or of lists of numbers.

    Attributes:
      name: in lower case.
      dtype: of the numbers, in the byte order of the file.
      count: of the length that stands before each list; None for plain numbers.
    """

    name: str
    dtype: np.dtype
    count: np.dtype | None


@dataclasses.dataclass(frozen=True)
class Element:
    """Rows of equal columns; the name is in lower case."""

    name: str
    rows: int
    properties: list[Property]


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file declares.

    Attributes:
      is_text: rows are text, not binary.
      elements: in the order of their rows.
      size: bytes before the first row.
    """

    is_text: bool
    elements: list[Element]
    size: int


def parse_header(data: bytes) -> Header:
    """Return the header of a PLY file's bytes.

    Raises:
      ValueError: where it is none; says what is wrong.
    """
    first = _FIRST_LINE.match(data)
    if not first:
        raise ValueError("no first line 'ply'")
    last = _LAST_LINE.search(data, first.end(), _LONGEST)
    if not last:
        raise ValueError("no line 'end_header'")
    # Where lines end in CR alone, a LF behind the last one is the first byte of data.
    size = last.start(1) + 1 if first[1] == b"\r" else last.end()
    form, elements = "", []
    text = data[first.end() : last.start()].decode("utf-8", "backslashreplace")
    for line in _LINE_END.split(text):
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", name, _] if name in _ORDERS:
                form = name
            case ["element", name, count] if count.isdecimal():
                elements.append(Element(name.lower(), int(count), []))
            case ["property", *words] if elements and form:
                elements[-1].properties.append(_property(words, _ORDERS[form]))
            case _:
                raise ValueError(f"the header line {line[:60]!r}")
    if not form:
        raise ValueError("no format in the header")
    return Header(form == "ascii", elements, size)


def _property(words: list[str], order: str) -> Property:
    counted: np.dtype | None
    match words:
        case ["list", count, kind, name] if _TYPES.get(count, "f")[0] in "iu":
            counted = np.dtype(order + _TYPES[count])
        case [kind, name]:
            counted = None
        case _:
            raise ValueError(f"the property {' '.join(words)[:60]!r}")
    if kind not in _TYPES:
        raise ValueError(f"the number type {kind!r} of property {name!r}")
    return Property(name.lower(), np.dtype(order + _TYPES[kind]), counted)
