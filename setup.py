"""Build the native library into the package; everything else is in pyproject.toml.

`python setup.py build_native` compiles kernels/ into sas_jax/_native/libsas_jax.so,
and `pip install .` or `pip install -e .` do the same on their way. Without a C++
compiler the package installs all the same and runs on plain XLA.
"""

import concurrent.futures
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.dist import Distribution

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

ROOT = Path(__file__).resolve().parent
SOURCES = ("kernels/cpu", "kernels/ffi")
LIBRARY = "sas_jax/_native/libsas_jax.so"
# Contraction lets a * b + c become one fused operation, whose result does not depend
# on how the compiler arranges registers.
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-ffp-contract=fast", "-fno-math-errno"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter"]
ISA_FLAGS = {
    "_avx2": ["-mavx2", "-mfma"],
    "_avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"],
}


class BuildFailed(Exception):
    """Carry the reason why there is no native library."""


class NativeDistribution(Distribution):
    """Mark wheels that carry the library as bound to their platform."""

    def has_ext_modules(self) -> bool:
        """Say whether a compiler is there to build the library."""
        return find_compiler() is not None


class BuildNative(Command):
    """Compile kernels/ into the source tree's package folder."""

    description = "build the native library in place"
    user_options = [  # noqa: RUF012 - distutils insists on a list
        ("force", "f", "compile even what is up to date"),
        ("sanitize=", None, "thread or address; goes to build/native_<name>"),
    ]
    boolean_options = ["force"]  # noqa: RUF012

    def initialize_options(self) -> None:
        """Set defaults."""
        self.force = False
        self.sanitize = None

    def finalize_options(self) -> None:
        """Have nothing to derive."""

    def run(self) -> None:
        """Build what is older than its sources."""
        extra = []
        if self.sanitize:
            extra = [f"-fsanitize={self.sanitize}", "-g"]
        try:
            build_library(ROOT, force=bool(self.force), extra=extra)
        except BuildFailed as reason:
            raise SystemExit(f"build_native: {reason}") from reason


class BuildPy(build_py):
    """Build the library, or warn why not, before files are collected."""

    def run(self) -> None:
        """Build, then collect; the library did not exist when setup started."""
        try:
            build_library(ROOT)
        except BuildFailed as reason:
            print(
                f"WARNING: sas_jax is installed without its native library: {reason} "
                "It will run on plain XLA, several times slower on a CPU. Install "
                "g++ or clang++ and run: python setup.py build_native",
                file=sys.stderr,
            )
        self.__dict__.pop("data_files", None)
        super().run()


class Sdist(sdist):
    """Add the native sources to the source distribution."""

    def add_defaults(self) -> None:
        """Take every file below kernels/ besides the usual ones."""
        super().add_defaults()
        found = (ROOT / "kernels").rglob("*")
        files = [str(p.relative_to(ROOT)) for p in found if p.is_file()]
        self.filelist.extend(sorted(files))


class Wheel(bdist_wheel):
    """Tag wheels for any Python 3: the library links against no interpreter."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag without an interpreter version."""
        interpreter, abi, machine = super().get_tag()
        if machine == "any":
            return interpreter, abi, machine
        return "py3", "none", machine


def find_compiler() -> str | None:
    """Return $CXX, g++ or clang++, whichever is there first."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name.split()[0]):
            return name
    return None


def build_library(root: Path, *, force: bool = False, extra: list[str] = ()) -> Path:
    """Compile and link what is out of date.

    Args:
      root: folder of setup.py.
      force: compile everything.
      extra: further compiler and linker flags; such a library goes to build/ only.

    Returns:
      Path of the library.

    Raises:
      BuildFailed: if compiler or headers are absent, or a source does not compile.
    """
    compiler = find_compiler()
    if compiler is None:
        raise BuildFailed("no C++ compiler was found (CXX, g++, clang++).")
    extra = list(extra)
    suffix = f"_{extra[0].rpartition('=')[2]}" if extra else ""
    objects_folder = root / "build" / f"native{suffix}"
    objects_folder.mkdir(parents=True, exist_ok=True)
    sources = [p for folder in SOURCES for p in sorted((root / folder).glob("*.cc"))]
    headers = [*sorted((root / "kernels").rglob("*.h")), Path(__file__)]
    newest_header = max(p.stat().st_mtime for p in headers)
    command = [*compiler.split(), *FLAGS, *WARNINGS, *extra, *include_flags(root)]

    def compile_one(source: Path) -> Path:
        target = objects_folder / f"{source.parent.name}_{source.stem}.o"
        newest = max(source.stat().st_mtime, newest_header)
        if force or not target.exists() or target.stat().st_mtime < newest:
            isa = isa_flags(source.stem)
            execute([*command, *isa, "-c", str(source), "-o", str(target)])
        return target

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(compile_one, sources))
    library = objects_folder / Path(LIBRARY).name if extra else root / LIBRARY
    stamp = objects_folder / "linked"
    stale = not stamp.exists() or not library.exists()
    names = "\n".join(str(p) for p in objects)
    stale = stale or stamp.read_text() != names
    if stale or max(p.stat().st_mtime for p in objects) > library.stat().st_mtime:
        link(compiler, extra, objects, library)
        stamp.write_text(names)
    return library


def link(compiler: str, extra: list[str], objects: list[Path], library: Path) -> None:
    """Link to a temporary name first: running processes keep the file they mapped."""
    library.parent.mkdir(parents=True, exist_ok=True)
    temporary = library.with_suffix(f".{os.getpid()}.tmp")
    files = [str(p) for p in objects]
    command = [*compiler.split(), "-shared", "-pthread", *extra]
    execute([*command, *files, "-o", str(temporary)])
    temporary.replace(library)


def isa_flags(stem: str) -> list[str]:
    """Return the instruction-set flags that a file's name asks for."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return []
    for suffix, flags in ISA_FLAGS.items():
        if stem.endswith(suffix):
            return flags
    return []


def include_flags(root: Path) -> list[str]:
    """Return include folders: our headers and XLA's, which jaxlib carries."""
    try:
        import jax
    except ImportError as error:
        raise BuildFailed(
            f"jax, whose headers are needed, is absent ({error})."
        ) from error
    folders = (root / "kernels/include", root / "kernels/cpu", root / "kernels/ffi")
    own = [flag for folder in folders for flag in ("-I", str(folder))]
    return [*own, "-isystem", jax.ffi.include_dir()]


def execute(command: list[str]) -> None:
    """Run a compiler command.

    Raises:
      BuildFailed: with the compiler's output, if it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stderr:
        print(done.stderr, file=sys.stderr)
    if done.returncode != 0:
        raise BuildFailed(f"failed: {' '.join(command)}\n{done.stderr}")


setup(
    distclass=NativeDistribution,
    cmdclass={
        "build_native": BuildNative,
        "build_py": BuildPy,
        "sdist": Sdist,
        "bdist_wheel": Wheel,
    },
)
