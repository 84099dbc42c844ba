"""The object of a torch.save file, built by an interpreter that can build nothing else.

Python's own unpickler calls whatever a file names. This one knows the few operations
that containers, numbers, strings, tensors and numpy arrays are made of, refuses every
other operation and every other name, and calls nothing that a file chooses. What it may
allocate is bounded: operations are counted, and copies of bytes are charged.
"""

import io
import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_OPERATIONS = 2_000_000
"""A checkpoint with its optimiser has 100,000; each may cost some hundred bytes."""

Storages = Callable[[tuple[Any, ...]], np.ndarray]
"""Persistent id of a storage -> all of its elements, one-dimensional."""

_MARK = object()
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"),
}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
# Operations on objects of classes and on sets -> how many operands stand before them;
# those with a mark take all above it.
_STRANGE = {"NEWOBJ": 2, "NEWOBJ_EX": 3, "EMPTY_SET": 0, "ADDITEMS": 0, "FROZENSET": 0}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DTYPES = {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)} | {"b1"}
_LARGEST_KEY = 2**61 - 2  # integers from 2^61 - 1 on can be made to share a hash
# What torch and numpy stand behind, each as the name of what is done for it.
_NAMES = {
    "collections OrderedDict": "dict",
    "torch._utils _rebuild_tensor": "tensor",
    "torch._utils _rebuild_tensor_v2": "tensor",
    "torch._utils _rebuild_parameter": "parameter",
    "torch Size": "tuple",
    "torch.storage _load_from_bytes": "file",
    "numpy ndarray": "array type",
    "numpy dtype": "dtype",
    "_codecs encode": "bytes",
    "__builtin__ bytes": "no bytes",
    **{
        f"numpy.{core}.multiarray {name}": what
        for core in ("core", "_core")
        for name, what in (("_reconstruct", "array"), ("scalar", "number"))
    },
}
_STORAGES = {
    "torch HalfStorage": "<f2",
    "torch BFloat16Storage": "bfloat16",
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch ByteStorage": "u1",
    "torch CharStorage": "i1",
    "torch ShortStorage": "<i2",
    "torch IntStorage": "<i4",
    "torch LongStorage": "<i8",
    "torch BoolStorage": "bool",
}


class Refused(Exception):
    """Report what the file holds and this reader does not build, in a few words."""


class Stranger:
    """Stands for an object that a file holds and this reader does not build.

    A trainer's checkpoint has its settings and callbacks beside the tensors. Whatever
    is done to a stranger is done to nothing.

    Attributes:
      state: what the file would have filled it with: of the modules of a traced
        network, their tensors and modules.
    """

    state: Any = None


class _Name(str):
    """A name that a file gave and that is known: an entry of `_NAMES`."""


class Storage(str):
    """The kind of a tensor's elements: a numpy dtype, or `bfloat16`, or `bool`."""


class _Dtype:
    """A numpy dtype while its byte order is still to come."""

    def __init__(self, code: str):
        self.dtype = np.dtype(code)


class _Array:
    """A numpy array while its contents are still to come."""

    array: np.ndarray | None = None


def read_object(
    file: io.BytesIO,
    storages: Storages,
    max_bytes: int,
    inner: Callable[[bytes], Any] | None = None,
    *,
    strangers: bool = False,
) -> Any:
    """Return the object of one pickle, whose end the file is left at.

    Args:
      file: at the beginning of a pickle.
      storages: returns the elements of a tensor's storage.
      max_bytes: copies may take together, in bytes.
      inner: reads a file of torch.save that is part of the pickle: `pickle.dump` keeps
        the storage of a tensor in one. None refuses them.
      strangers: a `Stranger` stands for what is not known, where it would be refused;
        entries of dicts under keys of other kinds than strings and integers are left
        out.

    Returns:
      Dicts, lists, tuples, strings, bytes, numbers; numpy arrays for arrays and
      tensors, those of tensors views of their storage.

    Raises:
      Refused: for an operation or a name that is not known.
      ValueError, LookupError, TypeError, ...: for a damaged pickle.
    """
    return _Machine(storages, max_bytes, inner, strangers).run(file)


class _Machine:
    def __init__(
        self,
        storages: Storages,
        max_bytes: int,
        inner: Callable[[bytes], Any] | None,
        strangers: bool,
    ):
        self._storages = storages
        self._inner = inner
        self._strangers = strangers
        self._left = max_bytes
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> Any:
        stack = self._stack
        arg: Any
        for count, (op, arg, _) in enumerate(pickletools.genops(file)):
            if count > MAX_OPERATIONS:
                raise Refused(f"more than {MAX_OPERATIONS:,} operations")
            name = op.name
            if name in _LITERALS:
                stack.append(arg)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                stack.append(_EMPTY[name]())
            elif name in _PUTS:
                self._memo[int(arg)] = self._top()
            elif name == "MEMOIZE":
                self._memo[len(self._memo)] = self._top()
            elif name in _GETS:
                stack.append(_finished(self._memo[int(arg)]))
            elif name == "MARK":
                stack.append(_MARK)
            elif name in _TUPLES:
                items = [self._pop() for _ in range(_TUPLES[name])]
                stack.append(tuple(items[::-1]))
            elif name == "STOP":
                return self._pop()
            elif name not in ("PROTO", "FRAME"):
                self._act(name, arg)
        raise ValueError("no end")

    def _act(self, name: str, arg: Any) -> None:
        """Do what takes something from the stack and puts something on it."""
        if name == "GLOBAL":
            self._stack.append(self._known(arg))
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            self._stack.append(self._known(f"{module} {attribute}"))
        elif name == "BINPERSID":
            self._stack.append(self._storages(_tuple(self._pop())))
        elif name == "REDUCE":
            arguments, what = _tuple(self._pop()), self._pop()
            self._stack.append(self._make(what, arguments))
        elif name == "BUILD":
            state = self._pop()
            if isinstance(self._top(), Stranger):
                self._top().state = state
            else:
                _build(self._top(), state)
        elif name == "TUPLE":
            self._stack.append(tuple(self._to_mark()))
        elif name == "LIST":
            self._stack.append(self._to_mark())
        elif name in ("APPEND", "APPENDS"):
            items = self._to_mark() if name == "APPENDS" else [self._pop()]
            if not isinstance(self._top(), Stranger):
                _typed(self._top(), list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._to_mark() if name == "SETITEMS" else self._pair()
            if not isinstance(self._top(), Stranger):
                _set(_typed(self._top(), dict), items, self._strangers)
        elif self._strangers and name in _STRANGE:
            self._meet(name)
        else:
            raise Refused(f"the operation {name}")

    def _known(self, name: str) -> Any:
        if self._strangers and name not in _STORAGES and name not in _NAMES:
            return Stranger()
        return _known(name)

    def _meet(self, name: str) -> None:
        """Do what makes and fills objects of classes, to strangers."""
        if name in ("ADDITEMS", "FROZENSET"):
            self._to_mark()
        else:
            for _ in range(_STRANGE[name]):
                self._pop()
        if name != "ADDITEMS":
            self._stack.append(Stranger())

    def _make(self, what: Any, arguments: tuple[Any, ...]) -> Any:
        """Return what torch or numpy would make for a name."""
        if isinstance(what, Stranger):
            return what
        if not isinstance(what, _Name):
            raise Refused("a call of something that is no name")
        if what == "dict":
            return _only_empty(arguments, {})
        if what == "tuple":
            return _tuple(arguments[0])
        if what == "tensor":
            return _tensor(*arguments[:4])
        if what == "parameter":
            return _typed(arguments[0], np.ndarray)
        if what == "array":
            return _Array()
        if what == "dtype":
            return _dtype(arguments[0])
        if what == "no bytes":
            return _only_empty(arguments, b"")
        if what == "bytes":
            text, encoding = arguments
            self._charge(len(_typed(text, str)))
            if encoding not in ("latin1", "latin-1"):
                raise Refused("bytes in another encoding than latin1")
            return text.encode("latin1")
        if what == "file" and self._inner is not None:
            data = _typed(arguments[0], bytes)
            self._charge(len(data))
            return self._inner(data)
        if what == "number":
            kind, data = arguments
            return np.frombuffer(_typed(data, bytes), _typed(kind, _Dtype).dtype, 1)[0]
        raise Refused(f"a call of {what}")

    def _charge(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Refused("more bytes than the file has")

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("nothing on the stack")
        return _finished(self._stack.pop())

    def _pair(self) -> list[Any]:
        value, key = self._pop(), self._pop()
        return [key, value]

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("nothing on the stack")
        return self._stack[-1]

    def _to_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        items: list[Any] = []
        while self._stack[-1] is not _MARK:
            items.append(_finished(self._stack.pop()))
        self._stack.pop()
        return items[::-1]


def _known(name: str) -> _Name | Storage:
    """Return a global by its module and attribute; raise Refused for all others."""
    if name in _STORAGES:
        return Storage(_STORAGES[name])
    if name not in _NAMES:
        raise Refused(f"the name {name.replace(' ', '.')[:200]}")
    return _Name(_NAMES[name])


def _finished(item: Any) -> Any:
    """Return an array in the place of what stood for it."""
    if not isinstance(item, _Array):
        return item
    if item.array is None:
        raise ValueError("an array without contents")
    return item.array


def _typed(item: Any, kind: type) -> Any:
    if not isinstance(item, kind):
        raise ValueError(f"{type(item).__name__} instead of {kind.__name__}")
    return item


def _tuple(item: Any) -> tuple[Any, ...]:
    return _typed(item, tuple)


def _only_empty(arguments: tuple[Any, ...], empty: Any) -> Any:
    if arguments:
        raise Refused(f"a {type(empty).__name__} with arguments")
    return empty


def _set(into: dict[Any, Any], items: list[Any], strangers: bool) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if strangers and not isinstance(key, (str, int)):
            continue
        if not isinstance(key, (str, int)) or (
            isinstance(key, int) and abs(key) > _LARGEST_KEY
        ):
            raise Refused(f"a key of type {type(key).__name__}")
        into[key] = value


def _build(what: Any, state: Any) -> None:
    """Fill in what stands on the stack."""
    if isinstance(what, _Dtype):
        order = _tuple(state)[1]
        if order not in ("<", ">", "|", "="):
            raise ValueError("a byte order of no kind")
        what.dtype = what.dtype.newbyteorder(order)
    elif isinstance(what, _Array) and what.array is None:
        what.array = _array(*_tuple(state)[1:5])
    elif not isinstance(what, dict):  # an OrderedDict's attributes: torch's versions
        raise Refused(f"a state of {type(what).__name__}")


def _dtype(code: Any) -> _Dtype:
    if code not in _DTYPES:
        raise Refused(f"a numpy array of {str(code)[:20]}")
    return _Dtype(code)


def _array(shape: Any, kind: Any, fortran: Any, data: Any) -> np.ndarray:
    dtype = _typed(kind, _Dtype).dtype
    flat = elements(_typed(data, bytes), "bool" if dtype.kind == "b" else dtype)
    if dtype.byteorder == ">":
        flat = flat.astype(dtype.newbyteorder("="))
    return flat.reshape(_sizes(shape), order="F" if fortran else "C")


def elements(data: bytes | memoryview, kind: str | np.dtype) -> np.ndarray:
    """Return the elements that bytes hold, read-only.

    Args:
      data: a whole number of elements.
      kind: a numpy dtype; `bfloat16`, which become the f32 of the same value; `bool`,
        where every byte but 0 is true.
    """
    if kind == "bfloat16":
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        flat = wide.view(np.float32)
    elif kind == "bool":
        flat = np.frombuffer(data, np.uint8) != 0
    else:
        flat = np.frombuffer(data, kind)
    flat.setflags(write=False)
    return flat


def _sizes(sizes: Any) -> tuple[int, ...]:
    if not all(isinstance(n, int) and 0 <= n < 2**62 for n in _tuple(sizes)):
        raise ValueError("sizes that are no whole numbers")
    return sizes


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """Return the view of a storage that a tensor is."""
    flat = _typed(storage, np.ndarray)
    size, stride, (offset,) = _sizes(size), _sizes(stride), _sizes((offset,))
    if len(size) != len(stride) or flat.ndim != 1:
        raise ValueError("a tensor of other strides than sizes")
    count = math.prod(size)
    if count == 0:
        return np.empty(size, flat.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(flat) or count > len(flat):
        raise Refused("a tensor of more elements than its storage has")
    steps = [step * flat.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False)
