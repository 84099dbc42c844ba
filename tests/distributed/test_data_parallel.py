"""One device and two fake devices, same scenes: the same training.

Fake devices must be asked for before JAX starts, hence the subprocesses.
"""

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = """
import pickle, sys
import jax
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
import numpy as np
from tiny_scenes import TEXT, Mixer, boxes, tiny_config
from sas_jax.distill import loader, step as steps
from sas_jax.distill.data import SceneCache
from sas_jax.distill.history import History
from sas_jax.distill.objective import StepInputs, step_config
from sas_jax.distill.schedule import Schedule, Stage
from sas_jax.models.config import StudentConfig

assert len(jax.devices()) == int(sys.argv[2])
network, batch_size, number = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
config = tiny_config(batch_size=batch_size, sync_bn=True)
sources = boxes(5)
cache = SceneCache(sources, config, 10**9)
schedule = Schedule(len(sources), config)
devices = tuple(jax.devices())
policy = loader.plan_buckets(cache, schedule, len(devices))
source = loader.BatchSource(cache, schedule, policy, len(devices))
network = Mixer() if network == "mixer" else steps.make_network(config)
stage = Stage(number, True, number == 2, 0, 9)
train_step = steps.make_train_step(network, step_config(config, stage), devices)
inputs = StepInputs(np.float32(1e-2), np.float32(config.ema_alpha), TEXT)
state = steps.replicate(steps.create_state(network, config), devices)
history = History()
for box in sources:
    scene = box.load(config)
    rng = np.random.default_rng(len(scene.points))
    history.start(
        scene.name,
        rng.normal(size=(len(scene.points), 3)).astype(np.float32),
        scene.superpoint,
    )
results = []
first = schedule.first_self_step if number == 2 else 0
for index in range(first, first + 2):
    shards, info = source[index]
    if number == 2:
        shards = history.attach(shards, info.scene_rows)
    state, metrics, updated = train_step(
        state, steps.to_devices(shards, devices), inputs
    )
    if number == 2:
        history.push(info.scene_rows, updated)
    voxels = [int(s.plan.levels[0].num_valid) for s in shards]
    results.append((voxels, jax.device_get({k: tuple(v) for k, v in metrics.items()})))
values = jax.device_get((state.params, state.batch_stats))
with open(sys.argv[1], "wb") as file:
    pickle.dump((results, jax.tree.leaves(values), history.arrays()), file)
"""


def run(path, num_devices, *arguments):
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}",
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
    }
    command = [sys.executable, "-c", SCRIPT, str(path), str(num_devices)]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return pickle.loads(path.read_bytes())


@pytest.mark.parametrize(
    ("network", "batch_size", "number"),
    [
        ("mixer", 3, 2),
        ("mixer", 1, 1),  # a device without scenes
        pytest.param("student", 3, 1, marks=pytest.mark.slow),
    ],
)
def test_two_devices_train_as_one(tmp_path, network, batch_size, number):
    arguments = (network, batch_size, number)
    one, params_one, history_one = run(tmp_path / "one", 1, *arguments)
    two, params_two, history_two = run(tmp_path / "two", 2, *arguments)
    for (voxels_one, metrics_one), (voxels_two, metrics_two) in zip(
        one, two, strict=True
    ):
        assert sum(voxels_one) == sum(voxels_two)
        assert voxels_two[0] != voxels_two[1]
        for name in metrics_one:
            # Two devices sum in another order. In the student, that flips a ReLU here
            # and there: inputs moved by 1e-7 move its gradients by 3.3e-3.
            flips = network == "student" and name == "grad_norm"
            np.testing.assert_allclose(
                metrics_one[name],
                metrics_two[name],
                rtol=4e-3 if flips else 2e-4,
                err_msg=name,
            )
        for name in ("point", "superpoint"):
            assert metrics_one[name][1] == metrics_two[name][1]
    moved = [np.abs(a - b).ravel() for a, b in zip(params_one, params_two, strict=True)]
    if network == "student":
        # Adam turns rounding of gradients near zero into steps of up to the rate, 1e-2,
        # for a few weights; sums over one device only would move most of them.
        assert np.mean(np.concatenate(moved) > 2e-3) < 0.01
    else:
        assert max(map(np.max, moved)) < 1e-5
    for name, rows in history_one.items():
        np.testing.assert_allclose(rows, history_two[name], atol=1e-4)
