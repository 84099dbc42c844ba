"""The package spconv as `conv.py` uses it: import, threads, operands.

Imported without torch. Written against spconv 2.3.8.
"""

import ctypes
import functools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from sas_jax.errors import InputError
from sas_jax.extras import PIP, install_command

INSTALL = f"{install_command('spconv')} (NVIDIA GPU) or {PIP} spconv (CPU)"
# Rows whose offsets share one mask in the weight gradient: a multiple of the depth of
# every tile that spconv has for it.
TILE_ROWS = 128


class PairTable(NamedTuple):
    """A neighbour table with what spconv sorts rows by.

    Attributes:
      pairs: i32 [K, rows], row of the other side per offset; -1 is none.
      masks: u32 [rows], sorted; bit k of `masks[i]` says whether offset k has a pair in
        row `order[i]`.
      order: i32 [rows], rows in the order of their masks.
    """

    pairs: Any
    masks: Any
    order: Any


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
