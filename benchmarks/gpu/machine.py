"""What the machine is made of, and what it can do: copies, matrix products."""

import functools
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import rows
from day_jax import time_jax

COPY_BYTES = 1 << 20 if rows.REHEARSE else 4 << 30
SIZE = 128 if rows.REHEARSE else 8192
PRODUCTS = {
    "f32": (jnp.float32, "highest"),
    "tf32": (jnp.float32, "tensorfloat32"),
    "bf16": (jnp.bfloat16, None),
    "f16": (jnp.float16, None),
}


def toolkit() -> str:
    """Return the last line of what nvcc says of itself, or "none"."""
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        return "none"
    done = subprocess.run([nvcc, "--version"], capture_output=True, text=True)
    return done.stdout.strip().rpartition("\n")[2]


def main() -> None:
    failures = rows.Failures("machine")
    with failures.case(what="toolkit"):
        rows.write("machine", what="toolkit", nvcc=toolkit(),
                   device=str(jax.devices()[0].device_kind))  # fmt: skip
    with failures.case(what="copy"):
        # Adding reads and writes every byte once, as a copy does.
        source = jnp.arange(COPY_BYTES // 4, dtype=jnp.float32)
        add = jax.jit(lambda x: x + 1.0)
        timing = time_jax(lambda: add(source))  # noqa: F821, deleted below
        rate = 2 * COPY_BYTES / timing["ms"] / 1e6
        rows.write("machine", what="copy", gb_per_s=round(rate), **timing)
        del source
    for name, (dtype, precision) in PRODUCTS.items():
        with failures.case(what=f"product {name}"):
            draw = np.random.default_rng(0).standard_normal((2, SIZE, SIZE), np.float32)
            a, b = jnp.asarray(draw, dtype)
            product = jax.jit(functools.partial(jnp.matmul, precision=precision))
            timing = time_jax(lambda product=product, a=a, b=b: product(a, b))
            rate = 2 * SIZE**3 / timing["ms"] / 1e9
            rows.write("machine", what=f"product {name}", size=SIZE,
                       tflops=round(rate, 1), **timing)  # fmt: skip
    failures.exit()


if __name__ == "__main__":
    main()
