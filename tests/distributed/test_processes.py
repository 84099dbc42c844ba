"""Two processes that train as one: the same bits as one process with two devices.

JAX joins processes before it starts, hence the subprocesses. They talk through gloo, on
this machine.
"""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from sas_jax.artefacts.lock import workspace_lock
from sas_jax.distill.checkpoint import Checkpoints

TESTS = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = """
import pathlib, sys
import jax
address, number, count, folder, stop_at = sys.argv[1:]
number, count = int(number), int(count)
if count > 1:
    jax.distributed.initialize(address, count, number)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
from tiny_scenes import Mixer, SPACE, TEXT, boxes, encoded, tiny_config
from sas_jax.distill import step as steps, train as training
from sas_jax.distill.config import RunConfig
from sas_jax.errors import InputError

steps.make_network = lambda config: Mixer()
assert len(jax.devices()) == 2
asked = []
def stop():  # a signal reaches the last process alone
    asked.append(0)
    return number == count - 1 and len(asked) == int(stop_at)
try:
    result = training.train(
        tiny_config(batch_size=3, sync_bn=True),
        boxes(5),
        encoded(),
        pathlib.Path(folder),
        run=RunConfig(progress=False),
        stop=stop,
    )
except InputError as error:
    sys.exit(f"error: {error}")
print("step", result.step, result.completed)
"""


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def run(folder, count, stop_at=0):
    """Train in `count` processes with two devices together; return their results."""
    address = f"localhost:{free_port()}"
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={2 // count}",
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address]
            + [str(x) for x in (number, count, folder, stop_at)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        outputs = [p.communicate(timeout=240) for p in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [p.returncode for p in processes], outputs


def saved(folder):
    """Return the leaves of a run's newest checkpoint, and its step."""
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        found = checkpoints.restore(checkpoints.latest_step())
    finally:
        checkpoints.close()
    return jax.tree.leaves((found.state, dict(found.history))), int(found.state.step)


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_after_a_stop(tmp_path):
    codes, outputs = run(tmp_path / "one", 1)
    assert codes == [0], outputs
    one, steps = saved(tmp_path / "one")
    codes, outputs = run(tmp_path / "two", 2, stop_at=3)
    assert codes == [0, 0], outputs
    assert 0 < saved(tmp_path / "two")[1] < steps
    codes, outputs = run(tmp_path / "two", 2)
    assert codes == [0, 0], outputs
    two, steps_of_two = saved(tmp_path / "two")
    assert steps_of_two == steps and len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_primary_process_holds_the_run_and_all_are_refused_with_it(tmp_path):
    with workspace_lock(tmp_path / "run"):
        codes, ((_, first), (_, second)) = run(tmp_path / "run", 2)
    assert codes == [1, 1]
    assert f"process {os.getpid()}" in first and "primary process" in second
