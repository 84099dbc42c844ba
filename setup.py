"""Build the native library into the package; everything else is in pyproject.toml.

`python setup.py build_native` compiles kernels/ into sas_jax/_native/libsas_jax.so
and, where nvcc is found, libsas_jax_cuda.so beside it; `pip install .` or
`pip install -e .` do the same on their way. Without a compiler the package installs
all the same and runs on plain XLA.
"""

import concurrent.futures
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
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
SWEEPS = "sweeps"
SOURCES = ("kernels/cpu", "kernels/ffi")
LIBRARY = "sas_jax/_native/libsas_jax.so"
# Contraction lets a * b + c become one fused operation, whose result does not depend
# on how the compiler arranges registers.
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-ffp-contract=fast", "-fno-math-errno"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter"]
_AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
ISA_FLAGS = {
    "_avx2": ["-mavx2", "-mfma"],
    "_avx512": _AVX512,
    # What this file computes in floats has the same bits in one without the flags.
    "_avx512_bf16": [*_AVX512, "-mavx512bf16", "-ffp-contract=off"],
}
# Newest GLIBCXX_3.4.<n> that systems with a GLIBC_2.<m> have: n -> m.
GLIBC_OF_CXX = {19: 17, 22: 24, 24: 27, 28: 31, 29: 34, 30: 35, 33: 39}
CUDA_LIBRARY = "sas_jax/_native/libsas_jax_cuda.so"
# Code for A100 and H100; $SAS_CUDA_ARCHS names others, such as "90" or "90a,100".
CUDA_ARCHITECTURES = "80,90"
# Architectures of one file are compiled side by side.
CUDA_FLAGS = ["-std=c++17", "-O3", "-Xcompiler", "-fPIC,-Wall,-Wextra", "-t", "0"]
# The runtime is linked in, and hidden: the process may have another one loaded.
CUDA_LINK = ["-shared", "-cudart", "static", "-Xlinker", "--exclude-libs=ALL"]


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
        if not self.sanitize:
            try_cuda_library(ROOT, force=bool(self.force))


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
        try_cuda_library(ROOT)
        self.__dict__.pop("data_files", None)
        super().run()
        if not self.editable_mode:
            for source, target in self._scripts():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target), preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the copies of the scripts, too."""
        copies = [] if self.editable_mode else self._scripts()
        outputs = super().get_outputs(include_bytecode)
        return [*outputs, *(str(target) for _, target in copies)]

    def _scripts(self) -> list[tuple[Path, Path]]:
        """Return scripts and flagfiles, and where `sas-jax` finds them when installed.

        An editable install, like the clone itself, has them at its root.
        """
        folder = Path(self.build_lib) / "sas_jax" / "experiments"
        return [
            (path, folder / path.parent.name / path.name)
            if path.parent.name == SWEEPS
            else (path, folder / path.name)
            for path in script_files()
        ]


class Sdist(sdist):
    """Add the native sources and the scripts to the source distribution."""

    def add_defaults(self) -> None:
        """Take every file below kernels/ and all scripts besides the usual ones."""
        super().add_defaults()
        found = [*(ROOT / "kernels").rglob("*"), *script_files()]
        files = [str(p.relative_to(ROOT)) for p in found if p.is_file()]
        self.filelist.extend(sorted(files))


class Wheel(bdist_wheel):
    """Tag wheels for any Python 3: the library links against no interpreter."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag without an interpreter version."""
        interpreter, abi, machine = super().get_tag()
        if machine == "any":
            return interpreter, abi, machine
        libraries = [ROOT / name for name in (LIBRARY, CUDA_LIBRARY)]
        return "py3", "none", platform_tag(machine, libraries)


def platform_tag(machine: str, libraries: list[Path]) -> str:
    """Return `manylinux_2_<x>` where libraries are for GNU's libc, else `machine`.

    The number is that of the oldest release whose symbols are enough. Those of the C++
    library come with compilers, whose numbers belong to releases of their time (PEP
    600; auditwheel's policies).
    """
    system, _, processor = machine.partition("_")
    if system != "linux":
        return machine
    found = [path.read_bytes() for path in libraries if path.exists()]
    least = 17  # the oldest with a tag of this form that pip of Python 3.11 knows
    for data in found:
        c = [int(n) for n in re.findall(rb"\0GLIBC_2\.(\d+)", data)]
        cxx = max(
            [int(n) for n in re.findall(rb"\0GLIBCXX_3\.4\.(\d+)", data)], default=0
        )
        if cxx > max(GLIBC_OF_CXX):
            return machine  # newer than what is known here
        with_cxx = next(GLIBC_OF_CXX[n] for n in sorted(GLIBC_OF_CXX) if n >= cxx)
        least = max(least, with_cxx, *c)
    return f"manylinux_2_{least}_{processor}" if found else machine


def script_files() -> list[Path]:
    """Return the scripts of all stages, the flagfiles and the sweeps."""
    scripts = ROOT / "experiments"
    sweeps = (scripts / SWEEPS).glob("*.toml")
    return sorted([*scripts.glob("*.py"), *ROOT.glob("*.flags"), *sweeps])


def find_compiler() -> str | None:
    """Return $CXX, g++ or clang++, whichever is there first."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name.split()[0]):
            return name
    return None


def find_nvcc() -> str | None:
    """Return the nvcc of $CUDA_HOME or of the path."""
    home = os.environ.get("CUDA_HOME")
    own = shutil.which(str(Path(home) / "bin" / "nvcc")) if home else None
    return own or shutil.which("nvcc")


def build_library(root: Path, *, force: bool = False, extra: list[str] = ()) -> Path:
    """Compile and link what is out of date, for the CPU.

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
    folder = root / "build" / f"native{suffix}"
    sources = [p for name in SOURCES for p in sorted((root / name).glob("*.cc"))]
    command = [*compiler.split(), *FLAGS, *WARNINGS, *extra, *include_flags(root)]

    def command_for(source: Path) -> list[str]:
        return [*command, *isa_flags(source.stem, compiler)]

    objects = compile_sources(root, sources, folder, command_for, force=force)
    library = folder / Path(LIBRARY).name if extra else root / LIBRARY
    link([*compiler.split(), "-shared", "-pthread", *extra], objects, library, folder)
    return library


def try_cuda_library(root: Path, *, force: bool = False) -> None:
    """Build the library for CUDA where nvcc is there; warn if that fails."""
    nvcc = find_nvcc()
    if nvcc is None:
        return
    try:
        build_cuda_library(root, nvcc, force=force)
    except BuildFailed as reason:
        print(
            f"WARNING: sas_jax has no native library for CUDA: {reason} On NVIDIA GPUs "
            "it will run on plain XLA. CUDA 12 or newer is needed; set CUDA_HOME to "
            "choose one, and run: python setup.py build_native",
            file=sys.stderr,
        )


def build_cuda_library(root: Path, nvcc: str, *, force: bool = False) -> Path:
    """Compile and link what is out of date, for CUDA; see `build_library`."""
    folder = root / "build" / "native_cuda"
    sources = sorted((root / "kernels/cuda").glob("*.c[cu]"))
    architectures = os.environ.get("SAS_CUDA_ARCHS") or CUDA_ARCHITECTURES
    flags = architecture_flags(architectures.split(","))
    command = [nvcc, *CUDA_FLAGS, *flags, *include_flags(root)]
    # Objects of other architectures are not these.
    stamp = folder / "architectures"
    force = force or not stamp.exists() or stamp.read_text() != architectures
    objects = compile_sources(root, sources, folder, lambda _: command, force=force)
    stamp.write_text(architectures)
    library = root / CUDA_LIBRARY
    link([nvcc, *CUDA_LINK], objects, library, folder)
    return library


def architecture_flags(names: list[str]) -> list[str]:
    """Return nvcc's flags: code for each, and PTX of the last for later GPUs."""
    *others, last = (name.strip() for name in names)
    flags = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in others]
    return [*flags, f"-gencode=arch=compute_{last},code=[sm_{last},compute_{last}]"]


def compile_sources(
    root: Path,
    sources: list[Path],
    folder: Path,
    command_for: Callable[[Path], list[str]],
    *,
    force: bool,
) -> list[Path]:
    """Compile those sources to objects in a folder that are older than any header."""
    folder.mkdir(parents=True, exist_ok=True)
    headers = [*sorted((root / "kernels").rglob("*.h")), Path(__file__)]
    newest_header = max(p.stat().st_mtime for p in headers)

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.parent.name}_{source.stem}.o"
        newest = max(source.stat().st_mtime, newest_header)
        if force or not target.exists() or target.stat().st_mtime < newest:
            execute([*command_for(source), "-c", str(source), "-o", str(target)])
        return target

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(compile_one, sources))


def link(command: list[str], objects: list[Path], library: Path, folder: Path) -> None:
    """Link a library that is older than its objects, or has other ones.

    It gets a temporary name first: running processes keep the file they mapped.
    """
    stamp = folder / "linked"
    names = "\n".join(str(p) for p in objects)
    if stamp.exists() and library.exists() and stamp.read_text() == names:
        newest = max(p.stat().st_mtime for p in objects)
        if newest <= library.stat().st_mtime:
            return
    library.parent.mkdir(parents=True, exist_ok=True)
    temporary = library.with_suffix(f".{os.getpid()}.tmp")
    execute([*command, *(str(p) for p in objects), "-o", str(temporary)])
    temporary.replace(library)
    stamp.write_text(names)


def isa_flags(stem: str, compiler: str) -> list[str]:
    """Return the instruction-set flags that a file's name asks for.

    None where the compiler is too old for them: the file has no kernels then.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return []
    for suffix, flags in ISA_FLAGS.items():
        if stem.endswith(suffix):
            return flags if knows_flags(compiler, flags) else []
    return []


def knows_flags(compiler: str, flags: list[str]) -> bool:
    """Say whether a compiler takes these flags."""
    nothing = ["-fsyntax-only", "-x", "c++", os.devnull]
    command = [*compiler.split(), *flags, *nothing]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def include_flags(root: Path) -> list[str]:
    """Return include folders: our headers and XLA's, which jaxlib carries."""
    try:
        import jax
    except ImportError as error:
        raise BuildFailed(
            f"jax, whose headers are needed, is absent ({error})."
        ) from error
    folders = [root / "kernels" / name for name in ("include", "cpu", "ffi")]
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
