r"""Lift features onto the Gaussians of a file and name the class of each.

  python experiments/label_splats.py --flagfile=scannet.flags --splats=my/splat.ply \
      --scene=scene0011_00 --out=my/labelled.ply
  python experiments/label_splats.py --splats=my/splat.ply --source=student \
      --out=my/labelled.ply

Whose features, --source:
  fused    what the teachers see on the frames of --scene, fused by --strategy;
           --strategy=single takes those of one. --lift=blend weighs pixels as the
           renderer does (default), --lift=center takes the pixel of each centre, as
           Semantic Gaussians does.
  student  a student of Gaussians (train.py --gaussians) by their parameters, or one of
           points at the centres, from geometry alone: no frames needed

Gaussians and frames must stand in one world: where a capture's is turned or scaled when
it is opened, --up=z --scale=1 leaves it as it is.

Writes --out, a PLY file of the same Gaussians with everything that the input file holds
and a property `label`: the index of a class of --label_set, -1 without a feature. With
--paint, classes are colours, too. Features lie beside it, in
<out>.features.safetensors; query.py answers with them. Teachers' features are kept in
the workspace, like those of scans.
"""

import dataclasses
import pathlib
from typing import get_args

import fuse_features
import numpy as np
import plain_splats
import settings
import stage_flags
import student_names
import students
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts.features import (
    Features,
    geometry_of,
    load_features,
    save_features,
)
from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.artefacts.stage import Job, run_groups
from sas_jax.artefacts.versions import decided_by
from sas_jax.artefacts.workspace import name_of_place
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.evaluation import protocol, semantic
from sas_jax.gaussians import lift_scene
from sas_jax.gaussians.files.ply import LABEL
from sas_jax.gaussians.files.rewrite import SplatFile, read_splat_file
from sas_jax.gaussians.files.sidecar import save_beside, sidecar_of
from sas_jax.gaussians.lift import SplatLiftConfig, Way
from sas_jax.gaussians.projection import RenderConfig, gaussians_of
from sas_jax.lifting.extract import extraction_key
from sas_jax.scenes.labels import LabelSet, label_set

_SPLATS = flags.DEFINE_string("splats", None, "File of Gaussians.", required=True)
_SCENE = flags.DEFINE_string("scene", None, "Scene name or folder, with frames.")
_OUT = flags.DEFINE_string("out", None, "PLY file to write.", required=True)
_SOURCE = flags.DEFINE_enum("source", "fused", ["fused", "student"], "Whose features.")
_LIFT = flags.DEFINE_enum("lift", "blend", get_args(Way), "From pixels to Gaussians.")
_PAINT = flags.DEFINE_bool("paint", False, "Show classes as colours.")


@dataclasses.dataclass(frozen=True)
class Splat:
    """A file of Gaussians as something to be fused."""

    file: SplatFile

    @property
    def name(self) -> str:
        """That of its artefacts."""
        return name_of_place(self.file.path.absolute())

    def points(self) -> np.ndarray:
        """Return the centres, [G, 3] f32."""
        return self.file.splats.means


def main() -> None:
    """Label the Gaussians of a file."""
    target = pathlib.Path(_OUT.value)
    if target.suffix.lower() != ".ply":
        raise InputError(
            f"label_splats: --out must end in .ply, got {target}. Correct the name."
        )
    file, scan = read_splat_file(_SPLATS.value), None
    if _SCENE.value is not None:
        scan = settings.named_scan(_SCENE.value)
    labels = _label_set(scan)
    if _SOURCE.value == "student":
        features = student_features(file)
    else:
        features = fused_features(file, scan)
    texts = protocol.questions(labels, settings.compat())
    scores = semantic.text_scores(
        features, settings.encoded(features.space, tuple(texts))
    )
    classes = protocol.classes_of("", scores, labels)[""]
    colors = labels.colors(classes, ignore_color=(120,) * 3) if _PAINT.value else None
    file.write(target, colors=colors, properties={LABEL: classes})
    save_beside(target, features, file.splats)
    _report(classes, labels)
    print(f"written: {target}\n         {sidecar_of(target)}")


def _label_set(scan: Scan | None) -> LabelSet:
    named = stage_flags.LABEL_SET.value
    if scan is not None:
        return scan.dataset.label_set(named)
    return label_set(named or "scannet20")


def student_features(file: SplatFile) -> Features:
    """Return the features of a student, of Gaussians or of points at their centres."""
    if students.takes_gaussians(student_names.chosen()):
        return students.splat_features(student_names.chosen(), file)
    scan = settings.named_scan(plain_splats.plain(str(file.path)), "--splats")
    scene = scan.open(annotations=False)
    features = students.scene_features(student_names.chosen(), scene)
    return dataclasses.replace(features, geometry=geometry_of(file.splats.means))


def fused_features(file: SplatFile, scan: Scan | None) -> Features:
    """Return the teachers' features, lifted where that is due, and fused.

    Raises:
      InputError: without frames, and where none sees a Gaussian.
    """
    if scan is None:
        raise InputError(
            "label_splats: --scene, a scan with frames, is required for "
            "--source=fused, got none. Name it, or ask a student: --source=student."
        )
    settings.check_teachers()
    settings.check_one_text_space()
    splat = Splat(file)
    _lift(splat, scan)
    fuse_features.fuse([splat])
    path = settings.workspace().fused(settings.fused_name(), splat.name)
    features = load_features(path, splat.points())
    if not len(features.feat):
        raise InputError(
            f"label_splats: frames that see a Gaussian are required, got none of "
            f"{scan.name} ({file.path}). Are both in one world? See --up and --scale."
        )
    return features


def _lift(splat: Splat, scan: Scan) -> None:
    """Lift the features of every teacher that are not up to date."""
    config = stage_flags.EXTRACT.make(lift=stage_flags.LIFT.make())
    captioner = settings.asked_captioner()
    described = settings.load_model(captioner) if captioner else None
    teachers = {
        name: settings.load_model(name)
        for name in dict.fromkeys(stage_flags.TEACHERS.value)
    }
    lift = SplatLiftConfig(
        _LIFT.value, RenderConfig(antialiased=splat.file.splats.antialiased)
    )
    views = scan.key("views", frame_stride=config.frame_stride, memo=settings.memo())
    made_by = decided_by(lift_scene.__name__)
    given = content_key([views, sha256_file(splat.file.path), lift, made_by])
    jobs = [
        Job(
            splat.name,
            settings.workspace().features(name, splat.name),
            extraction_key(given, teacher, config, described),
        )
        for name, teacher in teachers.items()
    ]

    def make(due: list[Job]) -> None:
        scene = scan.open(image_size_wh=config.image_size_wh, annotations=False)
        means = (splat.points() - scene.origin).astype(np.float32)
        gaussians = gaussians_of(dataclasses.replace(splat.file.splats, means=means))
        count = len(scene.frame_source.names[:: config.frame_stride])
        with tqdm(total=count, desc="lift", unit="frame") as bar:
            found = lift_scene.lift_scene(
                gaussians,
                scene,
                [teachers[job.path.parent.name] for job in due],
                config,
                lift,
                captioner=described,
                on_frame=lambda frame: bar.update(1),
            )
        geometry = geometry_of(splat.points())
        for job, features in zip(due, found, strict=True):
            named = dataclasses.replace(features, geometry=geometry)
            meta = {"teacher": job.path.parent.name}
            save_features(job.path, named, key=job.key, meta=meta)

    run_groups([jobs], make, verify=stage_flags.VERIFY.value)


def _report(classes: np.ndarray, labels: LabelSet) -> None:
    counts = np.bincount(classes + 1, minlength=len(labels.classes.names) + 1)
    rows = [
        {"class": name, "Gaussians": int(count)}
        for name, count in zip(
            ("(no feature)", *labels.classes.names), counts, strict=True
        )
        if count
    ]
    print(settings.table(rows))


if __name__ == "__main__":
    settings.run(main)
