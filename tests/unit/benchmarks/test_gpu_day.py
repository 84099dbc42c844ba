"""The helpers of a GPU's day, and the whole day rehearsed on a CPU."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture
def day(root, monkeypatch, tmp_path):
    """Import a helper of benchmarks/gpu with rows going to a temporary folder."""
    names = {path.stem for path in (root / "benchmarks" / "gpu").glob("*.py")}
    names |= {path.stem for path in (root / "benchmarks").glob("*.py")}
    for folder in (root / "benchmarks", root / "benchmarks" / "gpu"):
        monkeypatch.syspath_prepend(str(folder))
    for name in names & set(sys.modules):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("SAS_JAX_RESULTS", str(tmp_path))

    def load(name):
        module = __import__(name)
        for loaded in names & set(sys.modules):
            # Forgotten afterwards: other tests have modules of these names.
            monkeypatch.setitem(sys.modules, loaded, sys.modules[loaded])
        return module

    yield load
    for name in names & set(sys.modules):
        monkeypatch.delitem(sys.modules, name)


class Device:
    """A device with a clock of its own: a call is enqueued at once and takes 3 s."""

    def __init__(self):
        self.now = self.free = 0.0
        self.calls = 0

    def run(self):
        self.calls += 1
        self.now += 0.5
        self.free = max(self.now, self.free) + (100.0 if self.calls == 1 else 3.0)

    def wait(self, _):
        self.now = max(self.now, self.free)

    def clock(self):
        return self.now


def test_a_call_takes_the_devices_time_without_compiling_or_waiting_each_time(day):
    timing = day("timing")
    device = Device()
    batches = timing.Batches(count=3, seconds=35.0, most=1000)
    timed = timing.time_calls(device.run, device.wait, batches, device.clock)
    assert timed["calls"] == 10
    # Ten calls of three seconds, and the half second that starts the first one.
    assert timed["ms"] == timed["ms_least"] == timed["ms_most"] == 3050.0
    assert device.calls == 1 + 1 + 3 * 10


def test_a_batch_has_at_most_so_many_calls(day):
    timing = day("timing")
    device = Device()
    batches = timing.Batches(count=1, seconds=1e9, most=4)
    assert (
        timing.time_calls(device.run, device.wait, batches, device.clock)["calls"] == 4
    )


@pytest.mark.parametrize("got", [[np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0], [1.0, 1.1]])
def test_what_is_not_equal_is_not_timed(day, got):
    timing = day("timing")
    with pytest.raises(timing.Unequal):
        timing.require_close("case", got, [1.0, 1.0], 0.05)
    assert timing.require_close("case", [1.0, 1.01], [1.0, 1.0], 0.05) == 7.07e-3


@pytest.mark.parametrize("expected", [[0.0, 0.0], [1.0]])
def test_zeros_and_other_shapes_prove_nothing(day, expected):
    timing = day("timing")
    with pytest.raises(timing.Unequal):
        timing.require_close("case", [0.0, 0.0], expected, 1.0)


def test_a_failing_case_is_a_row_and_the_next_one_runs(day, tmp_path):
    rows = day("rows")
    failures = rows.Failures("part")
    with failures.case(layer="first"):
        raise ValueError("wrong\nand more")
    with failures.case(layer="second"):
        rows.write("part", layer="second", ms=1.0)
    lines = (tmp_path / "gpu_part.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert first["error"] == "ValueError: wrong" and first["layer"] == "first"
    assert second["ms"] == 1.0 and "card" in second and "versions" in second
    assert failures.count == 1
    with pytest.raises(SystemExit, match="1"):
        failures.exit()


WORKER = """
import sys, time
what = sys.argv[1]
if what == "dies": sys.exit(3)
if what == "sleeps": time.sleep(60)
print("ready to measure", flush=True)
sys.stdin.readline()
open(sys.argv[2], "a").write(what + " ")
if what == "hangs": time.sleep(60)
"""


def test_workers_measure_in_order_and_one_that_hangs_costs_only_itself(
    day, tmp_path, monkeypatch
):
    workers = day("workers")
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(workers, "_HERE", tmp_path)
    order = tmp_path / "order"

    def prepare():
        assert not order.exists()

    names = ("dies", "one", "hangs", "two", "sleeps")
    commands = [("worker.py", name, str(order)) for name in names]
    failed = workers.run_all(commands, workers.Patience(3.0, 1.0), prepare)
    assert order.read_text().split() == ["one", "hangs", "two"]
    assert [name.split()[1] for name in failed] == ["dies", "hangs", "sleeps"]


def run_day(root, tmp_path, *args):
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [str(root / "benchmarks" / "gpu_day.sh"), "--rehearse"]
    return subprocess.run(
        [*command, "--results", str(tmp_path), *args],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_part_that_fails_is_noted_and_the_budget_leaves_the_rest_out(root, tmp_path):
    # An unknown interpreter: every part fails at once.
    environment = {**os.environ, "PYTHON": "/bin/false"}
    command = [str(root / "benchmarks" / "gpu_day.sh"), "--results", str(tmp_path)]
    done = subprocess.run(
        [*command, "--parts", "machine,plan"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    noted = [json.loads(x) for x in (tmp_path / "gpu_day.jsonl").open()]
    assert [(row["part"], row["status"]) for row in noted] == [
        ("machine", "1"),
        ("plan", "1"),
    ]
    assert done.returncode == 1
    assert "machine    status 1" in done.stdout
    command += ["--budget", "5", "--parts", "machine"]
    subprocess.run(command, env=environment, check=False, capture_output=True)
    *_, last = (tmp_path / "gpu_day.jsonl").open()
    assert json.loads(last)["status"] == "left_out"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_day_rehearsed_on_a_cpu(root, tmp_path):
    done = run_day(root, tmp_path)
    assert done.returncode == 0, done.stdout
    noted = [json.loads(x) for x in (tmp_path / "gpu_day.jsonl").open()]
    assert len(noted) >= 11
    for path in tmp_path.glob("gpu_*.jsonl"):
        assert not any("error" in json.loads(x) for x in path.open()), path
