"""Run spconv's own kernels over the buffers that XLA hands to a callback.

The host side of `spconv_bridge.py`; nothing here may call JAX. Buffers are wrapped,
never copied. Weights come as spconv keeps them: [C_out, K, C_in].

On a GPU these are spconv's implicit GEMMs, enqueued on XLA's stream. **That half was
never run**: it was written against spconv 2.3.8 and checked only as far as a machine
without a GPU allows. On a CPU spconv has a gather and a scatter-add, and leaves the
matrix product to its caller.
"""

import ctypes
import functools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from sas_jax.errors import InputError

INSTALL = "pip install 'sas-jax[spconv]' (NVIDIA GPU) or pip install spconv (CPU)"
# Rows whose offsets share one mask in the weight gradient: a multiple of the depth of
# every tile that spconv has for it.
TILE_ROWS = 128
_CPU, _CUDA = 1, 2  # device types of DLPack
_NO_FILTER = 0xFFFFFFFF


class PairTable(NamedTuple):
    """A neighbour table with what spconv sorts rows by.

    Attributes:
      pairs: i32 [K, rows], row of the other side per offset; -1 is none.
      masks: u32 [rows], bit k says whether offset k has a pair.
      order: i32 [rows], rows in the order of their masks.
    """

    pairs: Any
    masks: Any
    order: Any


def forward(ctx: Any, out: Any, features: Any, filters: Any, table: PairTable) -> None:
    """Write `out[o] = sum_k filters[:, k] features[pairs[k, o]]`.

    Args:
      ctx: context of the callback.
      out: [rows, C_out], written.
      features: [rows of the input, C_in].
      filters: [C_out, K, C_in].
      table: pairs per output row.
    """
    if _device(features) == _CPU:
        return _forward_cpu(out, features, filters, table)
    return _forward_cuda(ctx.stream, out, features, filters, table)


def backward(
    ctx: Any,
    out: tuple[Any, Any],
    features: Any,
    filters: Any,
    cotangent: Any,
    table: PairTable,
    transposed: PairTable,
    tile_masks: Any,
) -> None:
    """Write the gradients of `forward` with respect to features and filters.

    Args:
      ctx: context of the callback.
      out: both gradients, written.
      features: as for `forward`.
      filters: as for `forward`.
      cotangent: [rows, C_out]; 0 in rows without pairs.
      table: pairs per output row.
      transposed: pairs per input row.
      tile_masks: u32 [tiles], all offsets of `TILE_ROWS` consecutive rows in the order
        of `table`.
    """
    if _device(features) == _CPU:
        return _backward_cpu(out, features, filters, cotangent, table)
    operands = (features, filters, cotangent)
    return _backward_cuda(ctx.stream, out, operands, table, transposed, tile_masks)


@functools.cache
def require() -> SimpleNamespace:
    """Import spconv and cumm, without torch.

    Returns:
      `tv`, the module of tensors, and `ops`, the CPU functions.

    Raises:
      InputError: if the package is absent, or would run on several threads.
    """
    try:
        import cumm.tensorview as tv
        import spconv
        from spconv.core_cc.csrc.sparse.all import SpconvOps
    except (ImportError, OSError) as error:
        raise InputError(
            f"impl: 'spconv' requires the package spconv, got {error!r}. "
            f"Install it: {INSTALL}; or use impl=None."
        ) from error
    openmp = None
    if SpconvOps.is_cpu_only_build():
        openmp = _openmp(Path(spconv.__file__).parent)
    return SimpleNamespace(tv=tv, ops=SpconvOps, openmp=openmp)


def _openmp(package: Path) -> ctypes.CDLL | None:
    """Return the thread library that spconv's wheel for CPUs brings along."""
    for path in sorted(package.parent.glob("spconv.libs/libgomp*")):
        return ctypes.CDLL(str(path))
    if os.environ.get("OMP_NUM_THREADS") == "1":
        return None
    raise InputError(
        "impl: 'spconv' requires OMP_NUM_THREADS=1 in the environment for this build, "
        f"got {os.environ.get('OMP_NUM_THREADS')}. Its scatter-add for CPUs is wrong "
        "on several threads."
    )


def _device(buffer: Any) -> int:
    """Return the kind of device on which a buffer lies."""
    kind, ordinal = buffer.__dlpack_device__()
    if kind not in (_CPU, _CUDA) or (kind == _CUDA and ordinal != 0):
        raise InputError(
            "impl: 'spconv' requires the CPU or the first GPU that the process sees, "
            f"got device {ordinal} of type {kind}. Run one process per GPU "
            "(CUDA_VISIBLE_DEVICES)."
        )
    return kind


def _forward_cpu(out: Any, features: Any, filters: Any, table: PairTable) -> None:
    x, w, y = (np.asarray(array) for array in (features, filters, out))
    total = np.zeros(y.shape, np.float32)
    for k, rows_in, rows_out in _pairs_of(table):
        product = _gather(x, rows_in) @ _wide(w[:, k].T)
        _scatter_add(total, product, rows_out)
    y[...] = total


def _backward_cpu(
    out: tuple[Any, Any], features: Any, filters: Any, cotangent: Any, table: PairTable
) -> None:
    x, w, dy = (np.asarray(array) for array in (features, filters, cotangent))
    dx, dw = (np.asarray(array) for array in out)
    total = np.zeros(dx.shape, np.float32)
    dw[...] = 0
    for k, rows_in, rows_out in _pairs_of(table):
        right = _gather(dy, rows_out)
        dw[:, k] = right.T @ _gather(x, rows_in)
        _scatter_add(total, right @ _wide(w[:, k]), rows_in)
    dx[...] = total


def _pairs_of(table: PairTable) -> Any:
    """Yield offset, input rows and output rows of every offset that has pairs."""
    for k, rows in enumerate(np.asarray(table.pairs)):
        (found,) = np.nonzero(rows >= 0)
        if len(found):
            yield k, np.ascontiguousarray(rows[found]), found.astype(np.int32)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32, copy=False)


def _gather(source: np.ndarray, rows: np.ndarray) -> np.ndarray:
    gathered = np.empty((len(rows), source.shape[1]), source.dtype)
    _single_thread().gather_cpu(*map(_tensor, (gathered, source, rows)))
    return _wide(gathered)


def _scatter_add(total: np.ndarray, values: np.ndarray, rows: np.ndarray) -> None:
    _single_thread().scatter_add_cpu(*map(_tensor, (total, values, rows)))


def _single_thread() -> Any:
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


def _forward_cuda(
    stream: int, out: Any, features: Any, filters: Any, table: PairTable
) -> None:
    cuda = _cuda()
    cuda.ops.implicit_gemm(
        cuda.allocator({cuda.keys.OutFeatures: out}),
        cuda.tuner,
        _cuda_tensor(features),
        _cuda_tensor(filters),
        _cuda_tensor(table.pairs),
        [_mask_tensor(table)],
        [_cuda_tensor(table.order)],
        out.shape[0],
        cuda.no_filter,
        cuda.arch,
        stream_int=stream,
        **_EXACT,
    )


def _backward_cuda(
    stream: int,
    out: tuple[Any, Any],
    operands: tuple[Any, Any, Any],
    table: PairTable,
    transposed: PairTable,
    tile_masks: Any,
) -> None:
    cuda = _cuda()
    results = dict(zip((cuda.keys.DIn, cuda.keys.DFilters), out, strict=True))
    cuda.ops.implicit_gemm_backward(
        cuda.allocator(results),
        cuda.tuner,
        *map(_cuda_tensor, operands),
        _cuda_tensor(table.pairs),
        _cuda_tensor(transposed.pairs),
        [_mask_tensor(table)],
        [_mask_tensor(transposed)],
        [_cuda_tensor(table.order)],
        [_cuda_tensor(transposed.order)],
        _cuda_tensor(tile_masks, (1, tile_masks.shape[0], 1)),
        cuda.no_filter,
        cuda.arch,
        TILE_ROWS,
        # A map within one level is passed like any other, with its transpose.
        is_subm=False,
        stream_int=stream,
        **_EXACT,
    )


# Sums in float32, and no rounding of float32 operands to TF32.
_EXACT = {"auto_fp32_accum": False, "fp32_accum": True, "use_tf32": False}


@functools.cache
def _cuda() -> SimpleNamespace:
    """Return what the kernels for GPUs need; the tuner remembers its choices.

    Never run (see the module).
    """
    tv = require().tv
    try:
        from spconv.algo import CONV_CPP
        from spconv.constants import AllocKeys
        from spconv.core_cc.csrc.sparse.alloc import ExternalAllocator
        from spconv.core_cc.csrc.sparse.convops.spops import ConvGemmOps
    except ImportError as error:
        raise InputError(
            "impl: 'spconv' on a GPU requires a build of spconv for CUDA, got one for "
            f"CPUs ({error}). Install it: {INSTALL}."
        ) from error
    return SimpleNamespace(
        ops=ConvGemmOps,
        tuner=CONV_CPP,
        keys=AllocKeys,
        allocator=make_allocator(ExternalAllocator, tv, _cuda_tensor),
        arch=ConvGemmOps.get_compute_capability(0),
        no_filter=tv.from_numpy(np.array([_NO_FILTER], np.uint32)).clone(),
    )


def make_allocator(base: type, tv: Any, wrap: Any) -> type:
    """Return spconv's allocator over XLA's result buffers.

    Args:
      base: spconv's abstract class.
      tv: the module of tensors.
      wrap: how to make a tensor of a buffer.
    """
    scratch: dict[int, Any] = {}

    class ResultAllocator(base):
        """Give out the results by name, and one scratch buffer per stream.

        The scratch grows and is never freed: kernels that use it may still be in the
        queue when spconv is done with it.
        """

        def __init__(self, results: dict[str, Any]) -> None:
            super().__init__()
            self._results = results

        def zeros(self, name, shape, dtype, device, stream=0, is_temp_memory=False,
                  scale=1.0):  # fmt: skip
            tensor = self.empty(name, shape, dtype, device, stream)
            context = tv.Context()
            context.set_cuda_stream(stream)
            return tensor.zero_(context)

        def empty(self, name, shape, dtype, device, stream=0, is_temp_memory=False,
                  scale=1.0):  # fmt: skip
            if name in self._results:
                return wrap(self._results[name], shape)
            tensor = scratch.get(stream)
            if tensor is None or list(tensor.shape) < list(shape):
                tensor = scratch[stream] = tv.empty(shape, dtype, device)
            return tensor.slice_first_axis(0, shape[0])

        def free(self, tensor):
            """Keep everything."""

        def free_noexcept(self, tensor):
            """Keep everything."""

    return ResultAllocator


def _mask_tensor(table: PairTable) -> Any:
    return _cuda_tensor(table.masks, (table.masks.shape[0], 1))


def _cuda_tensor(buffer: Any, shape: tuple[int, ...] | None = None) -> Any:
    """Wrap a buffer, which XLA keeps dense; spconv counts GPUs within the process."""
    where = buffer.__cuda_array_interface__["data"][0]
    shape = buffer.shape if shape is None else shape
    return require().tv.from_blob(where, list(shape), np.dtype(buffer.dtype), 0)
