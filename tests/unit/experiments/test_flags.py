"""Flagfiles mean what their recipe says."""

import os
import subprocess
import sys

SCRIPT = """
import sys
sys.path.insert(0, "experiments")
import train
from absl import flags
from sas_jax.distill.config import TrainConfig, official_config

def parsed(*given):
    flags.FLAGS(["train.py", "--flagfile=scannet.flags", *given])
    return train.config(512)

assert parsed() == TrainConfig(), parsed()
assert parsed("--compat=official") == official_config(), parsed()
assert parsed("--epochs=3") == official_config(epochs=3), parsed()
"""


def test_the_flagfile_of_scannet_follows_both_recipes(root):
    # Flags live once per process and in `experiments`: a subprocess keeps them apart.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
