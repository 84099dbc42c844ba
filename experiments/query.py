r"""Ask a scan for something in words; get a heat map and the best regions.

  python experiments/query.py --scene=my/scan --text="something to sit on"
  python experiments/query.py --flagfile=rooms.flags --scene=room0009_00 \
      --text="a desk"

A scene is the folder or file of a scan of any known layout, or a name in the data set.
Whatever is due runs by itself and is kept, so the second question is answered at once:
the cloud of posed frames (every --frame_stride-th), the teachers' features, their
capability, fusion, superpoints, the student's features. A killed run goes on where it
stopped.

Who answers, --source:
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
package do; they know procedural rooms only. Writes, into
<workspace>/queries/<scene>/<who answered>/, a JSON file with the regions of a question
and, where there are any, a PLY with the heat map as a scalar field and two pictures.
Of a file of Gaussians the PLY is one, too, whose colours are the heat map; the best
--regions are cut out, <question>_cut.ply, with everything that the file says of them.
"""

import pathlib
import time

import answer_files
import asking
import due_stages
import numpy as np
import settings
import stage_flags
import student_names
import students
from absl import flags
from make_superpoints import of_scene

from sas_jax.artefacts.features import Features, load_features
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.evaluation import query
from sas_jax.gaussians.files.rewrite import SplatFile
from sas_jax.instances.stage import propose_scene
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command
from sas_jax.teachers.registry import ENTRIES
from sas_jax.weights.find import found_files

_TEXT = flags.DEFINE_multi_string("text", None, "What to look for.", required=True)
_SCENE = flags.DEFINE_string(
    "scene", None, "Scene name, folder or file.", required=True
)
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
_REGIONS = flags.DEFINE_integer(
    "regions", 5, "Regions to print, and to cut out of Gaussians.", lower_bound=0
)

# A flagfile says otherwise. The teachers are those that come with the package (but see
# `_choose`), and the list of classes is that on which their capability was measured.
flags.set_default(stage_flags.WORKSPACE, "runs/query")
flags.set_default(stage_flags.TEACHERS, ["rooms-dense", "rooms-mask"])
flags.set_default(stage_flags.VOCABULARY, "scannet20")

_PHOTOGRAPHS = "imagenet"


def main() -> None:
    """Answer every --text on one scene."""
    began = time.monotonic()
    if not all(any(map(str.isalnum, text)) for text in _TEXT.value):
        raise InputError(
            "query: --text must hold a word, got none. Say what to look for."
        )
    scan = settings.named_scan(_SCENE.value)
    _choose(scan)
    scene = _open(scan)
    splats = answer_files.opened(scan.path, scene)
    source = _source(scan, scene, splats)
    averaged = stage_flags.SUPERPOINT_SCORES.value
    averaged = source == "fused" if averaged is None else averaged
    who, name = _who(source, averaged)
    features = _features(source, scan, scene, splats)
    settings.check_texts(features.space, _TEXT.value)
    features = query.unit_features(features)
    whole = _ANSWERS.value == "instances"
    superpoints = of_scene(scan, scene) if averaged or whole else None
    things = None
    if whole:
        things = propose_scene(
            scene, superpoints, features, stage_flags.PROPOSALS.make()
        )
        name += "-instances"
    asker = asking.asker(features.space)
    ready = time.monotonic() - began
    print(f"answered by: {who}")
    unseen = 100 * float((features.row < 0).mean())
    if unseen >= 1:
        print(f"{unseen:.0f} % of the points are seen by no image")
    if asker.fit is None:
        print("scores say how much better a text fits than any would: no probabilities")
    output = settings.workspace().answers(scene.name, name)
    began = time.monotonic()
    together = superpoints if averaged else None
    heat = asker.heat(features, together, _TEXT.value)
    each = (time.monotonic() - began) / len(heat)
    for text, values in zip(_TEXT.value, heat, strict=True):
        began = time.monotonic()
        found = asker.regions(scene.points, values, things)
        answered = each + time.monotonic() - began
        path = output / answer_files.slug(text)
        score = asker.scored_by
        answer_files.write(path, scene, splats, values, found, _REGIONS.value, score)
        answer_files.note(
            path.with_name(f"{path.name}.json"), text, who, scan, scene, found, score
        )
        _print(text, found, scene.origin, asker)
        print(f"answered in {1000 * answered:.0f} ms, scene ready in {ready:.1f} s")
    print(f"answers: {output}")


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


def _source(scan: Scan, scene: Scene, splats: SplatFile | None) -> str:
    """Return whose features answer, "student", "fused" or "lifted"; see the module."""
    frames, lifted = bool(scene.frame_source.names), _lifted(scan, splats)
    if _SOURCE.value == "lifted" or _FEATURES.value is not None:
        if splats is None or lifted is None or _SOURCE.value in ("student", "fused"):
            raise InputError(
                "query: a PLY file of Gaussians with features and no other --source is "
                f"required for --features and --source=lifted, got {_SCENE.value}. "
                f"Lift some: {command('label_splats')}"
            )
        return "lifted"
    if _SOURCE.value == "fused" and not frames:
        raise InputError(
            f"query: a scan with images is required for --source=fused, got none "
            f"({_SCENE.value}). Ask the student: --source=student."
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
    source: str, scan: Scan, scene: Scene, splats: SplatFile | None
) -> Features:
    """Return the features that answer, made now where that is due.

    Row -1 marks points that no frame saw.
    """
    if source == "lifted" and splats is not None:
        path = _lifted(scan, splats)
        assert path is not None  # else it were no source
        return answer_files.lifted(path, splats, scene)
    if splats is not None and students.takes_gaussians(student_names.chosen()):
        return answer_files.of_gaussians(student_names.chosen(), splats, scene)
    if source == "student":
        return students.scene_features(student_names.chosen(), scene)
    due_stages.fuse_scan(scan, _SCENE.value)
    return load_features(settings.fused_path(scene.name), scene.points)


def _print(
    text: str, found: list[query.Region], origin: np.ndarray, asker: asking.Asker
) -> None:
    shown = text if len(text) <= 80 else f"{text[:80]}..."
    listed = min(len(found), _REGIONS.value)
    best = f", the best {listed}" if listed < len(found) else ""
    print(f'\n"{shown}": {len(found)} region{"s" * (len(found) != 1)}{best}')
    if not found:
        print(f"  nothing {asker.bar}; no heat map is written")
    if not listed:
        return
    print(
        f"  {asker.scored_by:>11}  {'centre x y z [m]':^22}  {'size [m]':^20}  points"
    )
    for region in found[: _REGIONS.value]:
        centre = " ".join(f"{v:7.2f}" for v in region.center_m + origin)
        size = " ".join(f"{v:6.2f}" for v in region.size_m)
        count = len(region.points)
        print(f"  {region.score:>11.2f}  {centre:^22}  {size:^20}  {count:,}")


if __name__ == "__main__":
    settings.run(main)
