"""Load the native libraries: the one place that knows where they are and which fit.

There is one for the CPU, which also builds plans, and one for CUDA. Both are optional.
`load` returns None where it was not built, `require` raises; both refuse one that was
built from other sources than this package's.
"""

import ctypes
import functools
import os
from pathlib import Path

from sas_jax.errors import InputError

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

# The same number as SAS_ABI_VERSION in kernels/include/sas_c_api.h.
ABI_VERSION = 6
REBUILD = "python setup.py build_native"

# (parameter, value) of mallopt(3): no separate mappings for large arrays, no return of
# memory to the system, one arena for all threads.
_KEEP_MEMORY = ((-4, 0), (-1, -1), (-8, 1))

_FOLDER = Path(__file__).resolve().parent / "_native"
# By platform: file, variable that overrides its path in tests, compilers that build it.
_LIBRARIES = {
    "cpu": ("libsas_jax.so", "SAS_JAX_LIBRARY", "g++ or clang++"),
    "cuda": ("libsas_jax_cuda.so", "SAS_JAX_CUDA_LIBRARY", "nvcc"),
}


def library_path(platform: str = "cpu") -> Path:
    """Return where the library of a platform, "cpu" or "cuda", is expected."""
    name, variable, _ = _LIBRARIES[platform]
    return Path(os.environ.get(variable, _FOLDER / name))


@functools.cache
def load(platform: str = "cpu") -> ctypes.CDLL | None:
    """Load the library of a platform, once per process.

    Args:
      platform: "cpu" or "cuda"; the latter loads without a GPU, too.

    Returns:
      The library, or None if it was not built.

    Raises:
      InputError: if it is there but cannot be loaded or has another version.
    """
    path = library_path(platform)
    if not path.is_file():
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise InputError(
            f"native_library: a loadable library is required, got {error}. "
            f"Rebuild it with `{REBUILD}`."
        ) from error
    version = _version(library)
    if version != ABI_VERSION:
        raise InputError(
            f"native_library: version {ABI_VERSION} is required, got {version} "
            f"({path}). Rebuild it with `{REBUILD}`."
        )
    return library


def require(platform: str = "cpu") -> ctypes.CDLL:
    """Load the library of a platform or raise.

    Raises:
      InputError: if it was not built, cannot be loaded or has another version.
    """
    library = load(platform)
    if library is None:
        compilers = _LIBRARIES[platform][2]
        raise InputError(
            f"native_library: {library_path(platform)} is required, got no such file. "
            f"Build it with `{REBUILD}` (needs {compilers})."
        )
    return library


def keep_freed_memory() -> bool:
    """Let the C allocator keep freed memory for this process's next arrays.

    XLA allocates its arrays anew for every run. By default, large ones then come
    from the system each time, which clears every page: 6 to 13 percent of a training
    step. The price is memory: the largest array of a step seldom fits where the last
    one was, so a process holds it twice. To call before anything else, by programs
    that measure; a library must not, since it holds for the whole process.

    Returns:
      Whether this C library has such a setting (glibc has).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(*setting) == 1 for setting in _KEEP_MEMORY)


def _version(library: ctypes.CDLL) -> int | None:
    try:
        return library.sas_abi_version()
    except AttributeError:
        return None
