"""A world of three rooms, its stages in order, and what each of them leaves.

`Stages` runs them in forks of processes that have imported what they need, with a
fault or without. `left` is what must not depend on how often a stage was interrupted.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

TESTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
STAGES = (
    "make_rooms",
    "make_superpoints",
    "extract_features",
    "measure_capability",
    "fuse_features",
    "train",
    "evaluate",
    "segment_instances",
)
_SETTINGS = (
    f"--flagfile={ROOT / 'rooms_scratch.flags'}",
    *("--num_train=2", "--num_val=0", "--num_test=1", "--spacing_m=0.2"),
    *("--frames_per_room=3", "--render_size=64,48", "--image_size=64,48"),
    *("--border_px=2", "--min_vertices=20", "--vocabulary=scannet20"),
    *("--teachers=colours,greys", "--synthesizer=discs", "--images_per_class=1"),
    *("--voxel_size_m=0.25", "--batch_size=2", "--epochs=3"),
    *("--self_distillation=0.4", "--checkpoint_minutes=0", "--threads=1"),
)
# What says when something was done, and what is found out again where it is lost.
_OF_THE_MOMENT = ("stamps", "logs", ".claims", "checkpoints", "tensorboard")
NO_FAULT = ("none", 0, 0)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run ended: its status, moments (None if killed), and what it said."""

    status: int
    changes: int | None
    reads: int | None
    seconds: float
    said: str


class Stages:
    """Runs stages on the world in `folder`; a context that ends their processes."""

    def __init__(self, folder, cache):
        self.folder, self._cache = folder, cache
        self._servers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self._servers.values():
            server.stdin.close()
            server.wait()

    def run(self, stage, fault=NO_FAULT):
        """Run a stage to its end, or to that of its process."""
        server = self._servers.get(stage) or self._start(stage)
        log = self.folder.parent / "said.txt"
        world = self.folder
        request = {
            "arguments": [
                *_SETTINGS,
                f"--data_root={world / 'data'}",
                f"--workspace={world / 'run'}",
            ],
            "log": str(log),
            "fault": list(fault),
            "folders": [str(world)],
        }
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        return Ended(**answer, said=log.read_text(errors="replace"))

    def _start(self, stage):
        self._servers[stage] = subprocess.Popen(
            [sys.executable, str(TESTS / "faults" / "runner.py"), stage],
            env={
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "JAX_COMPILATION_CACHE_DIR": str(self._cache),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(
                    map(str, (ROOT, TESTS, ROOT / "experiments"))
                ),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._servers[stage]

    def keep(self, name):
        """Keep the world as it is now, under a name."""
        shutil.copytree(self.folder, self.folder.parent / name)

    def go_back(self, name):
        """Make the world again what it was when it was kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.folder.parent / name, self.folder)


def left(world):
    """Return path -> digest of everything in a world that has only one right value."""
    found = {}
    for path in sorted(world.rglob("*")):
        name = str(path.relative_to(world))
        if not path.is_file() or set(path.parts) & set(_OF_THE_MOMENT):
            continue
        if path.suffix == ".stamp" or path.name.startswith("events."):
            continue
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for folder in sorted(world.glob("run/**/checkpoints")):
        found |= {
            f"{folder.relative_to(world)}/{step.name}": _digest(folder, int(step.name))
            for step in sorted(folder.iterdir())
            if step.name.isdigit()
        }
    return found


def _digest(folder, step):
    """Return the digest of everything that a checkpoint restores."""
    import jax

    from sas_jax.distill.checkpoint import Checkpoints

    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        found = checkpoints.restore(step)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((found.state, dict(found.history), found.iterator)):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
