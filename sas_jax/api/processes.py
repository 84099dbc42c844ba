"""Stages in processes of their own: rooms, teachers' features, capability.

Teachers are PyTorch, the rest is JAX, and the two share no process. So a notebook runs
such a stage as the command line does, sees what it prints, and reads what it left.
"""

import codecs
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from sas_jax import stages
from sas_jax.artefacts.features import Features, load_features
from sas_jax.artefacts.workspace import Workspace, name_of_place
from sas_jax.capability.store import read_table, table_path
from sas_jax.errors import InputError
from sas_jax.teachers import registry as teachers_by_name

_KEPT = 4000  # last characters of what a stage says
Place = str | os.PathLike[str]


class Capability(NamedTuple):
    """How well teachers know classes.

    Attributes:
      classes: K names.
      table: [T, K] mIoU 0..1 of each teacher, in the order asked for.
    """

    classes: tuple[str, ...]
    table: Float32[np.ndarray, "T K"]


def run(stage: str, *, quiet: bool = False, **flags: Any) -> None:
    """Run a stage as `sas-jax <stage> --flag=value ...` does, in a process of its own.

    Args:
      stage: its name; `sas-jax` lists all.
      quiet: show nothing of what it prints.
      **flags: by name; a list becomes one with commas, None is left out. A `flagfile`
        is read first, and may be one that comes with the project.

    Raises:
      InputError: for an unknown stage, and with its own words where it fails.

    >>> import sas_jax
    >>> sas_jax.run("make_rooms", data_root=folder, num_train=1, num_val=0, num_test=0,
    ...             frames_per_room=2, spacing_m=0.1, quiet=True)
    >>> sas_jax.run("make_roms")
    Traceback (most recent call last):
    ...
    sas_jax.errors.InputError: run: a stage of ... is required, got make_roms...
    """
    known = stages.stages()
    if stage not in known:
        raise InputError(
            f"run: a stage of {', '.join(known)} is required, got {stage}. Correct the "
            "name."
        )
    first = {"flagfile": flags.pop("flagfile", None)}
    given = {k: v for k, v in {**first, **flags}.items() if v is not None}
    script = stages.folder() / f"{stage}.py"
    command = [sys.executable, str(script), *(_flag(k, v) for k, v in given.items())]
    said = ""
    for text in (ended := _Ended(command)):
        said = (said + text)[-_KEPT:]
        if not quiet:
            print(text, end="", flush=True)
    if ended.status != 0:
        lines = [line for line in said.replace("\r", "\n").splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit status {ended.status}"
        raise InputError(f"run: {stage} failed: {reason.removeprefix('error: ')}")


def make_rooms(folder: Place, count: int = 1, **flags: Any) -> list[pathlib.Path]:
    """Make procedural furnished rooms, scans to try things on; or find them made.

    Args:
      folder: of the rooms, in ScanNet's layout.
      count: of rooms.
      **flags: of `sas-jax make_rooms`: `rooms_seed` for others, `frames_per_room`,
        `spacing_m`, ...

    Returns:
      The folders of the scans.

    Raises:
      InputError: as `run`.

    >>> import sas_jax
    >>> small = {"frames_per_room": 2, "spacing_m": 0.1}
    >>> [room] = sas_jax.make_rooms(folder, **small, quiet=True)
    >>> sas_jax.open_scene(room).frame_source.names
    ('0', '1')
    """
    usual = {"flagfile": "rooms.flags", "num_train": 0, "num_val": 0}
    run("make_rooms", **{**usual, **flags}, data_root=folder, num_test=count)
    root = pathlib.Path(folder)
    names = (root / "splits" / "test.txt").read_text(encoding="utf-8").split()
    return [root / "scans" / name for name in names]


def extract(
    scans: Sequence[Place], teachers: Sequence[str], workspace: Place, **flags: Any
) -> list[dict[str, Features]]:
    """Let teachers look at the frames of scans; what is kept is not made again.

    Args:
      scans: their folders or files.
      teachers: names, see `python -m sas_jax.teachers`, or of `add_teacher`.
      workspace: folder where features are kept.
      **flags: of `sas-jax extract_features`: `frame_stride`, `image_size`, `weights`...

    Returns:
      For each scan, teacher -> features of its points.

    Raises:
      InputError: as `run`.

    >>> import sas_jax
    >>> small = {"frames_per_room": 2, "spacing_m": 0.1}
    >>> [room] = sas_jax.make_rooms(folder, **small, quiet=True)
    >>> [seen] = sas_jax.extract([room], ["rooms-dense"], folder + "/run", quiet=True)
    >>> seen["rooms-dense"].feat.shape[1]
    384
    """
    if isinstance(scans, (str, os.PathLike)):
        raise InputError(
            f"extract: a list of scans is required, got {scans}. Put it in brackets."
        )
    paths = [pathlib.Path(scan).absolute() for scan in scans]
    # Of no data set: each scan is named by its place.
    flags = {**flags, "data_root": os.devnull, "scenes": paths}
    run("extract_features", **flags, teachers=teachers, workspace=workspace)
    kept = Workspace(workspace)
    names = [name_of_place(path) for path in paths]
    return [{t: load_features(kept.features(t, n)) for t in teachers} for n in names]


def measure_capability(
    teachers: Sequence[str], workspace: Place, **flags: Any
) -> Capability:
    """Measure how well teachers know each class, on painted images (Eq. 1 to 5).

    Teachers that come with the package bring their tables, which are taken where the
    settings are those that they were measured with.

    Args:
      teachers: as for `extract`.
      workspace: folder where images and tables are kept.
      **flags: of `sas-jax measure_capability`: `vocabulary`, `images_per_class`, ...

    Raises:
      InputError: as `run`.

    >>> import sas_jax
    >>> known = sas_jax.measure_capability(["rooms-dense", "rooms-mask"],
    ...                                    folder + "/run", quiet=True)
    >>> known.table.shape, known.classes[0]
    ((2, 20), 'wall')
    """
    usual = {"flagfile": "rooms.flags", "shipped": "take", "pseudo_quality_images": 0}
    flags = {**usual, **flags, "teachers": teachers, "workspace": workspace}
    run("measure_capability", **flags)
    folder = Workspace(workspace).capability
    tables = [read_table(table_path(folder, teacher)) for teacher in teachers]
    table = np.stack([each.miou for each in tables]).astype(np.float32)
    return Capability(tables[0].classes, table)


def add_teacher(name: str, contract: str, loader: str) -> None:
    """Add a teacher of one's own for this process and those that it starts.

    Args:
      name: as its `spec` says.
      contract: "dense", "mask" or "heat", see `sas_jax.teachers.contracts`.
      loader: `module:function`, called with `LoadOptions`; the module lies in the
        working directory or on `PYTHONPATH`.

    Raises:
      InputError: for another contract, and for the name of a teacher of the package.

    >>> import sas_jax
    >>> sas_jax.add_teacher("mine", "dense", "my_teacher:load")
    """
    teachers_by_name.add(name, contract, loader)


class _Ended:
    """What a command prints, piece by piece; afterwards, its exit status."""

    def __init__(self, command: Sequence[str]):
        self._command = command
        self.status: int | None = None

    def __iter__(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        with subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
        ) as process:
            assert process.stdout is not None
            try:
                while piece := os.read(process.stdout.fileno(), 4096):
                    yield decoder.decode(piece)
            except BaseException:  # Ctrl-C, the notebook's stop
                process.terminate()
                raise
        self.status = process.returncode


def _environment() -> Mapping[str, str]:
    """Return this process's, with modules beside the notebook importable.

    Bars within bars move the cursor up, which a notebook cannot: all share a line.
    """
    paths = [str(pathlib.Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TQDM_POSITION": "0"}


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    return f"--{name}={value}"
