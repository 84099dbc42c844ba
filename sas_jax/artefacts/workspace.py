"""Every path of a workspace, once.

A workspace is one folder with the results of all stages (WORKSPACE.md shows it with
sizes). Names in it - of scenes, teachers, fusions, runs - are names of files and
folders, never paths.
"""

import dataclasses
import os
import pathlib

from sas_jax.artefacts.files import content_key
from sas_jax.errors import InputError

CHECKPOINTS = "checkpoints"
"""Folder of a training run, of its checkpoints."""
TENSORBOARD = "tensorboard"
"""Folder of a training run, of its scalars."""
CONFIG = "config.json"
"""File beside results, of the configuration that they were made with."""


def plain_name(what: str, name: str) -> str:
    """Return the name of a file or folder inside of another.

    Args:
      what: it names, for the error: a flag, or a word.
      name: to be checked.

    Raises:
      InputError: for a name that leads elsewhere, such as `..` or a path.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InputError(
            f"workspace: {what} must be a plain name, got {name!r}. Leave out the path."
        )
    return name


def name_of_place(path: pathlib.Path) -> str:
    """Return the name that artefacts of a scan outside of the data set have.

    Two phones call every scan `scan1`: so it is the file's or folder's own name and
    eight digits of a key of where it lies. It stays while the scan is not moved.

    Args:
      path: of the scan; links are followed.
    """
    own = path.stem if path.is_file() else path.name
    return f"{own[:40]}-{content_key(os.path.realpath(path))[:8]}"


@dataclasses.dataclass(frozen=True)
class Workspace:
    """Where everything lies.

    Attributes:
      root: folder of all results; made when something is written.
    """

    root: pathlib.Path

    def __init__(self, root: str | os.PathLike) -> None:
        if not str(root):  # pathlib would take the working directory
            raise InputError(
                "workspace: a folder for all results is required, got none. Give "
                "--workspace=<folder>."
            )
        object.__setattr__(self, "root", pathlib.Path(root))

    @property
    def feature_folder(self) -> pathlib.Path:
        """Folder of all teachers' features."""
        return self.root / "features"

    def features_of(self, teacher: str) -> pathlib.Path:
        """Folder of a teacher's features."""
        return self.feature_folder / plain_name("--teachers", teacher)

    def features(self, teacher: str, scene: str) -> pathlib.Path:
        """File of a teacher's features of a scene."""
        return _tensors(self.features_of(teacher), scene)

    def teachers(self) -> list[str]:
        """Names of the teachers with features."""
        return _folders(self.feature_folder)

    @property
    def capability(self) -> pathlib.Path:
        """Folder of synthesized images, masks and tables; see `capability.store`."""
        return self.root / "capability"

    @property
    def superpoint_folder(self) -> pathlib.Path:
        """Folder of all superpoints."""
        return self.root / "superpoints"

    def superpoints(self, scene: str) -> pathlib.Path:
        """File of a scene's superpoints."""
        return _tensors(self.superpoint_folder, scene)

    def fused_by(self, fusion: str) -> pathlib.Path:
        """Folder of the features that a fusion made."""
        return self.root / "fused" / plain_name("--methods", fusion)

    def fused(self, fusion: str, scene: str) -> pathlib.Path:
        """File of a scene's fused features."""
        return _tensors(self.fused_by(fusion), scene)

    def fusions(self) -> list[str]:
        """Names of the fusions that were made."""
        return _folders(self.root / "fused")

    def run(self, name: str) -> pathlib.Path:
        """Folder of a training run."""
        return self.root / "train" / plain_name("--run", name)

    def checkpoints(self, run: str) -> pathlib.Path:
        """Folder of a run's checkpoints."""
        return self.run(run) / CHECKPOINTS

    def tensorboard(self, run: str) -> pathlib.Path:
        """Folder of a run's scalars."""
        return self.run(run) / TENSORBOARD

    def runs(self) -> list[str]:
        """Names of the runs that have begun."""
        names = _folders(self.root / "train")
        return [name for name in names if self.checkpoints(name).is_dir()]

    def sweep(self, name: str) -> pathlib.Path:
        """Folder of a sweep: its tables, its picture, and what its trials share."""
        return self.root / "sweeps" / plain_name("--sweep", name)

    def scene_features(self, student: str, scene: str) -> pathlib.Path:
        """File of a student's features of a scene; a run or the name of a file."""
        folder = self.root / "scene_features" / plain_name("--run", student)
        return _tensors(folder, scene)

    def scores_of(self, split: str) -> pathlib.Path:
        """Folder of the scores on a split."""
        return self.root / "eval" / plain_name("--eval_split", split)

    def scores(self, split: str, method: str) -> pathlib.Path:
        """File of a method's scores; a method is `<kind>/<name>`."""
        return self.scores_of(split) / f"{method.replace('/', '-')}.json"

    def instances_of(self, name: str) -> pathlib.Path:
        """Folder of the instances of all scenes that one way has found."""
        return self.root / "instances" / plain_name("--instances", name)

    def instances(self, name: str, scene: str) -> pathlib.Path:
        """File of a scene's instances."""
        return self.instances_of(name) / f"{plain_name('a scene', scene)}.npz"

    def instance_scores(self, split: str, name: str) -> pathlib.Path:
        """File of the scores of instances; a name may have a method's in it."""
        folder = self.scores_of(split) / "instances"
        return folder / f"{name.replace('/', '-')}.json"

    def question_scores(self, split: str, method: str) -> pathlib.Path:
        """File of the scores of a method's answers to questions."""
        folder = self.scores_of(split) / "questions"
        return folder / f"{method.replace('/', '-')}.json"

    def splats(self, scene: str, ending: str = ".ply") -> pathlib.Path:
        """File of a scene's Gaussians, or one that belongs to it."""
        return self.root / "splats" / f"{plain_name('a scene', scene)}{ending}"

    def answers(self, scene: str, source: str) -> pathlib.Path:
        """Folder of the answers about a scene by one source: a student or a fusion."""
        folder = self.root / "queries" / plain_name("--scene", scene)
        return folder / plain_name("a source", source)

    def classes(self, scene: str, source: str) -> pathlib.Path:
        """Folder of a whole scene's classes by one source."""
        folder = self.root / "classes" / plain_name("--scene", scene)
        return folder / plain_name("a source", source)

    @property
    def clouds(self) -> pathlib.Path:
        """Folder of the points of scenes that come as frames."""
        return self.root / "clouds"

    @property
    def report(self) -> pathlib.Path:
        """The report, one page."""
        return self.root / "report" / "index.html"

    @property
    def results(self) -> pathlib.Path:
        """The report's numbers."""
        return self.root / "report" / "results.json"

    @property
    def timings(self) -> pathlib.Path:
        """Seconds of each stage."""
        return self.root / "timings.json"

    @property
    def stamps(self) -> pathlib.Path:
        """Folder of what is remembered of the data set's files."""
        return self.root / "stamps"

    @property
    def logs(self) -> pathlib.Path:
        """Folder of crash reports."""
        return self.root / "logs"


def _tensors(folder: pathlib.Path, scene: str) -> pathlib.Path:
    return folder / f"{plain_name('a scene', scene)}.safetensors"


def _folders(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/"))
