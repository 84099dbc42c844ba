"""The device memory of one forward, in a process that does nothing else.

    python network_memory.py            all precisions, each in a process of its own
    python network_memory.py bf16       one of them, in this process

Run after network.py: its programs are in the compilation cache then, so that what
choosing kernels takes at compilation does not count. Parameters and plan do.
"""

import subprocess
import sys
from pathlib import Path

import rows
from day_jax import peak_mb, program_mb
from network_jax import Case
from precisions import PRECISIONS

CHOSEN = ("f32",) if rows.REHEARSE else ("f32", "tf32", "bf16")


def main() -> None:
    if len(sys.argv) > 1:
        return measure(sys.argv[1])
    processes = [
        subprocess.Popen([sys.executable, "-u", str(Path(__file__)), precision])
        for precision in CHOSEN
    ]
    failed = [process.wait() for process in processes]
    sys.exit(1 if any(failed) else 0)


def measure(precision: str) -> None:
    row = {"impl": "sas_jax native", "precision": precision}
    failures = rows.Failures("network")
    with failures.case(**row, what="forward, alone"):
        case = Case("native", precision)
        with PRECISIONS[precision].context():
            function, operands = case.forward()
            program = function.lower(*operands).compile()
        loaded = peak_mb()
        program(*operands).block_until_ready()
        rows.write("network", **row, what="forward, alone", voxels=case.num_voxels,
                   peak_mb=peak_mb(), loaded_mb=loaded,
                   program_mb=program_mb(program))  # fmt: skip
    failures.exit()


if __name__ == "__main__":
    main()
