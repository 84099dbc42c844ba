"""Run the CUDA kernels on the CPU: their code, compiled for kernels/emulate.

A schedule says when asynchronous copies arrive and in which order threads run; kernels
must not depend on it.
"""

import ctypes
import dataclasses
import shutil
import subprocess

import numpy as np
from native_calls import (
    REVERSE_OFFSETS,
    TRANSPOSE_WEIGHTS,
    assert_within,
    oracle_forward,
    oracle_weight_grad,
    pointer,
)

__all__ = ["REVERSE_OFFSETS", "TRANSPOSE_WEIGHTS"]

FOLDERS = ("include", "cuda", "emulate")
# Bit 0: copies arrive at once, else as late as possible. Bit 1: last thread first.
SCHEDULES = (0, 1, 2, 3)
COLUMNS = (32, 64, 96)
FEW_CHANNELS = 4


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


@dataclasses.dataclass(frozen=True)
class Emulator:
    """One way to run the kernels."""

    library: ctypes.CDLL
    tf32: bool = False
    columns: int = 0
    schedule: int = 0

    def forward(self, case, *, flags=0, w=None, order=None):
        w = case.w if w is None else w
        c_in, c_out = w.shape[1:]
        if flags & TRANSPOSE_WEIGHTS:
            c_in, c_out = c_out, c_in
        y = np.full((case.capacity, c_out), np.nan, np.float32)
        status = self.library.sas_emulate_forward(
            *map(pointer, (case.x, w, case.nbr, order, y)),
            pointer(_sizes(case, c_in, c_out)),
            flags,
            *self._options(),
        )
        assert status == 0, self.library.sas_emulate_error()
        return y

    def weight_grad(self, case):
        dw = np.full(case.w.shape, np.nan, np.float32)
        slabs = self.library.sas_emulate_num_slabs(ctypes.c_int64(case.capacity))
        partials = None
        if slabs > 1:
            partials = np.full((slabs, *case.w.shape), np.nan, np.float32)
        status = self.library.sas_emulate_weight_grad(
            *map(pointer, (case.x, case.dy, case.nbr, dw, partials)),
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
        few = case.w.shape[1] <= FEW_CHANNELS
        case = round_case(case) if self.tf32 and not few else case
        num_terms = case.w.shape[0] * case.w.shape[1] + 1
        absolute = oracle_forward(case, absolute=True)
        assert_within(y, oracle_forward(case), absolute, num_terms)
        assert not y[case.num_out :].any()

    def check_weight_grad(self, case, dw):
        case = round_case(case) if self.tf32 else case
        absolute = oracle_weight_grad(case, absolute=True)
        num_terms = case.num_out + 1
        assert_within(dw, oracle_weight_grad(case), absolute, num_terms)

    def _options(self):
        return int(self.tf32), self.columns, self.schedule


def round_case(case):
    """Round all factors to tf32, so that only sums differ from the oracle's."""
    rounded = {name: round_tf32(getattr(case, name)) for name in ("x", "w", "dy")}
    return dataclasses.replace(case, **rounded)


def round_tf32(values):
    """Round to 11 significant bits, to nearest, ties away from zero."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    scaled = mantissa * 2.0**11
    whole = np.trunc(scaled + np.copysign(0.5, scaled))
    return np.ldexp(whole / 2.0**11, exponent).astype(np.float32)


def _sizes(case, c_in, c_out):
    num_offsets = len(case.w)
    stride = 0 if case.nbr is None else case.nbr.shape[1]
    rows = (case.num_out, case.capacity, len(case.x))
    return np.array([num_offsets, c_in, c_out, stride, *rows], np.int64)
