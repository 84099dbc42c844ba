"""What products of bfloat16 by bfloat16 must give, one multiply-add at a time.

The instruction adds two products to a sum: of channels 2d and 2d + 1, the latter
first. Each addition is exact and then rounded once, to nearest even; denormal sums,
factors and results count as zero (Intel's manual, VDPBF16PS; an EPYC does the same). An
odd last channel has a zero beside it. Sums of an offset begin at zero; they are added
to the output in the order of the offsets, and the output is rounded to bfloat16 at the
end.
"""

import fractions
import math

import numpy as np
from native_calls import from_bf16, pairs, to_bf16

_LEAST = fractions.Fraction(2) ** -126
_MOST = fractions.Fraction(2) ** 128


def forward(case):
    """Return the output's bits of a case whose rows and weights are bits, finite."""
    x, w = (from_bf16(bits).astype(float) for bits in (case.x, case.w))
    y = np.zeros((case.capacity, w.shape[2]), np.float32)
    for k in range(len(w)):
        for i, o in zip(*pairs(case, k), strict=True):
            for j in range(w.shape[2]):
                y[o, j] += np.float32(dot(x[i], w[k, :, j]))
    return to_bf16(np.where(np.abs(y) < float(_LEAST), np.copysign(0, y), y))


def dot(left, right):
    """Return the sum of products as the instruction takes it, from zero."""
    products = [fractions.Fraction(a) * b for a, b in zip(
        map(flushed, left), map(flushed, right), strict=True)]  # fmt: skip
    total = fractions.Fraction(0)
    for d in range(0, len(products), 2):
        for product in reversed(products[d : d + 2]):
            total = rounded(total + product)
    return float(total)


def flushed(value):
    """Return the exact value, 0 for a denormal one."""
    exact = fractions.Fraction(value)
    return exact if abs(exact) >= _LEAST else fractions.Fraction(0)


def rounded(value):
    """Round to the nearest float32, ties to even; denormal results are 0."""
    if value == 0:
        return value
    exponent = math.floor(math.log2(abs(value)))
    # The logarithm may be off at a power of two.
    exponent += (abs(value) >= fractions.Fraction(2) ** (exponent + 1)) - (
        abs(value) < fractions.Fraction(2) ** exponent
    )
    unit = fractions.Fraction(2) ** (max(exponent, -126) - 23)
    nearest = round(value / unit) * unit  # Python's rounding of halves is to even
    assert abs(nearest) < _MOST, "cases are made without overflow"
    return flushed(nearest)
