"""Two processes that train as one: the same bits as one process with two devices.

JAX joins processes before it starts, hence the subprocesses. They talk through gloo, on
this machine; two numbers have one sum in either order, so no bit may differ.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from sas_jax.artefacts.lock import workspace_lock
from sas_jax.distill.checkpoint import Checkpoints

TESTS = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = """
import contextlib, os, pathlib, signal, sys
import hosts
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
address, number, count, folder, stop_at, kill_at, victim, *sizes = sys.argv[1:]
number, count, folder = int(number), int(count), pathlib.Path(folder)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
from tiny_scenes import Mixer, boxes, encoded, tiny_config
from sas_jax.distill import step as steps, train as training
from sas_jax.distill.config import RunConfig
from sas_jax.errors import InputError

steps.make_network = lambda config: Mixer()

def train(batch_size):
    asked = []
    def stop():  # a signal reaches one process alone
        asked.append(0)
        if number == int(victim) and len(asked) == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return number == count - 1 and len(asked) == int(stop_at)
    return training.train(
        tiny_config(batch_size=batch_size, sync_bn=True),
        boxes(5),
        encoded(),
        folder / str(batch_size),
        run=RunConfig(progress=False, checkpoint_minutes=0),
        stop=stop,
    )

joined = contextlib.nullcontext()
if count > 1:
    several = (None, None) if address == hosts.AUTO else (count, number)
    joined = hosts.joined(address, *several, folder / "logs")
try:
    with joined:
        assert jax.process_count() == count
        for size in map(int, sizes):
            result = train(size)
            print("step", result.step, result.completed)
except InputError as error:
    sys.exit(f"error: {error}")
"""


def free_port(candidates=(0,)):
    for port in candidates:
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("localhost", port))
            return one.getsockname()[1]
    raise AssertionError("no port is free")


def run(
    folder,
    count,
    *sizes,
    devices=2,
    stop_at=0,
    kill_at=0,
    victim=0,
    slurm=False,
):
    """Train in `count` processes with so many devices together; return their results.

    Also how long the last one outlived the first.
    """
    # JAX has Slurm's processes meet at a port from 61440, by the number of their job.
    port = free_port(range(61440 + os.getpid() % 2048, 65536)) if slurm else free_port()
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices // count}",
        "PYTHONPATH": os.pathsep.join(
            str(path) for path in (TESTS.parent, TESTS, TESTS.parent / "experiments")
        ),
    }
    job = {"SLURM_JOB_ID": str(port - 61440), "SLURM_NTASKS": str(count)}
    job |= {"SLURM_STEP_NODELIST": "localhost", "SLURM_LOCALID": "0"}
    address = "auto" if slurm else f"localhost:{port}"
    arguments = [count, folder, stop_at, kill_at, victim, *sizes]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address, *map(str, [number, *arguments])],
            env=environment | ({**job, "SLURM_PROCID": str(number)} if slurm else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        if kill_at:
            processes[victim].wait(timeout=400)
        began = time.monotonic()
        outputs = [p.communicate(timeout=400) for p in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    after_s = time.monotonic() - began
    return [p.returncode for p in processes], outputs, after_s


def saved(folder):
    """Return the leaves of a run's newest checkpoint, and its step."""
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        found = checkpoints.restore(checkpoints.latest_step())
    finally:
        checkpoints.close()
    return jax.tree.leaves((found.state, dict(found.history))), int(found.state.step)


@pytest.fixture(scope="module")
def of_one(tmp_path_factory):
    """Return the folder of runs in one process with two devices."""
    folder = tmp_path_factory.mktemp("one")
    codes, outputs, _ = run(folder, 1, 3, 1)  # an odd last batch; a device without
    assert codes == [0], outputs
    return folder


def assert_same(folder, expected):
    (ours, step), (theirs, steps) = saved(folder), saved(expected)
    assert step == steps and len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_is_killed_the_other_ends_and_both_go_on_to_the_same_bits(tmp_path, of_one):
    for victim in (1, 0):
        folder = tmp_path / str(victim)
        # Asked at the ends of epochs, two steps each: the third lies in stage 2.
        codes, outputs, after_s = run(folder, 2, 3, kill_at=3, victim=victim)
        survivor = 1 - victim
        assert codes[victim] == -signal.SIGKILL and codes[survivor] != 0
        assert after_s < 60
        lines = [line for line in outputs[survivor][1].splitlines() if line]
        assert len(lines) == 1 and lines[0].startswith("error: train: all processes")
    shutil.copytree(tmp_path / "1", tmp_path / "alone")

    # Both found by JAX, as Slurm starts them, and stopped by a signal to one of them.
    codes, outputs, _ = run(tmp_path / "1", 2, 3, stop_at=1, slurm=True)
    assert codes == [0, 0], outputs
    assert "False" in outputs[0][0] and 2 < saved(tmp_path / "1" / "3")[1] < 8
    codes, outputs, _ = run(tmp_path / "1", 2, 3, 1, slurm=True)
    assert codes == [0, 0], outputs
    for size in ("3", "1"):
        assert_same(tmp_path / "1" / size, of_one / size)

    # With another number of processes and devices: sums have another order.
    before = saved(tmp_path / "alone" / "3")[1]
    assert 0 < before < 8
    codes, outputs, _ = run(tmp_path / "alone", 1, 3, devices=1)
    assert codes == [0], outputs
    for a, b in zip(
        saved(tmp_path / "alone" / "3")[0], saved(of_one / "3")[0], strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_four_processes_train_what_one_with_four_devices_does(tmp_path):
    for count in (1, 4):
        codes, outputs, _ = run(tmp_path / str(count), count, 3, devices=4)
        assert codes == [0] * count, outputs
    (ours, step), (theirs, steps) = (saved(tmp_path / n / "3") for n in "41")
    assert step == steps
    # Sums of four may be taken in another order: that of numbers of processes above.
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_the_primary_process_holds_the_run_and_all_are_refused_with_it(tmp_path):
    with workspace_lock(tmp_path / "3"):
        codes, ((_, first), (_, second)), _ = run(tmp_path, 2, 3)
    assert codes == [1, 1]
    assert f"process {os.getpid()}" in first and "primary process" in second
