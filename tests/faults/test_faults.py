"""Every stage, interrupted by any fault at any moment, goes on to the same bits.

A stage is run with a fault (see `injector`), then without: the world must be, byte for
byte, what a run without faults leaves; nothing half-written lies about. A fault that
the process survives is told in one line, or harmless.
"""

import os
import pathlib
import random
import tempfile

import pytest

pytest.importorskip("torch", reason="the teachers' half needs the extra [teachers]")
pytest.importorskip("embreex", reason="the rooms need the extra [rooms]")

from faults.tiny_world import STAGES, Stages, left

KILLS, ERRORS = 50, 6
# How often each kind is tried; "unread" where a stage reads files in Python at all.
OTHERS = {"full": ERRORS, "unwritten": ERRORS, "unread": ERRORS, "limit": 3}
HARMLESS = ("short", "clock")
# What is printed goes into a file too, which must not meet the limit.
SIZES_BYTES = (16_000, 80_000)
SEED = 20_261_128


class World:
    """A world that is made as far as a test asks; what each stage leaves is known."""

    def __init__(self, stages):
        self.stages, self.ended, self.left = stages, {}, {}

    def before(self, stage):
        """Bring the world to where a stage begins."""
        for each in STAGES[: STAGES.index(stage) + 1]:
            if each not in self.ended:
                self.stages.keep(f"before-{each}")
                self.ended[each] = ended = self.stages.run(each)
                assert ended.status == 0, ended.said
                self.left[each] = left(self.stages.folder)
        self.stages.go_back(f"before-{stage}")


@pytest.fixture(scope="module")
def world():
    # Files are flushed to the disk often, and which disk it is does not matter here.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = pathlib.Path(name)
        (folder / "world").mkdir()
        with Stages(folder / "world", folder / "compiled") as stages:
            yield World(stages)


def plan(ended, chosen, kills, others):
    """Return faults for a stage whose moments are known."""
    moments = range(ended.changes)
    # Checkpoints are written by native code: no moment of this process's files.
    timed = kills // 2 if kills == KILLS and ended.seconds > 1 else 0
    at = chosen.sample(moments, min(kills - timed, len(moments)))
    faults = [("kill", moment) for moment in at]
    faults += [("timed", chosen.uniform(0, 1000 * ended.seconds)) for _ in range(timed)]
    for kind, times in others.items():
        for _ in range(times):
            if kind == "limit":
                number = chosen.randrange(*SIZES_BYTES)
            else:
                last = ended.reads if kind == "unread" else ended.changes
                number = chosen.randrange(last)
            faults.append((kind, number))
    faults += [(kind, 0) for kind in HARMLESS]
    return [(kind, at, chosen.randrange(10**9)) for kind, at in faults]


def check_end(kind, ended):
    """Check how a run with a fault may end."""
    if kind == "kill":
        assert ended.status == -9
    elif kind == "timed":
        assert ended.status in (-9, 0)
    elif kind in HARMLESS:
        # Orbax measures its patience by the clock: a checkpoint may be told as late.
        late = kind == "clock" and "a clock that jumps" in ended.said
        assert ended.status == 0 or late
    else:
        assert ended.status in (0, 1)
    if ended.status == 1:
        said = [line for line in ended.said.splitlines() if line.startswith("error: ")]
        # TensorStore's threads may still tell an event loop that is closed.
        native = "Event loop is closed" in ended.said
        assert "Traceback" not in ended.said or native
        assert len(said) == 1 and ended.said.rstrip().endswith(said[0])


def check(world, stage, kills, others):
    world.before(stage)
    chosen = random.Random(f"{SEED} {stage}")
    faults = plan(world.ended[stage], chosen, kills, others)
    failed = []
    for fault in faults:
        world.before(stage)
        ended = world.stages.run(stage, fault)
        try:
            check_end(fault[0], ended)
            again = world.stages.run(stage)
            assert again.status == 0, again.said
            assert left(world.stages.folder) == world.left[stage]
        except Exception as error:
            failed.append(f"{fault}: {error}\n{ended.said[-1500:]}")
    assert not failed, "\n\n".join(failed)


def test_a_few_faults_change_nothing(world):
    check(world, "make_superpoints", 2, {"full": 1, "unwritten": 1, "unread": 1})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", STAGES)
def test_faults_at_any_moment_change_nothing(world, stage):
    check(world, stage, KILLS, OTHERS)
