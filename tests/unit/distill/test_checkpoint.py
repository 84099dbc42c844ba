"""Checkpoints: complete, exact, the right ones kept, mismatches named."""

import dataclasses
import errno
import itertools
import json
import shutil
import time
import types

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from text_spaces import space
from tiny_scenes import CHANNELS, SPACE, TEXT, Box, Mixer, boxes, encoded, tiny_config

from sas_jax import distill
from sas_jax.artefacts.files import canonical
from sas_jax.distill import checkpoint, checkpoint_files, resume
from sas_jax.distill import start as starts
from sas_jax.distill import step as steps
from sas_jax.distill import train as training
from sas_jax.distill.checkpoint import (
    Checkpoint,
    Checkpoints,
    load_student,
    read_first_stage,
)
from sas_jax.distill.config import RunConfig
from sas_jax.distill.setup import make_setup
from sas_jax.distill.train import train
from sas_jax.errors import InputError
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import HEAD

CLASSES = encoded()
QUIET = RunConfig(progress=False)


def example(step=7, history=True):
    rng = np.random.default_rng(step)
    params = {"conv": {"kernel": rng.normal(size=(3, 4)).astype(np.float32)}}
    state = steps.TrainState(
        params=params,
        batch_stats={"bn": {"mean": rng.normal(size=4).astype(np.float32)}},
        opt_state=optax.ScaleByAdamState(
            count=np.int32(step),
            mu=jax.tree.map(lambda x: x / 3, params),
            nu=jax.tree.map(lambda x: x * x, params),
        ),
        step=np.int32(step),
    )
    rows = {"scene0000_00": rng.normal(size=(11, 3)).astype(np.float32)}
    return Checkpoint(
        state=state,
        history=rows if history else {},
        text_features=TEXT,
        text_space=SPACE,
        class_names=("a", "b", "c"),
        scenes={"scene0000_00": "key"},
        iterator={"next_index": step},
        config=canonical(tiny_config()),
    )


def same_bits(one, two):
    one, two = jax.tree.leaves(one), jax.tree.leaves(two)
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("history", [False, True])
def test_everything_comes_back_bit_for_bit(tmp_path, history):
    saved = example(history=history)
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(saved, {"stage": 1, "rank": 0.5})
    checkpoints.wait()
    again = Checkpoints(tmp_path / "c")
    got = again.restore(again.latest_step())
    same_bits(got.state, saved.state)
    assert jax.tree.structure(got.state) == jax.tree.structure(saved.state)
    same_bits(dict(got.history), dict(saved.history))
    same_bits(got.text_features, saved.text_features)
    assert got.class_names == saved.class_names and got.scenes == saved.scenes
    assert got.iterator == saved.iterator
    resume.check_config(got.config, tiny_config(), tmp_path)


def test_the_last_two_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", RunConfig(keep_last=2))
    for step, (stage, rank) in enumerate(
        [(1, 0.3), (1, 0.1), (1, 0.2), (2, 1.0), (2, 0.9), (2, 1.5), (2, 1.4)]
    ):
        checkpoints.save(example(step), {"stage": stage, "rank": rank})
    checkpoints.wait()
    assert checkpoints.best_step() == 4  # the later stage, though its loss is higher
    names = {int(p.name) for p in (tmp_path / "c").iterdir() if p.name.isdigit()}
    assert names == {4, 5, 6}
    checkpoints.close()


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(example(3), {"stage": 1, "rank": 1})
    checkpoints.wait()
    checkpoints.close()
    (tmp_path / "c" / "9.orbax-checkpoint-tmp").mkdir()
    assert Checkpoints(tmp_path / "c").latest_step() == 3


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(example(3), {"stage": 1, "rank": 1})
    checkpoints.close()
    for path in (tmp_path / "c" / "3" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(InputError, match="Delete this folder"):
        Checkpoints(tmp_path / "c").restore(3)


def _stopped_copy(checkpoint):
    for path in checkpoint.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _without(*names):
    def spoil(checkpoint):
        for path in map(checkpoint.joinpath, names):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def _cut(checkpoint):
    for path in (checkpoint / "state").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-20])


def _not_finished(checkpoint):
    path = checkpoint / "_CHECKPOINT_METADATA"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "commit_timestamp_nsecs": None}))


SPOILED = {
    "stopped copy": (_stopped_copy, False),
    "no metadata": (_without("_CHECKPOINT_METADATA"), False),
    "not finished": (_not_finished, False),
    "no state": (_without("state"), False),
    "no run": (_without("run"), False),
    "no data of the state": (_without("state/d"), True),
    "data cut short": (_cut, True),
}


@pytest.fixture(params=SPOILED)
def spoiled(request, tmp_path):
    """Checkpoints 2 and 5, the newer one incomplete; whether its files look whole."""
    checkpoints = Checkpoints(tmp_path / "c")
    for step in (2, 5):
        checkpoints.save(example(step), {"stage": 1, "rank": 1 / step})
    checkpoints.close()
    spoil, looks_whole = SPOILED[request.param]
    spoil(tmp_path / "c" / "5")
    return tmp_path / "c", looks_whole


@pytest.mark.parametrize("which", ["last", "best"])
def test_the_student_before_an_incomplete_one_is_taken(spoiled, which, caplog):
    folder, looks_whole = spoiled
    wanted = [5, 2] if looks_whole else [2]
    with caplog.at_level("WARNING"):
        assert checkpoint_files.complete_steps(folder) == wanted
        student = load_student(folder, which)
        assert student.step == 2
        same_bits(student.variables["params"], example(2).state.params)
        assert int(read_first_stage(folder, 9).state.step) == 2
        load_student(folder, which)
    said = [r.getMessage() for r in caplog.records if "taken instead" in r.getMessage()]
    assert len(said) == 1 and str(folder / "5") in said[0] and "step 2" in said[0]
    assert (folder / "5").exists()  # a reader leaves the folder of a run alone


def test_a_run_goes_on_from_before_an_incomplete_checkpoint(spoiled):
    folder, _ = spoiled
    checkpoints = Checkpoints(folder)
    saved = checkpoints.restore_latest()
    same_bits(saved.state, example(2).state)
    same_bits(dict(saved.history), dict(example(2).history))
    assert (folder / "incomplete-5-0").is_dir()
    checkpoints.save(example(5), {"stage": 1, "rank": 1})
    checkpoints.close()
    same_bits(Checkpoints(folder).restore_latest().state, example(5).state)


def test_only_a_run_that_goes_on_needs_the_history(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    for step in (2, 5):
        checkpoints.save(example(step), {"stage": 1, "rank": 1 / step})
    checkpoints.close()
    shutil.rmtree(tmp_path / "c" / "5" / "history")
    assert checkpoint_files.complete_steps(tmp_path / "c") == [5, 2]
    assert load_student(tmp_path / "c").step == 5
    assert int(Checkpoints(tmp_path / "c").restore_latest().state.step) == 2


def test_nothing_is_set_aside_where_no_checkpoint_is_complete(tmp_path):
    (tmp_path / "c" / "7").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no readable _CHECKPOINT_METADATA.*/7\)"):
        load_student(tmp_path / "c")
    with pytest.raises(InputError, match="Delete this folder"):
        Checkpoints(tmp_path / "c").restore_latest()
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["7"]
    assert checkpoint_files.complete_steps(tmp_path / "c") == []
    assert checkpoint_files.complete_steps(tmp_path / "nowhere") == []


def test_a_student_is_read_with_its_configuration(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    saved = example(5)
    checkpoints.save(saved, {"stage": 1, "rank": 1})
    checkpoints.close()
    student = load_student(tmp_path / "c")
    assert student.config == StudentConfig(arch="MinkUNet14A", out_dim=CHANNELS)
    assert student.step == 5 and student.voxel_size_m == 0.1
    same_bits(student.variables["params"], saved.state.params)
    with pytest.raises(InputError, match="got none"):
        load_student(tmp_path / "nowhere")


def test_the_history_is_read_only_where_it_is_wanted(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "c")
    # One scene and four epochs: the first stage ends at step 2.
    for step, stage in ((1, 1), (2, 1), (3, 2)):
        checkpoints.save(example(step), {"stage": stage, "rank": 1})
    checkpoints.close()
    for path in (tmp_path / "c").glob("*/history/**/*"):
        if path.is_file():
            path.write_bytes(b"")
    closed = []
    close = ocp.CheckpointManager.close
    monkeypatch.setattr(
        ocp.CheckpointManager, "close", lambda self: closed.append(1) or close(self)
    )
    student = load_student(tmp_path / "c")
    same_bits(student.variables["params"], example(3).state.params)
    assert student.step == 3 and len(closed) == 1
    for up_to, wanted in ((9, 2), (2, 2)):
        saved = read_first_stage(tmp_path / "c", up_to)
        same_bits(saved.state, example(wanted).state)
        assert not saved.history
    assert len(closed) == 3
    with pytest.raises(InputError, match="Delete this folder"):
        Checkpoints(tmp_path / "c").restore(3)


def test_the_step_says_which_stage_a_checkpoint_is_of(tmp_path):
    assert read_first_stage(tmp_path / "nowhere", 9) is None
    checkpoints = Checkpoints(tmp_path / "c")
    assert read_first_stage(tmp_path / "c", 9) is None
    for step in (2, 3):
        checkpoints.save(example(step, history=False), {"stage": 1, "rank": 1})
    checkpoints.close()
    assert int(read_first_stage(tmp_path / "c", 9).state.step) == 2
    assert read_first_stage(tmp_path / "c", 1) is None


@pytest.fixture
def mixer(monkeypatch):
    monkeypatch.setattr(steps, "make_network", lambda config: Mixer())


def test_another_configuration_is_refused_by_name(tmp_path, mixer):
    short = tiny_config(epochs=1, self_distillation=0.0)
    train(short, boxes(2), CLASSES, tmp_path, run=QUIET)
    for field, value in {"learning_rate": 0.5, "epochs": 3, "seed": 1}.items():
        other = dataclasses.replace(short, **{field: value})
        with pytest.raises(InputError, match=rf"resume: {field} must be .*{value}"):
            train(other, boxes(2), CLASSES, tmp_path, run=QUIET)
    with pytest.raises(InputError, match="training scenes"):
        train(short, boxes(3), CLASSES, tmp_path, run=QUIET)
    with pytest.raises(InputError, match="fused features and superpoints"):
        changed = [dataclasses.replace(box, seed=77) for box in boxes(2)]
        train(short, changed, CLASSES, tmp_path, run=QUIET)
    with pytest.raises(InputError, match="class names"):
        other = encoded(("a", "b", "d"))
        train(short, boxes(2), other, tmp_path, run=QUIET)
    with pytest.raises(InputError, match="text features"):
        other = encoded(rows=TEXT[::-1].copy())
        train(short, boxes(2), other, tmp_path, run=QUIET)


def test_a_student_of_another_text_space_is_refused(tmp_path, mixer):
    """Its features would be pulled towards vectors that mean something else."""
    config = tiny_config(epochs=2, self_distillation=0.5)
    done = train(config, boxes(2), CLASSES, tmp_path / "one", run=QUIET)
    assert load_student(done.checkpoints).text_space == SPACE
    other = encoded(space=space(CHANNELS, "other tower"))
    with pytest.raises(InputError, match=r"one text space.*features of scene box0"):
        train(config, boxes(2), other, tmp_path / "two", run=QUIET)
    moved = [Moved(box.name, box.num_points, box.num_superpoints) for box in boxes(2)]
    with pytest.raises(InputError, match=r"one text space.*student in .*one"):
        train(config, moved, other, tmp_path / "one", run=QUIET)
    for begin in ("init_from", "branch_from"):
        with pytest.raises(InputError, match=r"one text space.*student in .*one"):
            arguments = {"run": QUIET, begin: done.checkpoints}
            train(config, moved, other, tmp_path / begin, **arguments)


@dataclasses.dataclass(frozen=True)
class Moved(Box):
    """A box whose targets are said to live in another space."""

    def load(self, config):
        scene = super().load(config)
        targets = dataclasses.replace(
            scene.targets, space=space(CHANNELS, "other tower")
        )
        return dataclasses.replace(scene, targets=targets)


def test_going_on_with_another_version_of_the_code_is_said(
    tmp_path, mixer, monkeypatch, caplog
):
    config = tiny_config(epochs=2, self_distillation=0.0)
    train(config, boxes(2), CLASSES, tmp_path, run=QUIET)
    train(config, boxes(2), CLASSES, tmp_path, run=QUIET)
    assert "another version" not in caplog.text
    now = {"code": {"sas_jax.distill": 99}, "libraries": {"jaxlib": "0.99.0"}}
    monkeypatch.setattr(resume, "decided_by", lambda *entries: now)
    train(config, boxes(2), CLASSES, tmp_path, run=QUIET)
    version = distill.VERSION
    assert f"sas_jax.distill {version} -> 99" in caplog.text
    assert "-> 0.99.0" in caplog.text


def test_a_checkpoint_without_a_text_space_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(example(), {"stage": 1, "rank": 0.5})
    checkpoints.wait()
    assert checkpoint_files.text_space_of(tmp_path / "c", 7) == SPACE
    path = tmp_path / "c" / "7" / "run" / "metadata"
    path.write_text(path.read_text().replace("text_space", "space"))
    with pytest.raises(InputError, match=r"text space.*older version"):
        load_student(tmp_path / "c")
    with pytest.raises(InputError, match=r"text space.*older version"):
        checkpoint_files.text_space_of(tmp_path / "c", 7)


def test_resume_comes_before_init_and_init_before_scratch(tmp_path, mixer):
    config = tiny_config(epochs=1, self_distillation=0.0)
    first = train(config, boxes(2), CLASSES, tmp_path / "one", run=QUIET)
    weights = load_student(first.checkpoints).variables["params"]
    other = dataclasses.replace(config, seed=9)
    setup = make_setup(other, boxes(2), CLASSES, QUIET, None)

    def begin(name, init_from):
        return starts.start(
            setup, Checkpoints(tmp_path / name / "checkpoints"), init_from
        )[0]

    fresh = begin("two", None)
    assert not np.array_equal(fresh.params[HEAD]["kernel"], weights[HEAD]["kernel"])
    given = begin("two", first.checkpoints)
    same_bits(given.params, weights)
    moment = given.opt_state.mu[HEAD]["kernel"]
    assert int(given.step) == 0 and not np.asarray(moment).any()
    second = train(
        *(other, boxes(2), CLASSES, tmp_path / "two"),
        run=QUIET,
        init_from=first.checkpoints,
    )
    resumed = begin("two", first.checkpoints)
    assert int(resumed.step) == second.step
    assert not np.array_equal(resumed.params[HEAD]["kernel"], weights[HEAD]["kernel"])


def test_weights_of_another_architecture_are_refused(tmp_path, mixer):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(example(), {"stage": 1, "rank": 1})
    checkpoints.close()
    with pytest.raises(InputError, match="same architecture"):
        train(
            tiny_config(),
            boxes(2),
            CLASSES,
            tmp_path / "run",
            run=QUIET,
            init_from=tmp_path / "c",
        )


def test_stopping_saves_and_starting_again_ends_with_the_same_bits(tmp_path, mixer):
    config = tiny_config(epochs=4)
    whole = train(config, boxes(4), CLASSES, tmp_path / "whole", run=QUIET)
    assert whole.completed and "completed" in whole.table()
    calls = []

    def stop():
        calls.append(1)
        return len(calls) in (1, 4, 6)

    results = []
    while not results or not results[-1].completed:
        results.append(
            train(config, boxes(4), CLASSES, tmp_path / "parts", run=QUIET, stop=stop)
        )
    assert [r.step for r in results] == [1, 4, 6, 8]
    one, two = (
        Checkpoints(tmp_path / name / "checkpoints").restore(8)
        for name in ("whole", "parts")
    )
    same_bits(one.state, two.state)
    same_bits(dict(one.history), dict(two.history))


def test_text_features_may_differ_by_rounding_and_the_first_ones_stay(tmp_path, mixer):
    config = tiny_config(epochs=4)
    whole = train(config, boxes(4), CLASSES, tmp_path / "whole", run=QUIET)
    # After step 2 of 8, in the first stage, and after step 6, in the second.
    for number, shift in enumerate((0, 3e-7, -5e-6)):
        near = encoded(rows=TEXT + np.float32(shift))
        stop = itertools.chain([False] * (1 + 2 * number), itertools.repeat(True))
        if number == 2:
            stop = itertools.repeat(False)
        parts = train(
            config,
            boxes(4),
            near,
            tmp_path / "parts",
            run=QUIET,
            stop=lambda stop=stop: next(stop),
        )
    assert parts.step == whole.step == 8
    one, two = (
        Checkpoints(tmp_path / name / "checkpoints").restore(8)
        for name in ("whole", "parts")
    )
    same_bits((one.state, dict(one.history)), (two.state, dict(two.history)))
    same_bits(one.text_features, two.text_features)
    with pytest.raises(InputError, match="text features"):
        other = encoded(rows=TEXT + np.float32(1e-3))
        train(config, boxes(4), other, tmp_path / "parts", run=QUIET)


class Killed(Exception):
    pass


def test_long_epochs_and_a_long_start_of_stage_2_are_saved_on_the_way(
    tmp_path, mixer, monkeypatch
):
    """Steps take three minutes, the first history half an hour; late means ten."""
    config = tiny_config(epochs=2, loop=5)
    whole = train(config, boxes(2), CLASSES, tmp_path / "whole", run=QUIET)
    now, saved = [time.monotonic()], []
    clock = types.SimpleNamespace(
        monotonic=lambda: now[0], perf_counter=time.perf_counter
    )
    first_history, save = training.first_history, Checkpoints.save

    def slow_history(*arguments):
        now[0] += 1800
        return first_history(*arguments)

    def record(self, checkpoint, metrics):
        entry = (int(checkpoint.state.step), bool(checkpoint.history))
        saved.append((*entry, "loss" in metrics))
        save(self, checkpoint, metrics)

    def kill():
        now[0] += 180
        if saved and saved[-1][0] == 6:
            raise Killed
        return False

    def go(stop):
        return train(
            config, boxes(2), CLASSES, tmp_path / "parts", run=QUIET, stop=stop
        )

    with monkeypatch.context() as patched:
        patched.setattr(training, "time", clock)
        patched.setattr(training, "first_history", slow_history)
        patched.setattr(Checkpoints, "save", record)
        with pytest.raises(Killed):
            go(kill)
    # Step 5 ends the first stage and the first epoch; only means over all scenes count.
    assert saved == [(4, False, False), (5, False, True), (6, True, False)]
    assert go(lambda: False).step == whole.step == 10
    one, two = (
        Checkpoints(tmp_path / name / "checkpoints").restore(10)
        for name in ("whole", "parts")
    )
    same_bits((one.state, dict(one.history)), (two.state, dict(two.history)))


def test_a_run_that_branches_off_ends_with_the_bits_of_its_own_run(
    tmp_path, mixer, caplog
):
    config = tiny_config(epochs=4, self_distillation=0.5)
    plain = dataclasses.replace(config, self_distillation=0.0)
    once = RunConfig(checkpoint_minutes=1e6, keep_last=1, progress=False)

    def run(name, config, branch_from=None):
        folder = tmp_path / name
        result = train(
            config, boxes(3), CLASSES, folder, run=once, branch_from=branch_from
        )
        return Checkpoints(folder / "checkpoints").restore(result.step)

    run("full", config)
    full = tmp_path / "full" / "checkpoints"
    assert {int(p.name) for p in full.iterdir() if p.name.isdigit()} == {2, 4}
    alone = run("alone", plain)
    with caplog.at_level("INFO", logger="sas_jax"):
        branched = run("branched", plain, full)
    assert "branched off at step 2" in caplog.text
    same_bits(alone.state, branched.state)
    from_nothing = run("from_nothing", plain, tmp_path / "nobody" / "checkpoints")
    same_bits(alone.state, from_nothing.state)
    other = dataclasses.replace(plain, learning_rate=0.5)
    with pytest.raises(InputError, match="learning_rate"):
        run("other", other, full)
    poly = dataclasses.replace(plain, schedule="poly")
    run("poly", poly, full)


def test_checkpoints_keep_their_distance(tmp_path, mixer):
    for minutes, wanted in ((0, {2, 3, 4}), (60, {2, 4})):
        run = RunConfig(progress=False, checkpoint_minutes=minutes)
        folder = tmp_path / str(minutes)
        train(tiny_config(), boxes(2), CLASSES, folder, run=run)
        found = {int(p.name) for p in (folder / "checkpoints").glob("[0-9]*")}
        assert found == wanted


def test_validation_is_called_only_where_asked_for(tmp_path, mixer):
    seen = []

    def validate(variables, step):
        seen.append((step, sorted(variables)))
        return {"val/miou": 0.25}

    run = RunConfig(progress=False, validate_epochs=2)
    result = train(
        tiny_config(), boxes(2), CLASSES, tmp_path, run=run, validate=validate
    )
    assert seen == [(step, ["batch_stats", "params"]) for step in (2, 4)]
    assert result.means["val/miou"] == 0.25


def test_two_runs_in_one_folder_are_refused(tmp_path, mixer):
    from sas_jax.artefacts.lock import workspace_lock

    with workspace_lock(tmp_path), pytest.raises(InputError, match="only one run"):
        train(tiny_config(), boxes(2), CLASSES, tmp_path, run=QUIET)


@pytest.mark.parametrize(
    ("error", "got"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (ValueError("OUT_OF_RANGE: Error writing x: File too large [a='27']"),
         "File too large"),
        (TimeoutError("after 600 s"), "one that takes too long"),
    ],
)  # fmt: skip
def test_what_the_disk_says_is_one_line(tmp_path, error, got):
    told = pytest.raises(InputError, match=f"is required, got {got}")
    with told, checkpoint._told(tmp_path):
        raise error


def test_other_errors_of_a_checkpoint_stay_what_they_are(tmp_path):
    with pytest.raises(ValueError, match="shapes"), checkpoint._told(tmp_path):
        raise ValueError("shapes differ")


@pytest.mark.parametrize("again", [True, False])
def test_a_checkpoint_that_the_disk_did_not_keep_ends_the_run(tmp_path, again):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(example(1), {"stage": 1, "rank": 0.0})
        checkpoints._manager.wait_until_finished()
        (tmp_path / "1/_CHECKPOINT_METADATA").unlink()
        with pytest.raises(InputError, match=r"keeps what is written .*/1\)"):
            if again:
                checkpoints.save(example(2), {"stage": 1, "rank": 0.0})
            else:
                checkpoints.wait()
        checkpoints.save(example(2), {"stage": 1, "rank": 0.0})  # it is told once
        checkpoints.wait()
