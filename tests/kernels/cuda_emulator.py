"""Run the CUDA kernels on the CPU: their code, compiled for kernels/emulate.

A schedule says when asynchronous copies arrive and in which order threads run; kernels
must not depend on it.
"""

import ctypes
import dataclasses
import itertools
import shutil
import subprocess

import numpy as np
from native_calls import (
    REVERSE_OFFSETS,
    TRANSPOSE_WEIGHTS,
    assert_within,
    from_bf16,
    oracle_forward,
    oracle_weight_grad,
    pointer,
    to_bf16,
)

__all__ = ["REVERSE_OFFSETS", "TRANSPOSE_WEIGHTS"]

FOLDERS = ("include", "cuda", "emulate")
# Bit 0: copies arrive at once, else as late as possible. Bit 1: last thread first.
SCHEDULES = (0, 1, 2, 3)
PRECISIONS = ("f32", "tf32", "bf16")
# Rows and columns of a tile, by precision: of the forward, of the weight gradient.
_WIDTHS = (32, 64, 96)
FORWARD_TILES = {
    "f32": [(32, 32), *itertools.product((64,), _WIDTHS)],
    "tf32": [
        *itertools.product((32,), (*_WIDTHS, 128)),
        (64, 32),
        (64, 64),
        (64, 96),
        (128, 96),
        (128, 128),
    ],
    "bf16": [
        *itertools.product((32,), _WIDTHS),
        (64, 32),
        (64, 64),
        (64, 96),
        (64, 128),
        (128, 96),
    ],
}
GRAD_TILES = {name: list(itertools.product(_WIDTHS, _WIDTHS)) for name in PRECISIONS}
# Channels that tensor cores take are multiples of these.
CHANNEL_STEP = {"f32": 1, "tf32": 4, "bf16": 8}
FEW_CHANNELS = 4
_TILE_SIZES = 5
_MOST_SHAPES = 1000


def compiler():
    return next(filter(shutil.which, ("g++", "clang++")), None)


def build(kernels, target):
    """Compile the kernels below the folder `kernels` into an emulator."""
    sources = sorted(str(p) for p in (kernels / "emulate").glob("*.cc"))
    includes = [f"-I{kernels / folder}" for folder in FOLDERS]
    flags = ["-std=c++17", "-O2", "-fno-strict-aliasing", "-shared", "-fPIC"]
    command = [compiler(), *flags, *includes, *sources, "-o", str(target)]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(target))
    library.sas_emulate_error.restype = ctypes.c_char_p
    library.sas_emulate_num_slabs.restype = ctypes.c_int64
    return library


def tensor_shapes(library, precision):
    """Return every tile that the forward on tensor cores can take."""
    room = np.zeros((_MOST_SHAPES, _TILE_SIZES), np.int32)
    index = PRECISIONS.index(precision)
    count = library.sas_emulate_tensor_shapes(index, pointer(room))
    return [tuple(shape) for shape in room[:count].tolist()]


@dataclasses.dataclass(frozen=True)
class Emulator:
    """One way to run the kernels."""

    library: ctypes.CDLL
    precision: str = "f32"
    tile: tuple[int, ...] = ()  # rows, columns, terms, stages, warps; 0 or missing: any
    schedule: int = 0

    def forward(self, case, *, flags=0, w=None, order=None):
        w = case.w if w is None else w
        c_in, c_out = w.shape[1:]
        if flags & TRANSPOSE_WEIGHTS:
            c_in, c_out = c_out, c_in
        elif self._on_tensor_cores(c_in):
            w, flags = w.swapaxes(1, 2), flags | TRANSPOSE_WEIGHTS
        if self._on_tensor_cores(c_in):
            w = round_tf32(w) if self.precision == "tf32" else w
        y = self._narrow(np.full((case.capacity, c_out), np.nan, np.float32))
        status = self.library.sas_emulate_forward(
            *map(pointer, (self._narrow(case.x), self._narrow(w))),
            *map(pointer, (case.nbr, order, y)),
            pointer(_sizes(case, c_in, c_out)),
            flags,
            *self._options(),
        )
        assert status == 0, self.library.sas_emulate_error()
        return self._widen(y)

    def weight_grad(self, case):
        dw = np.full(case.w.shape, np.nan, np.float32)
        slabs = self.library.sas_emulate_num_slabs(ctypes.c_int64(case.capacity))
        partials = None
        if slabs > 1:
            partials = np.full((slabs, *case.w.shape), np.nan, np.float32)
        status = self.library.sas_emulate_weight_grad(
            *map(pointer, (self._narrow(case.x), self._narrow(case.dy))),
            *map(pointer, (case.nbr, dw, partials)),
            pointer(_sizes(case, *case.w.shape[1:])),
            *self._options(),
        )
        assert status == 0, self.library.sas_emulate_error()
        return dw

    def check(self, case):
        """Compare forward and weight gradient with the oracle."""
        self.check_forward(case, self.forward(case))
        self.check_weight_grad(case, self.weight_grad(case))

    def check_forward(self, case, y):
        if self._on_tensor_cores(case.w.shape[1]):
            case = self._round(case)
        num_terms = case.w.shape[0] * case.w.shape[1] + 1
        absolute, expected = oracle_forward(case, absolute=True), oracle_forward(case)
        if self.precision == "bf16":
            # A sum is rounded once more: half of the last of eight bits.
            error = 2.0**-8 * np.abs(expected)
            sums = num_terms * 2.0**-23 * absolute
            assert (np.abs(y - expected) <= error + sums).all()
        else:
            assert_within(y, expected, absolute, num_terms)
        assert not y[case.num_out :].any()

    def check_weight_grad(self, case, dw):
        case = self._round(case)
        absolute = oracle_weight_grad(case, absolute=True)
        num_terms = case.num_out + 1
        assert_within(dw, oracle_weight_grad(case), absolute, num_terms)

    def _on_tensor_cores(self, c_in):
        if self.precision == "bf16":
            return True
        return self.precision == "tf32" and c_in > FEW_CHANNELS

    def _round(self, case):
        """Round all factors as the kernels do, so that only sums differ."""
        if self.precision == "f32":
            return case
        narrow = round_tf32 if self.precision == "tf32" else round_bf16
        rounded = {name: narrow(getattr(case, name)) for name in ("x", "w", "dy")}
        return dataclasses.replace(case, **rounded)

    def _narrow(self, array):
        narrow = to_bf16 if self.precision == "bf16" else np.asarray
        return aligned(narrow(array))

    def _widen(self, array):
        return from_bf16(array) if self.precision == "bf16" else array

    def _options(self):
        tile = np.zeros(_TILE_SIZES, np.int32)
        tile[: len(self.tile)] = self.tile
        return PRECISIONS.index(self.precision), pointer(tile), self.schedule


def aligned(array):
    """Return the array, or a copy, contiguous and aligned as the kernels' copies are.

    Arrays that are only aligned to their elements stay so: some tests are about those.
    """
    if array.dtype == np.float32 and array.flags.c_contiguous:
        return array
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    target = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    target[...] = array
    return target


def round_tf32(values):
    """Round to 11 significant bits, to nearest, ties away from zero."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    scaled = mantissa * 2.0**11
    whole = np.trunc(scaled + np.copysign(0.5, scaled))
    return np.ldexp(whole / 2.0**11, exponent).astype(np.float32)


def round_bf16(values):
    """Round to 8 significant bits, to nearest even."""
    return from_bf16(to_bf16(values))


def _sizes(case, c_in, c_out):
    num_offsets = len(case.w)
    stride = 0 if case.nbr is None else case.nbr.shape[1]
    rows = (case.num_out, case.capacity, len(case.x))
    return np.array([num_offsets, c_in, c_out, stride, *rows], np.int64)
