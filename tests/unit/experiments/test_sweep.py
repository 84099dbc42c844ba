"""Sweeps run what is due and no more, here, as jobs, and on Ray; kills lose nothing.

The stages are stubs (`stub_stages`), which the real driver starts as it would others.
"""

import collections
import csv
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
import stub_stages
from PIL import Image
from scene_files import write_scannet

from sas_jax import stages
from sas_jax.artefacts.workspace import Workspace

RATES = "[grid]\nlearning_rate = [1.0, 2.0]\n"
SEEDS = "seeds = [0, 1]\n"
REFUSED = """
import json, sys
sys.path.insert(0, sys.argv[1])
import sweep
from absl import flags
from absl.testing import flagsaver
from sas_jax.errors import InputError

def said(arguments):
    with flagsaver.flagsaver():
        flags.FLAGS(["x", *arguments])
        try:
            sweep.main()
        except InputError as error:
            return str(error)

print(json.dumps([said(each) for each in json.loads(sys.argv[2])]))
"""


class World:
    """A data set of one scan, a workspace, the scripts, and what stages have said."""

    def __init__(self, root, folder):
        self.folder, self.log = folder, folder / "said.txt"
        self.scripts = stub_stages.write(root, folder)
        self.workspace = Workspace(folder / "run")
        scan = write_scannet(folder / "data")
        (folder / "data" / "splits").mkdir()
        for split in ("train", "val"):
            (folder / "data" / "splits" / f"{split}.txt").write_text(scan.name)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "STUB_LOG": str(self.log),
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def command(self, text, *flags):
        path = self.folder / "rates.toml"
        path.write_text(text)
        return [
            sys.executable,
            str(self.scripts / "sweep.py"),
            f"--sweep={path}",
            f"--data_root={self.folder / 'data'}",
            f"--workspace={self.workspace.root}",
            "--nosuperpoints",
            "--epochs=3",
            *flags,
        ]

    def start(self, text, *flags):
        return subprocess.Popen(
            self.command(text, *flags),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, text, *flags):
        process = self.start(text, *flags)
        said, wrong = process.communicate(timeout=1500)
        return subprocess.CompletedProcess("", process.returncode, said, wrong)

    def said(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return collections.Counter(lines)

    def ask(self, name):
        (self.folder / name).touch()

    def table(self, name):
        path = self.workspace.sweep("rates") / f"{name}.csv"
        return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def world(root, tmp_path):
    return World(root, tmp_path)


def count(said, stage):
    return sum(number for line, number in said.items() if line.startswith(stage))


def test_trials_share_their_stages_and_a_second_sweep_runs_nothing(world):
    done = world.run(SEEDS + RATES, "--parallel=2")
    assert done.returncode == 0 and "failed" not in done.stderr, done.stderr
    said = world.said()
    assert said["extract 1"] == said["capability"] == 1
    assert count(said, "train") == 4 and said["evaluate student val"] == 4
    best, other = world.table("settings")
    assert best["learning_rate"] == "1.0" and best["best"] == "1"
    assert best["seeds"] == other["seeds"] == "2"
    assert float(best["miou"]) > float(other["miou"]) > 0
    assert "learning_rate=1.0" in done.stdout and "best" in done.stdout
    trials = world.table("trials")
    assert [t["seed"] for t in trials] == ["0", "1", "0", "1"]
    record = world.workspace.run(trials[2]["run"]) / "trial.json"
    told = json.loads(record.read_text())["data"]
    assert told["flags"]["learning_rate"] == 2.0 and told["seed"] == 0
    picture = Image.open(world.workspace.sweep("rates") / "sweep.png")
    assert picture.size[0] == 1100

    more = SEEDS + RATES.replace("2.0", "2.0, 3.0")
    done = world.run(more, "--dry_run")
    assert done.returncode == 0 and "6 trials, 4 of them done" in done.stdout
    assert not world.said()
    done = world.run(SEEDS + RATES)
    assert done.returncode == 0 and "4 trials, 4 of them done" in done.stdout
    assert not world.said()


def test_a_trial_that_fails_is_told_and_tried_again(world):
    world.ask("fails-2.0")
    done = world.run(RATES, "--retries=1")
    assert done.returncode == 0, done.stderr
    assert (
        "failed: learning_rate=2.0, seed 0: train: a good rate is required, got a bad "
        "one. Mend it.; it is tried again" in done.stderr
    )
    assert count(world.said(), "train 2.0") == 2
    assert all(trial["state"] == "done" for trial in world.table("trials"))


@pytest.mark.slow
def test_one_that_fails_for_good_leaves_the_others_and_ends_with_an_error(world):
    world.ask("fails-2.0")
    done = world.run(RATES, "--retries=0")
    assert done.returncode == 1
    assert "got 1 of 2 that failed" in done.stderr.splitlines()[-1]
    assert [t["state"] for t in world.table("trials")] == ["done", "failed"]
    assert world.table("settings")[1]["seeds"] == "0"


def test_a_killed_sweep_ends_its_trials_and_goes_on_where_it_was(world):
    world.ask("hangs-2.0")
    sweep = world.start(RATES)
    while not (world.log.exists() and "train 2.0" in world.log.read_text()):
        assert sweep.poll() is None, sweep.communicate()
    hung = subprocess.run(
        ["pgrep", "-f", f"train.py.*{world.folder}.*--learning_rate=2.0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    while any(pathlib.Path(f"/proc/{pid}").exists() for pid in hung):  # none goes on
        pass
    (world.folder / "hangs-2.0").unlink()
    assert world.said()["train 1.0 0 -"] == 1
    done = world.run(RATES)
    assert done.returncode == 0, done.stderr
    assert "2 trials, 1 of them done" in done.stdout
    said = world.said()
    assert not count(said, "train 1.0") and count(said, "train 2.0") == 1
    assert not count(said, "extract") and not count(said, "capability")


def test_flags_of_earlier_stages_get_folders_of_their_own_and_share_the_rest(world):
    text = (
        "[flags]\nlearning_rate = 1.0\n"
        "[[list]]\nname='as it is'\n[[list]]\nname='fewer'\nframe_stride=4\n"
        "[[list]]\nname='fewer, other fusion'\nframe_stride=4\nstrategy='add'\n"
    )
    done = world.run(text, "--parallel=2")
    assert done.returncode == 0, done.stderr
    said = world.said()
    assert said["extract 1"] == 1, said
    assert said["extract 4"] == 1, said
    assert said["capability"] == 1, said
    places = {t["setting"]: t["workspace"] for t in world.table("trials")}
    assert places["fewer"] == places["fewer, other fusion"] != places["as it is"]
    assert places["as it is"] == str(world.workspace.root)
    own, base = Workspace(places["fewer"]), world.workspace
    assert own.features_of("lseg").resolve() != base.features_of("lseg").resolve()
    assert own.superpoint_folder.resolve() == base.superpoint_folder.resolve()


def test_without_students_the_fusion_is_scored_and_branches_come_later(world):
    text = (
        "[[list]]\nname='second'\nlearning_rate=2.0\n"
        "[list.train]\nbranch_from='first'\n"
        "[[list]]\nname='first'\nlearning_rate=1.0\n"
        "[[list]]\nname='mean'\nstrategy='add'\nstudents=[]\n"
    )
    done = world.run(text, "--parallel=3")
    assert done.returncode == 0, done.stderr
    lines = world.log.read_text().splitlines()
    runs = {t["setting"]: t["run"] for t in world.table("trials")}
    trained = [line for line in lines if line.startswith("train")]
    assert trained == ["train 1.0 0 -", f"train 2.0 0 {runs['first']}"]
    assert lines.count("evaluate fused val") == 1


def test_what_cannot_be_is_said_in_one_line_before_any_trial(world):
    cases = [
        ("[grid]\nlearning_rat=[1]", "", "got learning_rat .*Is learning_rate meant?"),
        ("[grid]\nepochs=['x']", "", "a value that --epochs takes is required, got x"),
        ("[grid]\nema_alpha=[2.0]", "", "ema_alpha"),
        ("[grid.trian]\na=[1]", "", "must be of .*, got trian"),
        ("[grid.train]\nsplitt=['a']", "", "flags of train are required, got splitt"),
        ("[grid.train]\nbranch_from=['x']", "", "must name another setting, got x"),
        ("[flags]\nx=1\n" + RATES, "", "got x "),
        (RATES, "--select_split=test", "must be of validation scenes, got test"),
        (RATES, "--select_split=none", "none"),
        (RATES + "[early_stopping]", "", "--on=ray is required"),
    ]
    if importlib.util.find_spec("submitit"):
        slurm = "Slurm and options that submitit takes are required"
        cases.append((RATES, "--on=slurm --slurm_options=x", "must be name=value"))
        cases.append((RATES, "--on=slurm", slurm))
    asked = []
    for number, (text, flags, _) in enumerate(cases):
        command = world.command(text, *flags.split())[2:]
        path = world.folder / "rates.toml"
        path.rename(own := world.folder / f"{number}.toml")
        asked.append([a.replace(str(path), str(own)) for a in command])
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(world.scripts), json.dumps(asked)],
        capture_output=True,
        env=world.environment,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    for (_, _, said), answer in zip(cases, answers, strict=True):
        assert answer and "\n" not in answer and re.search(said, answer), answer
    assert not world.said()


PLANNED = """
import json, sys
sys.path.insert(0, "experiments")
import pathlib, stage_flags, sweep_plan, trial_record
from absl import flags
from flagfiles import expanded
from sas_jax.sweeps import plan

flagfile, workspace, *files = sys.argv[1:]
flags.FLAGS(["x", *expanded([f"--flagfile={flagfile}"]), f"--workspace={workspace}"])
for file in files:
    for trial in sweep_plan.planned(plan.read(pathlib.Path(file)), "val"):
        print(json.dumps([file, trial.name, str(trial.workspace), trial.epochs > 0]))
"""


def test_the_sweeps_of_the_project_fit_flagfiles_and_share_one_workspace(
    root, tmp_path
):
    files = sorted(map(str, (root / "experiments/sweeps").glob("*.toml")))
    assert len(files) == 3
    name = "experiments/sweeps/table3.toml"
    assert stages.sweep_file(name) == root / name
    assert stages.sweep_file("experiments/sweeps/none.toml") is None
    done = subprocess.run(
        [sys.executable, "-c", PLANNED, "scannet.flags", str(tmp_path), *files],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    table = [row for row in rows if row[0].endswith("table3.toml")]
    assert len(table) == 4 + 3 * 3  # a fusion has no seeds
    assert {row[2] for row in table} == {str(tmp_path)}
    assert [row[3] for row in table] == [False] * 4 + [True] * 9
    teachers = {r[1]: r[2] for r in rows if r[0].endswith("teachers.toml")}
    own = {os.path.realpath(f"{place}/features") for place in teachers.values()}
    assert own == {str(tmp_path / "features")} and len(set(teachers.values())) > 1


@pytest.mark.slow
def test_jobs_of_submitit_do_the_same(world):
    pytest.importorskip("submitit", reason="Slurm needs the extra [slurm]")
    world.ask("fails-2.0")
    on = ("--on=slurm", "--slurm_cluster=local", "--parallel=2", "--retries=1")
    done = world.run(RATES, *on, "--slurm_options=timeout_min=5")
    assert done.returncode == 0, done.stderr
    said = world.said()
    assert said["extract 1"] == said["capability"] == 1
    assert count(said, "train") == 3
    assert "it is tried again" in done.stderr
    assert all(trial["state"] == "done" for trial in world.table("trials"))


@pytest.mark.slow
def test_ray_stops_a_trial_that_learns_worse(world):
    pytest.importorskip("ray", reason="early stopping needs the extra [ray]")
    world.ask("worse-9.0")
    text = "[grid]\nlearning_rate = [1.0, 9.0]\n[early_stopping]\nkeep_one_in = 2\n"
    done = world.run(text, "--on=ray")
    assert done.returncode == 0, done.stderr
    states = {t["learning_rate"]: t["state"] for t in world.table("trials")}
    assert states == {"1.0": "done", "9.0": "stopped early"}
    assert count(world.said(), "train") == 2
    done = world.run(text, "--on=ray")
    assert done.returncode == 0 and "2 of them done" in done.stdout
    assert not world.said()
