"""Scenes handed out to workers: none lost and none twice, whoever dies on the way."""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import scene_work
from scene_work import path_of, run

from sas_jax.artefacts import files, on_ray, workers
from sas_jax.artefacts.dispatch import TRIES, Crew
from sas_jax.errors import InputError

SCRIPT = scene_work.__file__


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, as large as two workers, with two GPUs by name alone."""
    ray = pytest.importorskip("ray", reason="workers on Ray need the extra [ray]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # no token in the home folder
        ray.init(
            "local",
            num_cpus=2,
            num_gpus=2,
            include_dashboard=False,
            log_to_driver=False,
        )
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture(params=["processes", "ray"])
def crew(request):
    """Two workers, a thread of the CPU for each."""
    if request.param == "processes":
        return Crew(2, 2)
    return Crew(2, 2, request.getfixturevalue("cluster"), 1.0)


def in_background(folder, names, crew):
    """Run a driver on a thread, so that the test may do something meanwhile."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(run, folder, names, crew)
    pool.shutdown(wait=False)
    return future


def driver(folder, names, workers=2, ray=""):
    """Start a driver that can be killed."""
    paths = [str(pathlib.Path(SCRIPT).parents[1]), str(pathlib.Path(SCRIPT).parent)]
    return subprocess.Popen(
        [sys.executable, SCRIPT, str(folder), str(workers), ray, *names],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
    )


def hold(folder, *names):
    for name in names:
        os.mkfifo(folder / f"hold-{name}")


def held(folder, name, *running):
    """Wait until somebody is at a scene; closing what is returned lets it go on."""
    deadline = time.monotonic() + 100
    while True:  # opened for writing as soon as it is open for reading
        try:
            number = os.open(folder / f"hold-{name}", os.O_WRONLY | os.O_NONBLOCK)
            return os.fdopen(number, "w")
        except OSError:
            assert time.monotonic() < deadline, made(folder)
            assert not any(future.done() for future in running), running[0].result()
            time.sleep(0.01)


def wait_for(path):
    deadline = time.monotonic() + 100
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def made(folder):
    """Return what is noted of every start of making a scene, in order."""
    log = folder / "made"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines]


def names_made(folder):
    return [each["name"] for each in made(folder)]


def check_whole(folder, names):
    for name in names:
        assert files.is_current(path_of(folder, name), "key", verify=True)
    assert not list(folder.glob(".*.tmp"))
    assert os.listdir(folder / ".claims") == []


def test_the_largest_come_first_and_a_slow_one_lets_the_others_go_on(tmp_path, crew):
    names = ["slow", *"12345"]
    hold(tmp_path, "slow")
    running = in_background(tmp_path, names, crew)
    with held(tmp_path, "slow", running):
        wait_for(path_of(tmp_path, "5"))
        assert names_made(tmp_path)[0] in ("slow", "1")
        assert [n for n in names_made(tmp_path) if n != "slow"] == list("12345")
    answers = running.result(timeout=100)
    assert sorted(answers) == sorted((name, 1, False) for name in names)
    assert "slow" in [name for name, *_ in answers[-2:]]
    assert len(made(tmp_path)) == 6
    who = {each["pid"]: each for each in made(tmp_path)}
    assert len(who) == 2 and os.getpid() not in who
    assert all(one["threads"] == 1 and one["omp"] == "1" for one in who.values())
    if crew.ray:
        assert {one["gpus"] for one in who.values()} == {"0", "1"}
    check_whole(tmp_path, names)
    assert run(tmp_path, names, Crew()) == [(name, 0, False) for name in names]


def test_the_scene_of_a_killed_worker_is_tried_again_by_another(tmp_path, crew):
    hold(tmp_path, "0", "1")
    running = in_background(tmp_path, "0123", crew)
    with held(tmp_path, "1", running), held(tmp_path, "0", running):
        (killed,) = [each for each in made(tmp_path) if each["name"] == "0"]
        (tmp_path / "hold-0").unlink()  # the next try is not held
        os.kill(killed["pid"], signal.SIGKILL)
        wait_for(path_of(tmp_path, "3"))  # before the one that has killed
    assert sorted(running.result(timeout=100)) == [(n, 1, False) for n in "0123"]
    assert sorted(names_made(tmp_path)) == ["0", "0", "1", "2", "3"]
    assert len({each["pid"] for each in made(tmp_path) if each["name"] == "0"}) == 2
    check_whole(tmp_path, "0123")


def test_a_scene_that_kills_every_worker_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"got {TRIES} that were killed at dies"):
        run(tmp_path, ["dies", "1", "2", "3"], Crew(2, 2))
    assert names_made(tmp_path).count("dies") == TRIES
    for name in "123":
        assert files.is_current(path_of(tmp_path, name), "key")


def test_a_full_disk_is_told_and_what_is_finished_stays(tmp_path, crew):
    hold(tmp_path, "full", "1")
    names = ["full", "1", "2", "3"]
    running = in_background(tmp_path, names, crew)
    with held(tmp_path, "1", running):
        held(tmp_path, "full", running).close()
        while any("full" in name for name in os.listdir(tmp_path / ".claims")):
            time.sleep(0.01)
    with pytest.raises(InputError, match=r"full\.safetensors.*No space left") as told:
        running.result(timeout=100)
    assert type(told.value) is InputError and "\n" not in str(told.value)
    assert files.is_current(path_of(tmp_path, "1"), "key")  # was let finish
    assert not path_of(tmp_path, "full").exists()
    check_whole(tmp_path, ["1"])
    before = names_made(tmp_path)
    run(tmp_path, names[1:], Crew())
    assert "1" not in names_made(tmp_path)[len(before) :]


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_workers_end_with_a_killed_driver_and_the_next_run_goes_on(
    tmp_path, engine, request
):
    ray = request.getfixturevalue("cluster") if engine == "ray" else ""
    hold(tmp_path, "0", "1")
    first = driver(tmp_path, "0123", ray=ray)
    pipes = [held(tmp_path, name) for name in "01"]  # both workers are at a scene
    first.kill()
    if not ray:  # workers hold the other end of this pipe: it closes with the last one
        first.communicate(timeout=100)
    first.wait(100)
    for pid in {each["pid"] for each in made(tmp_path)}:
        deadline = time.monotonic() + 100
        while pathlib.Path(f"/proc/{pid}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    for pipe in pipes:
        pipe.close()
    for name in "01":
        (tmp_path / f"hold-{name}").unlink()
    assert names_made(tmp_path) == ["0", "1"] or names_made(tmp_path) == ["1", "0"]
    assert not list(tmp_path.glob("*.safetensors"))
    run(tmp_path, "0123", Crew())
    assert sorted(names_made(tmp_path)) == ["0", "0", "1", "1", "2", "3"]
    check_whole(tmp_path, "0123")


def test_two_drivers_by_mistake_make_each_scene_once(tmp_path):
    names = "01234567"
    hold(tmp_path, "0", "1")
    first, second = driver(tmp_path, names), None
    try:
        with held(tmp_path, "0"), held(tmp_path, "1"):  # both of its workers
            second = driver(tmp_path, names)
            wait_for(path_of(tmp_path, "7"))
        said = [p.communicate(timeout=100)[0].split() for p in (first, second)]
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.communicate()
    assert sorted(names_made(tmp_path)) == list(names)
    assert said == [["2", "8"], ["6", "8"]]  # made, and known to be finished
    check_whole(tmp_path, names)


def test_an_error_of_a_scene_is_that_of_its_worker(tmp_path, crew):
    with pytest.raises(InputError, match="a whole one is required") as told:
        run(tmp_path, ["wrong", "1"], crew)
    assert type(told.value) is InputError and "\n" not in str(told.value)
    assert os.listdir(tmp_path / ".claims") == []


def test_an_interrupted_driver_leaves_no_worker(tmp_path, monkeypatch):
    hold(tmp_path, "0")
    submitted, pipes = [], []

    class Interrupted(workers._Process):
        def submit(self, method, *arguments):
            if submitted.append(method) or len(submitted) == 4:
                pipes.append(held(tmp_path, "0"))  # its worker is at it
                raise KeyboardInterrupt
            return super().submit(method, *arguments)

    monkeypatch.setattr(workers, "_Process", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "01", Crew(2, 2))
    pipes[0].close()
    (at,) = made(tmp_path)
    assert not pathlib.Path(f"/proc/{at['pid']}").exists()
    assert "TQDM_DISABLE" not in os.environ


def test_a_worker_alone_is_this_process(tmp_path):
    assert run(tmp_path, "10", Crew(1, 3)) == [("1", 1, False), ("0", 1, False)]
    assert [(each["pid"], each["threads"]) for each in made(tmp_path)] == [
        (os.getpid(), 3)
    ] * 2
    assert run(tmp_path, "", Crew(4)) == []


def node(cpus, gpus=0.0, alive=True):
    return {"Alive": alive, "Resources": {"CPU": float(cpus), "GPU": gpus}}


@pytest.mark.parametrize(
    ("nodes", "count", "threads", "gpus", "each"),
    [
        ([node(8)], 2, None, 0, 4),
        ([node(8)], 2, 4, 0, 2),
        ([node(8)], 20, None, 0, 1),
        ([node(3), node(3)], 3, None, 0, 1),  # of two threads, two would have room
        ([node(64), node(8, 4.0)], 4, None, 1.0, 2),
        ([node(8, 1.0)], 2, None, 0.5, 4),
        ([node(64, alive=False), node(4)], 2, None, 0, 2),
    ],
)
def test_threads_are_divided_so_that_all_workers_have_room(
    nodes, count, threads, gpus, each
):
    assert on_ray._threads_of_each(nodes, count, threads, gpus) == each


def test_a_cluster_without_room_is_refused_at_once():
    with pytest.raises(InputError, match=r"a CPU and 2 GPUs .* none among 1 "):
        on_ray._threads_of_each([node(8, 1.0)], 1, None, 2)


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"the package ray .*\[ray\]"):
        run(tmp_path, "0", Crew(1, 1, "local"))
