"""MinkUNet18A on the room: ours, plain XLA and spconv, forward and training step.

    python benchmarks/gpu/network.py [native:bf16 spconv:f16 ...]

Every implementation and precision is a process of its own (workers.py), compared with
one float32 run on the CPU before it is timed. See network_jax.py, network_spconv.py.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import rows
import workers

HERE = Path(__file__).resolve().parent
# In the order in which they may use the device: what matters most comes first.
CASES = (
    ("network_jax.py", "native", "f32"),
    ("network_spconv.py", "spconv", "f32"),
    ("network_jax.py", "native", "tf32"),
    ("network_spconv.py", "spconv", "tf32"),
    ("network_spconv.py", "spconv", "f16"),
    ("network_jax.py", "native", "bf16"),
    ("network_jax.py", "xla", "f32"),
    ("network_jax.py", "xla", "tf32"),
    ("network_spconv.py", "spconv_triton", "tf32"),
    ("network_spconv.py", "spconv_triton", "f16"),
    ("network_spconv.py", "spconv_triton", "f32"),
)
# XLA takes two minutes for the plain path.
PATIENCE = workers.Patience.of_day(ready=180, measure=40)


def is_here(impl: str, precision: str) -> bool:
    """Say whether what a case compares with is installed, in a row if it is not."""
    if impl in ("native", "xla"):
        return True
    absent = [
        name for name in ("torch", impl) if importlib.util.find_spec(name) is None
    ]
    if absent:
        rows.write("network", impl=impl, precision=precision, skipped=f"no {absent}")
    return not absent


def main() -> None:
    chosen = {tuple(case.split(":")) for case in sys.argv[1:]}
    cases = CASES[:2] if rows.REHEARSE else CASES
    cases = [case for case in cases if not chosen or case[1:] in chosen]
    with tempfile.TemporaryDirectory() as folder:
        reference = str(Path(folder) / "reference.npz")

        def compute_reference() -> None:
            command = [sys.executable, str(HERE / "network_reference.py"), reference]
            environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
            subprocess.run(command, check=True, env=environment)

        commands = [
            (script, reference, *rest) for script, *rest in cases if is_here(*rest)
        ]
        failed = workers.run_all(commands, PATIENCE, compute_reference)
    for name in failed:
        print(f"failed: {name}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
