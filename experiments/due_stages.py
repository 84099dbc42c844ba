"""What the fused features of one scan take: each stage that is due, and no other.

Teachers are PyTorch: extract_features.py and measure_capability.py run in processes of
their own, and loading the models takes seconds even where nothing is to be done. So
what such a stage was asked for is noted beside the stamps of what it left, and while
both stand it is not started. Superpoints and fusion need no models: they look for
themselves.
"""

import contextlib
import dataclasses
import importlib.util
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence

import capability_tables
import fuse_features
import make_superpoints
import settings
import stage_flags
import stage_process

from sas_jax.artefacts import stamps
from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.artefacts.stage import Tally
from sas_jax.artefacts.versions import decided_by
from sas_jax.capability.registry import PROMPTERS, SYNTHESIZERS
from sas_jax.capability.store import table_path
from sas_jax.classes import vocabulary
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import WorkspaceBusy
from sas_jax.registry import check_name
from sas_jax.teachers import registry
from sas_jax.weights.find import found_files

_LOOK_S = 0.5  # between looks whether another run has ended
_CAPABILITY_FLAGS = ("--shipped=take", "--pseudo_quality_images=0")


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A stage of PyTorch models, as far as can be told without them.

    Attributes:
      label: for people.
      script: its file.
      arguments: flags of its own.
      follows_from: everything that its files follow from.
      stamped: its files that hold tensors: told by their stamps.
      hashed: its small files: told by their content.
      record: where it is noted that it has run.
    """

    label: str
    script: str
    arguments: Sequence[str]
    follows_from: object
    stamped: Sequence[pathlib.Path]
    hashed: Sequence[pathlib.Path]
    record: pathlib.Path

    def key(self) -> str:
        """Return the key of what it follows from and of its small files now."""
        sums = [sha256_file(p) if p.is_file() else None for p in self.hashed]
        return content_key([self.follows_from, sums])

    def is_done(self) -> bool:
        """Tell whether it ran for the same, and its files stand."""
        if stage_flags.VERIFY.value:
            return False
        return stamps.recall(self.record, self.stamped) == self.key()

    def run(self) -> None:
        """Run it where it is due, and note that it ran.

        Where another question has it made at this time, its end is waited for.
        """
        if self.is_done():
            print(f"{self.label}: up to date")
            return
        with self._alone():
            if self.is_done():
                print(f"{self.label}: made by another run")
                return
            self._make()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the stage, as soon as it is free."""
        folder, waits = self.record.with_suffix(".run"), False
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(workspace_lock(folder))
                    break
                except WorkspaceBusy:
                    if not waits:
                        print(f"{self.label}: waiting for another run", flush=True)
                    waits = True
                    time.sleep(_LOOK_S)
            yield

    def _make(self) -> None:
        arguments = [*stage_process.shared_flags(), *self.arguments]
        print(f"{self.label}: being made", flush=True)
        stage_process.run(self.script, arguments, table=False)
        stands, _ = stamps.stamps_of(self.stamped)
        stamps.keep(self.record, stands, self.key())


def hindrance() -> str | None:
    """Return why the teachers cannot run here, None where they can.

    Raises:
      InputError: for a name that is none of a teacher.
    """
    teachers = stage_flags.TEACHERS.value
    known = registry.names("dense", "mask", "heat")
    if unknown := [name for name in teachers if name not in known]:
        for name in unknown:
            if not settings.workspace().features_of(name).is_dir():
                check_name(name, known, "a teacher", "--teachers")
        return f"there is no teacher {' and no '.join(unknown)}"
    rows = [registry.entry(name) for name in teachers]
    absent = sorted({need for row in rows for need in registry.missing_needs(row)})
    if absent:
        return f"no {', no '.join(absent)} in this environment"
    without = [name for name in teachers if not _has_weights(name)]
    return f"no weights of {' and of '.join(without)} here" if without else None


def _has_weights(name: str) -> bool:
    """Tell whether a teacher's weights are here, or may be fetched."""
    options = settings.model_options(name)
    # What the user names is wanted: where it is not, that is an error to be told.
    wanted = options.weights or options.download
    return bool(wanted) or found_files(name) is not None


def were_brought(scan: Scan) -> bool:
    """Tell whether a scan's fused features come from elsewhere: no teacher has any."""
    workspace = settings.workspace()
    if not workspace.fused(settings.fused_name(), scan.name).exists():
        return False
    own = (workspace.features(name, scan.name) for name in workspace.teachers())
    return not any(path.exists() for path in own)


def fuse_scan(scan: Scan, named: str) -> None:
    """Make the fused features of a scan, and all that they take, where due.

    Fused features that were brought from elsewhere, and those of teachers that cannot
    run here, have nothing to be compared with: these stay as they are.

    Args:
      scan: that is asked.
      named: how the user names it.

    Raises:
      InputError: when a stage fails.
    """
    workspace, teachers = settings.workspace(), stage_flags.TEACHERS.value
    fused = workspace.fused(settings.fused_name(), scan.name)
    features = [workspace.features(name, scan.name) for name in teachers]
    if were_brought(scan):
        print("fused features: taken as they are, no teacher's are in this workspace")
        return
    if fused.exists() and (why := hindrance()):
        print(f"fused features: taken unchecked, {why}")
        return
    settings.check_teachers()
    settings.check_one_text_space()
    _extraction(scan, named, features).run()
    if stage_flags.strategy() == "capability" and not capability_tables.elsewhere():
        _capability().run()
    if stage_flags.LEVEL.value == "superpoint":
        make_superpoints.cut([scan])
    _say("fusion", fuse_features.fuse([scan])[0])


def _say(label: str, tally: Tally) -> None:
    if not tally.made:
        print(f"{label}: up to date")


def _extraction(scan: Scan, named: str, features: list[pathlib.Path]) -> _Asked:
    config = stage_flags.EXTRACT.make(lift=stage_flags.LIFT.make())
    memo, models = settings.memo(), _models()
    made_by = decided_by("sas_jax.lifting.extract", *_modules())
    views = scan.key("views", frame_stride=config.frame_stride, memo=memo)
    return _Asked(
        "teachers' features",
        "extract_features.py",
        [f"--scenes={stage_process.as_list([named])}"],
        [views, config, models, made_by],
        features,
        [],
        settings.workspace().stamps / scan.name / "teachers.stamp",
    )


def _capability() -> _Asked:
    synthesis, folder = stage_flags.SYNTHESIS.make(), settings.workspace().capability
    tables = (SYNTHESIZERS[synthesis.synthesizer], PROMPTERS[synthesis.point_prompter])
    painters = [loader.partition(":")[0] for loader in tables]
    made_by = decided_by("sas_jax.capability.run", *_modules(), *painters)
    words = vocabulary(stage_flags.VOCABULARY.value)
    measuring = stage_flags.CAPABILITY.make(), stage_flags.CAPABILITY_SCORE.value
    settings_of = [words, synthesis, *measuring]
    return _Asked(
        "capability",
        "measure_capability.py",
        _CAPABILITY_FLAGS,
        [settings_of, _models(), made_by],
        [],
        [table_path(folder, name) for name in stage_flags.TEACHERS.value],
        settings.workspace().stamps / "capability.stamp",
    )


def _modules() -> list[str]:
    names = [*stage_flags.TEACHERS.value, stage_flags.CAPTIONER.value]
    return [registry.entry(name).loader.partition(":")[0] for name in names]


def _models() -> list[tuple[object, ...]]:
    """Return what identifies teachers and captioner, and sums of their files."""
    names = [*stage_flags.TEACHERS.value, stage_flags.CAPTIONER.value]
    memo, found = settings.memo(), []
    for name, module in zip(names, _modules(), strict=True):
        options = settings.model_options(name)
        files = sorted(_files_of(name, module, options.weights))
        sums = memo.value(f"weights/{name}", files, lambda f=files: _sum(f))
        asked = options.label_space, options.vocabulary, options.precision
        found.append((name, options.weights, *asked, options.settings, sums))
    return found


def _files_of(name: str, module: str, weights: str | None) -> Iterable[pathlib.Path]:
    """Yield the code of a model and its weights, those beside the code by default."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return
    yield pathlib.Path(spec.origin)
    given = [pathlib.Path(weights)] if weights else found_files(name)
    for path in given or pathlib.Path(spec.origin).parent.glob("weights/*"):
        yield from path.rglob("*") if path.is_dir() else (path,)


def _sum(files: Sequence[pathlib.Path]) -> str:
    return content_key([sha256_file(p) if p.is_file() else None for p in files])
