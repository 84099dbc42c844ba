"""spconv's CPU functions over numpy arrays: gather, multiply, scatter.

spconv has the first and the last, and leaves the matrix product to its caller. Weights
come as spconv keeps them: [C_out, K, C_in]. Sums are float32.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sas_jax.sparse.spconv.package import PairTable, require


def forward(out: Any, features: Any, filters: Any, table: PairTable) -> None:
    """Write `conv.forward`."""
    x, w, y = (np.asarray(array) for array in (features, filters, out))
    total = np.zeros(y.shape, np.float32)
    for k, rows_in, rows_out in _pairs_of(table):
        product = _gather(x, rows_in) @ _wide(w[:, k].T)
        _scatter_add(total, product, rows_out)
    y[...] = total


def backward(
    out: tuple[Any, Any], features: Any, filters: Any, cotangent: Any, table: PairTable
) -> None:
    """Write `conv.backward`."""
    x, w, dy = (np.asarray(array) for array in (features, filters, cotangent))
    dx, dw = (np.asarray(array) for array in out)
    total = np.zeros(dx.shape, np.float32)
    dw[...] = 0
    for k, rows_in, rows_out in _pairs_of(table):
        right = _gather(dy, rows_out)
        dw[:, k] = right.T @ _gather(x, rows_in)
        _scatter_add(total, right @ _wide(w[:, k]), rows_in)
    dx[...] = total


def _pairs_of(
    table: PairTable,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield offset, input rows and output rows of every offset that has pairs."""
    for k, rows in enumerate(np.asarray(table.pairs)):
        (found,) = np.nonzero(rows >= 0)
        if len(found):
            yield k, np.ascontiguousarray(rows[found]), found.astype(np.int32)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32, copy=False)


def _gather(source: np.ndarray, rows: np.ndarray) -> np.ndarray:
    gathered = np.empty((len(rows), source.shape[1]), source.dtype)
    single_thread().gather_cpu(*map(_tensor, (gathered, source, rows)))
    return _wide(gathered)


def _scatter_add(total: np.ndarray, values: np.ndarray, rows: np.ndarray) -> None:
    single_thread().scatter_add_cpu(*map(_tensor, (total, values, rows)))


def single_thread() -> Any:
    """Return spconv's CPU functions after binding this thread's loops to one thread.

    Their scatter-add shares its row pointers between threads, so with several of them
    some rows are wrong. The setting of OpenMP belongs to the thread that makes it, and
    XLA may call from any.
    """
    spconv = require()
    if spconv.openmp is not None:
        spconv.openmp.omp_set_num_threads(1)
    return spconv.ops


def _tensor(array: np.ndarray) -> Any:
    """Wrap a contiguous array."""
    where = array.ctypes.data
    return require().tv.from_blob(where, list(array.shape), array.dtype, -1)
