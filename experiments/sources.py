"""Who answers about one scan: its features, made where they are due, and their name.

--source says who:
  auto     the student, where one was chosen (--run, --student) or trained in this
           workspace; else the features beside a file of Gaussians; else the fused
           features, where the scan has images and the teachers can run here; else the
           student that comes with the package
  student  the network, from geometry alone: that of --run, of the file or name that
           --student gives, or the one that comes with the package
  lifted   features of Gaussians that label_splats.py lifted: --features, or those
           beside the file
  fused    the features of the scan's images by --teachers, fused by --strategy, and
           what points answer averaged over superpoints: less noise, and points that no
           camera saw answer, too (--nosuperpoint_scores: each point for itself)

Without a flagfile results lie in runs/query, and `imagenet` looks at the images: it
knows photographs. Where its weights are not installed, the teachers that come with the
package do; they know procedural rooms only.
"""

import dataclasses
import pathlib

import answer_files
import due_stages
import numpy as np
import plain_splats
import settings
import stage_flags
import student_names
import students
from absl import flags
from make_superpoints import of_scene

from sas_jax.artefacts.features import Features, load_features
from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.artefacts.workspace import name_of_place
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.evaluation import query
from sas_jax.evaluation.asker import Find
from sas_jax.gaussians.files.rewrite import SplatFile
from sas_jax.instances.answers import answers
from sas_jax.instances.masks import Instances
from sas_jax.instances.stage import propose_scene
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command
from sas_jax.teachers.registry import ENTRIES
from sas_jax.weights.find import found_files

_SOURCE = flags.DEFINE_enum(
    "source", "auto", ["auto", "student", "fused", "lifted"], "Whose features answer."
)
_FEATURES = flags.DEFINE_string(
    "features", None, "Features of a file of Gaussians; default: those beside it."
)
_ANSWERS = flags.DEFINE_enum(
    "answers",
    "regions",
    ["regions", "instances"],
    "What answers: connected points that fit, or whole things, proposed as "
    "segment_instances.py does.",
)

_PHOTOGRAPHS = "imagenet"


def set_defaults() -> None:
    """Let a script ask without a flagfile; one says otherwise.

    The teachers are those that come with the package (but see `_choose`), and the list
    of classes is that on which their capability was measured.
    """
    flags.set_default(stage_flags.WORKSPACE, "runs/query")
    flags.set_default(stage_flags.TEACHERS, ["rooms-dense", "rooms-mask"])
    flags.set_default(stage_flags.VOCABULARY, "scannet20")


@dataclasses.dataclass(frozen=True)
class Source:
    """Who answers about a scan.

    Attributes:
      scan: that is asked.
      scene: opened.
      splats: of a scan that is a file of Gaussians, else None.
      who: in words.
      name: for files.
      features: of the scene's points, of length one.
      key: of these features, and of whatever else decides what answers.
      superpoints: [P] of the points, where they answer together, else None.
      things: whole things that answer; None: any connected points do.
    """

    scan: Scan
    scene: Scene
    splats: SplatFile | None
    who: str
    name: str
    features: Features
    key: str
    superpoints: np.ndarray | None
    things: Instances | None

    @property
    def find(self) -> Find:
        """What finds the best parts of a heat map: connected points, or things."""
        things = self.things
        if things is None:
            return query.regions
        return lambda points, values, cells: answers(points, values, things, cells)

    def folder(self, *more: object) -> pathlib.Path:
        """Return the folder of answers, another one for each path, source and run.

        Two scans of a name, and two students of one, write beside each other.

        Args:
          *more: what else decides the answers.
        """
        key = content_key([self.key, *more])[:8]
        place = name_of_place(self.scan.path)
        return settings.workspace().answers(place, f"{self.name}-{key}")


def of(scene_name: str) -> Source:
    """Return who answers about the scan that --scene names; see the module."""
    scan = settings.named_scan(plain_splats.plain(scene_name))
    _choose(scan)
    scene = _open(scan)
    splats = answer_files.opened(scan.path, scene)
    source = _source(scan, scene, splats, scene_name)
    averaged = stage_flags.SUPERPOINT_SCORES.value
    averaged = source == "fused" if averaged is None else averaged
    who, name = _who(source, averaged)
    features, key = _features(source, scan, scene, splats, scene_name)
    features = query.unit_features(features)
    if source == "fused" and not (features.row >= 0).any():
        raise InputError(
            f"query: images that see the scan are required, got none of "
            f"{len(features.row):,} points in them ({scene_name}). Correct their poses "
            "(--pose_convention, --up, --scale), or ask the student: --source=student."
        )
    whole, proposals = _ANSWERS.value == "instances", stage_flags.PROPOSALS.make()
    superpoints = of_scene(scan, scene) if averaged or whole else None
    things = None
    if whole:
        things = propose_scene(scene, superpoints, features, proposals)
        name += "-instances"
    cut = None if superpoints is None else content_key(superpoints)
    key = content_key([key, cut, proposals if whole else None])
    together = superpoints if averaged else None
    return Source(scan, scene, splats, who, name, features, key, together, things)


def _choose(scan: Scan) -> None:
    """Let who knows photographs look, alone, where nobody said who is to.

    On real captures it answers 7 of 13 questions right, the rooms' teachers 4, all of
    them 3: benchmarks/results/imagenet_teacher.jsonl. One teacher is not fused: its
    capability need not be measured.
    """
    said = flags.FLAGS["teachers"]
    here = found_files(_PHOTOGRAPHS) is not None
    if said.using_default_value and here and not due_stages.were_brought(scan):
        flags.FLAGS.teachers = [_PHOTOGRAPHS]
    size = flags.FLAGS["image_size"]
    if _PHOTOGRAPHS in stage_flags.TEACHERS.value and size.using_default_value:
        size.parse("640,480")  # at half of it a chair and the desk behind are one thing
    alone = len(stage_flags.TEACHERS.value) == 1
    if alone and flags.FLAGS["strategy"].using_default_value:
        flags.FLAGS.strategy = "single"


def _open(scan: Scan) -> Scene:
    """Open the scene; the cloud of posed frames is made at the first question only."""
    scene = scan.open(annotations=False)
    if scene.faces is None and scene.frame_source.names:
        names = scene.frame_source.names[:: stage_flags.EXTRACT.make().frame_stride]
        used = len(names) - len(scene.skipped_frames)
        frames = f"{used} frame{'s' * (used != 1)}"
        print(f"{scan.path.stem}: {len(scene.points):,} points of {frames}")
    return scene


def _source(scan: Scan, scene: Scene, splats: SplatFile | None, named: str) -> str:
    """Return whose features answer, "student", "fused" or "lifted"; see the module."""
    frames, lifted = bool(scene.frame_source.names), _lifted(scan, splats)
    if _SOURCE.value == "lifted" or _FEATURES.value is not None:
        if splats is None or lifted is None or _SOURCE.value in ("student", "fused"):
            raise InputError(
                "query: a PLY file of Gaussians with features and no other --source is "
                f"required for --features and --source=lifted, got {named}. "
                f"Lift some: {command('label_splats')}"
            )
        return "lifted"
    if _SOURCE.value == "fused" and not frames:
        raise InputError(
            f"query: a scan with images is required for --source=fused, got none "
            f"({named}). Ask the student: --source=student."
        )
    if _SOURCE.value != "auto":
        return _SOURCE.value
    if lifted is not None and not student_names.is_chosen():
        return "lifted"
    if not frames or student_names.is_chosen():
        return "student"
    if why := due_stages.hindrance():
        print(f"No teacher can look at the images, {why}: the student answers.")
        return "student"
    return "fused"


def _lifted(scan: Scan, splats: SplatFile | None) -> pathlib.Path | None:
    if _FEATURES.value is not None:
        return pathlib.Path(_FEATURES.value)
    return None if splats is None else answer_files.beside(scan.path)


def _who(source: str, averaged: bool) -> tuple[str, str]:
    """Return who answers, for people, and the name of a folder of its answers."""
    if source == "lifted":
        return _with_average("features lifted onto Gaussians", ["lifted"], averaged)
    if source == "student":
        name = student_names.title(student_names.chosen())
        who, parts = f"the student {name}, from geometry alone", ["student", name]
        return _with_average(who, parts, averaged)
    fusion, level = settings.fused_name(), stage_flags.LEVEL.value
    teachers = stage_flags.TEACHERS.value
    if stage_flags.strategy() == "single":
        teachers = [stage_flags.FUSE.make().teacher or teachers[0]]
    loaders = [ENTRIES[name].loader for name in teachers if name in ENTRIES]
    only = loaders and all("sas_jax.rooms" in loader for loader in loaders)
    who = f"the images, by {' and '.join(teachers)}"
    who += " (trained on procedural rooms only)" if only else ""
    who += f", fused by {fusion}" if len(teachers) > 1 else ""
    parts = ["fused", fusion.partition("-")[0], *teachers]
    if level == "superpoint":
        who, parts = f"{who}, mean features of superpoints", [*parts, "means"]
    return _with_average(who, parts, averaged)


def _with_average(who: str, parts: list[str], averaged: bool) -> tuple[str, str]:
    if averaged:
        who, parts = f"{who}, averaged over superpoints", [*parts, "superpoints"]
    return who, "-".join(parts)


def _features(
    source: str, scan: Scan, scene: Scene, splats: SplatFile | None, named: str
) -> tuple[Features, str]:
    """Return the features that answer, made now where that is due, and their key.

    Row -1 marks points that no frame saw.
    """
    if source == "lifted" and splats is not None:
        path = _lifted(scan, splats)
        assert path is not None  # else it were no source
        return answer_files.lifted(path, splats, scene), sha256_file(path)
    if source == "student":
        student = student_names.chosen()
        key = content_key([students.state(student), scene.points])
        if splats is not None and students.takes_gaussians(student):
            return answer_files.of_gaussians(student, splats, scene), key
        return students.scene_features(student, scene), key
    due_stages.fuse_scan(scan, named)
    path = settings.fused_path(scene.name)
    manifest = path.with_name(f"{path.name}.json")
    return load_features(path, scene.points), sha256_file(manifest)
