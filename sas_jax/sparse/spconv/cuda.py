"""spconv's implicit GEMMs over XLA's GPU buffers, on XLA's stream.

Weights come as spconv keeps them: [C_out, K, C_in].
"""

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from sas_jax.errors import InputError
from sas_jax.sparse.spconv.package import INSTALL, TILE_ROWS, PairTable, require

_NO_FILTER = 0xFFFFFFFF
# No rounding of float32 operands to TF32. spconv 2.3.8 takes the wish for float32 sums
# of float16 and may choose a kernel with float16 sums all the same.
_EXACT = {"auto_fp32_accum": False, "fp32_accum": True, "use_tf32": False}


def forward(
    stream: int, out: Any, features: Any, filters: Any, table: PairTable
) -> None:
    """Enqueue `conv.forward`."""
    cuda = _spconv()
    cuda.ops.implicit_gemm(
        cuda.allocator({cuda.keys.OutFeatures: out}),
        cuda.tuner,
        _tensor(features),
        _tensor(filters),
        _tensor(table.pairs),
        [_mask_tensor(table)],
        [_tensor(table.order)],
        out.shape[0],
        cuda.no_filter,
        cuda.arch,
        stream_int=stream,
        **_EXACT,
    )


def backward(
    stream: int,
    out: tuple[Any, Any],
    operands: tuple[Any, Any, Any],
    table: PairTable,
    transposed: PairTable,
    tile_masks: Any,
) -> None:
    """Enqueue `conv.backward`; operands are features, filters, cotangent."""
    cuda = _spconv()
    results = dict(zip((cuda.keys.DIn, cuda.keys.DFilters), out, strict=True))
    cuda.ops.implicit_gemm_backward(
        cuda.allocator(results),
        cuda.tuner,
        *map(_tensor, operands),
        _tensor(table.pairs),
        _tensor(transposed.pairs),
        [_mask_tensor(table)],
        [_mask_tensor(transposed)],
        [_tensor(table.order)],
        [_tensor(transposed.order)],
        _tensor(tile_masks, (1, tile_masks.shape[0], 1)),
        cuda.no_filter,
        cuda.arch,
        TILE_ROWS,
        # A map within one level is passed like any other, with its transpose.
        is_subm=False,
        stream_int=stream,
        **_EXACT,
    )


@functools.cache
def _spconv() -> SimpleNamespace:
    """Return what the kernels for GPUs need; the tuner remembers its choices."""
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
        allocator=make_allocator(ExternalAllocator, tv, _tensor),
        # Wheels of spconv answer (-1, -1) themselves, and then find no kernel.
        arch=tv.get_compute_capability(0),
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
    return _tensor(table.masks, (table.masks.shape[0], 1))


def _tensor(buffer: Any, shape: tuple[int, ...] | None = None) -> Any:
    """Wrap a buffer, which XLA keeps dense; spconv counts GPUs within the process."""
    where = buffer.__cuda_array_interface__["data"][0]
    shape = buffer.shape if shape is None else shape
    return require().tv.from_blob(where, list(shape), np.dtype(buffer.dtype), 0)
