"""Call the native kernels directly, and a slow oracle of what they must return.

The oracle knows nothing of the package: it walks the pairs of every offset in float64.
Its bounds are the classical ones: a float32 sum of n products, in any order and with
fused multiply-adds, is off by at most n * 2^-24 / (1 - n * 2^-24) times the sum of the
absolute products.
"""

import ctypes
import dataclasses

import numpy as np

from sas_jax import native_library

UNIT = 2.0**-24
BLOCK_ROWS = (256, 4096)
TRANSPOSE_WEIGHTS, REVERSE_OFFSETS = 1, 2
ISAS = {"generic": 1, "avx2": 2, "avx512": 3}


@dataclasses.dataclass
class Case:
    """Operands of one convolution; rows that must not be read are NaN."""

    x: np.ndarray
    w: np.ndarray
    dy: np.ndarray
    nbr: np.ndarray | None
    num_out: int

    @property
    def capacity(self) -> int:
        return len(self.dy)


def make_case(seed, num_offsets, c_in, c_out, num_out, *, density=0.4, padding=5):
    """Make a random case with NaN in every padding row of x and dy."""
    rng = np.random.default_rng(seed)
    num_in = num_out + 3
    x = rng.standard_normal((num_in + padding, c_in)).astype(np.float32)
    dy = rng.standard_normal((num_out + padding, c_out)).astype(np.float32)
    w = rng.standard_normal((num_offsets, c_in, c_out)).astype(np.float32)
    x[num_in:], dy[num_out:] = np.nan, np.nan
    nbr = np.full((num_offsets, num_out + padding), -1, np.int32)
    for k in range(num_offsets):
        # Like a real table: within one offset, inputs are distinct and ascend.
        rows = np.sort(rng.choice(num_in, num_out, replace=False))
        nbr[k, :num_out] = np.where(rng.random(num_out) < density, rows, -1)
    return Case(x, w, dy, nbr, num_out)


def widen(case, extra):
    """Return the same case with `extra` more padding rows, full of NaN."""
    dy = np.pad(case.dy, ((0, extra), (0, 0)), constant_values=np.nan)
    nbr = np.pad(case.nbr, ((0, 0), (0, extra)), constant_values=-1)
    return dataclasses.replace(case, dy=dy, nbr=nbr)


def pointer(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


def _of_type(rows):
    """Return the suffix of functions for rows of this type, and the type's NaN."""
    return ("_bf16", 0x7FC0) if rows.dtype == np.uint16 else ("", np.nan)


def forward(case, *, threads=1, flags=0, w=None):
    w = case.w if w is None else w
    num_offsets, c_in, c_out = w.shape
    if flags & TRANSPOSE_WEIGHTS:
        c_in, c_out = c_out, c_in
    suffix, none = _of_type(case.x)
    if w.dtype == np.uint16:
        suffix += "_products"
    y = np.full((case.capacity, c_out), none, case.x.dtype)
    stride = 0 if case.nbr is None else case.nbr.shape[1]
    sizes = (num_offsets, c_in, c_out, stride, case.num_out, case.capacity)
    function = getattr(native_library.require(), "sas_conv_forward" + suffix)
    status = function(
        *map(pointer, (case.x, w, case.nbr, y)),
        *map(ctypes.c_int64, sizes),
        flags,
        threads,
    )
    assert status == 0
    return y


def to_bf16(array):
    """Round to nearest even, as bits; the oracle of the kernels' own rounding."""
    bits = array.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def narrow(case):
    """Return the case with rows of bfloat16, as bits, and the same widened again."""
    bits = dataclasses.replace(case, x=to_bf16(case.x), dy=to_bf16(case.dy))
    wide = dataclasses.replace(case, x=from_bf16(bits.x), dy=from_bf16(bits.dy))
    return bits, wide


def weight_grad(case, *, threads=1):
    dw = np.full(case.w.shape, np.nan, np.float32)
    stride = 0 if case.nbr is None else case.nbr.shape[1]
    suffix, _ = _of_type(case.x)
    function = getattr(native_library.require(), "sas_conv_weight_grad" + suffix)
    status = function(
        *map(pointer, (case.x, case.dy, case.nbr, dw)),
        *map(ctypes.c_int64, (*case.w.shape, stride, case.num_out)),
        threads,
    )
    assert status == 0
    return dw


def has_bf16_products():
    """Say whether the instruction set in use multiplies bfloat16 by bfloat16."""
    return native_library.require().sas_has_bf16_products() == 1


def set_isa(name):
    """Switch the process to an instruction set; False if the processor lacks it."""
    return native_library.require().sas_set_isa(ISAS.get(name, 0)) == 0


def pairs(case, k):
    """Return input and output rows of offset k."""
    if case.nbr is None:
        rows = np.arange(case.num_out)
        return rows, rows
    out = np.flatnonzero(case.nbr[k, : case.num_out] >= 0)
    return case.nbr[k, out], out


def oracle_forward(case, *, absolute=False):
    """Return sum_k W[k]^T x[nbr[k]] in float64, or the sum of absolute products."""
    prepare = np.abs if absolute else np.asarray
    w = prepare(case.w.astype(np.float64))
    y = np.zeros((case.capacity, case.w.shape[2]))
    for k in range(len(case.w)):
        rows_in, rows_out = pairs(case, k)
        y[rows_out] += prepare(case.x[rows_in].astype(np.float64)) @ w[k]
    return y


def oracle_weight_grad(case, *, absolute=False):
    """Return sum_o x[nbr[k, o]] dy[o]^T in float64, or of absolute products."""
    prepare = np.abs if absolute else np.asarray
    dw = np.zeros(case.w.shape)
    for k in range(len(case.w)):
        rows_in, rows_out = pairs(case, k)
        left = prepare(case.x[rows_in].astype(np.float64))
        dw[k] = left.T @ prepare(case.dy[rows_out].astype(np.float64))
    return dw


def assert_within(actual, expected, absolute, num_terms):
    """Compare with the bound of a sum of `num_terms` float32 products."""
    bound = num_terms * UNIT / (1 - num_terms * UNIT) * absolute
    worst = np.max(np.abs(actual - expected) - bound, initial=-1.0)
    # NaN fails too: every comparison with it is false.
    assert np.all(np.abs(actual - expected) <= bound), f"off by {worst} over the bound"


def check_forward(case, y):
    """Check y against the oracle: c_in products per offset, then K additions."""
    num_terms = case.w.shape[1] + len(case.w) + 1
    absolute = oracle_forward(case, absolute=True)
    assert_within(y, oracle_forward(case), absolute, num_terms)
    assert not y[case.num_out :].any()


def check_weight_grad(case, dw):
    """Check dw against the oracle: sums inside blocks of rows, then of the blocks."""
    least, most = BLOCK_ROWS
    num_terms = min(most, case.num_out) + case.num_out // least + 9
    absolute = oracle_weight_grad(case, absolute=True)
    assert_within(dw, oracle_weight_grad(case), absolute, num_terms)
