"""A run that is killed and started again ends with the same parameters, bit for bit.

The child prints the number of every finished step; the test kills it, with SIGKILL,
while a later step or a checkpoint is on its way.
"""

import os
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from sas_jax.distill.checkpoint import Checkpoints

TESTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
SCRIPT = """
import signal, sys
from tiny_scenes import Mixer, SPACE, TEXT, boxes, encoded, tiny_config
from sas_jax.distill import step
from sas_jax.distill.config import RunConfig
from sas_jax.distill.train import train

if sys.argv[2] == "mixer":
    step.make_network = lambda config: Mixer()
done = 0

def report():
    global done
    done += 1
    print("step", done, flush=True)
    return False

result = train(
    tiny_config(epochs=6, batch_size=2),
    boxes(4),
    encoded(),
    sys.argv[1],
    run=RunConfig(progress=False, checkpoint_minutes=0),
    stop=report,
)
assert result.completed
"""
STEPS = 12


def start(folder, network, cache):
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), network],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(folder, network, cache):
    with start(folder, network, cache) as child:
        steps = child.stdout.read().split("\n")
        assert child.wait() == 0
    return len([line for line in steps if line.startswith("step")])


def kill_after(folder, network, cache, steps):
    with start(folder, network, cache) as child:
        for line in child.stdout:
            if line.split() == ["step", str(steps)]:
                break
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


def final(folder):
    checkpoint = Checkpoints(folder / "checkpoints").restore(STEPS)
    return jax.tree.leaves((checkpoint.state, dict(checkpoint.history)))


@pytest.mark.slow
@pytest.mark.parametrize(("network", "kills"), [("mixer", (3, 5)), ("student", (9,))])
def test_killed_runs_end_with_the_same_bits(tmp_path, network, kills):
    cache = tmp_path / "cache"
    assert finish(tmp_path / "whole", network, cache) == STEPS
    for steps in kills:
        kill_after(tmp_path / "killed", network, cache, steps)
    assert finish(tmp_path / "killed", network, cache) < STEPS
    for a, b in zip(final(tmp_path / "whole"), final(tmp_path / "killed"), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_the_documented_command_names_what_is_missing(tmp_path):
    command = [sys.executable, "experiments/train.py", "--flagfile=scannet.flags"]
    done = subprocess.run(
        [*command, f"--workspace={tmp_path}", f"--data_root={tmp_path}/none"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and all(line.startswith("missing: ") for line in lines)
    for script in ("extract_features", "measure_capability", "fuse_features"):
        assert f"experiments/{script}.py --flagfile=scannet.flags" in done.stdout
    assert str(tmp_path) in lines[0]
    assert done.stderr == ""
