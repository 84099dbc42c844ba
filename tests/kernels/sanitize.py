"""Run the native kernels under the compiler's sanitizers; exit with 1 on a finding.

    python tests/kernels/sanitize.py [thread address undefined]

Builds the library with each sanitizer (setup.py, into build/), links the stress program
of kernels/stress against it and runs that. Python and JAX stay out of it: what they do
would drown the kernels' own findings.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = ("thread", "address", "undefined")
PROGRAM = ROOT / "kernels/stress/stress.cc"
# A finding ends the program with this status.
OPTIONS = {
    "TSAN_OPTIONS": "exitcode=66 halt_on_error=0",
    # Without the check for use after return: GCC before 14 misaligns vectors under it.
    "ASAN_OPTIONS": "exitcode=66 detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "exitcode=66 halt_on_error=1 print_stacktrace=1",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sanitizers", nargs="*", default=SANITIZERS, metavar="NAME")
    args = parser.parse_args()
    unknown = set(args.sanitizers) - set(SANITIZERS)
    if unknown:
        parser.error(f"sanitizers of {SANITIZERS} are required, got {unknown}")
    failed = [name for name in args.sanitizers if not is_clean(name)]
    print(f"sanitize: findings of {failed}" if failed else "sanitize: no findings")
    return 1 if failed else 0


def is_clean(sanitizer: str) -> bool:
    """Build and run with one sanitizer; its report goes to stderr."""
    build = [sys.executable, "setup.py", "-q", "build_native"]
    subprocess.run([*build, f"--sanitize={sanitizer}"], cwd=ROOT, check=True)
    program = link(ROOT / f"build/native_{sanitizer}", sanitizer)
    done = subprocess.run([program], env={**os.environ, **OPTIONS}, check=False)
    print(f"sanitize: {sanitizer} {'clean' if done.returncode == 0 else 'FAILED'}")
    return done.returncode == 0


def link(folder: Path, sanitizer: str) -> Path:
    program = folder / "stress"
    command = [
        *os.environ.get("CXX", "g++").split(),
        *("-std=c++17", "-O1", "-g", "-pthread", f"-fsanitize={sanitizer}"),
        *("-I", str(ROOT / "kernels/include"), str(PROGRAM)),
        *(str(folder / "libsas_jax.so"), f"-Wl,-rpath,{folder}", "-o", str(program)),
    ]
    subprocess.run(command, check=True)
    return program


if __name__ == "__main__":
    sys.exit(main())
