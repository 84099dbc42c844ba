r"""Propose the instances of every scene, without any weights or by Mask3D.

    python experiments/segment_instances.py --flagfile=rooms.flags
    python experiments/segment_instances.py --flagfile=scannet.flags \
        --mask3d=scannet200_val.ckpt --name=mask3d

Superpoints that touch and look alike are joined, by the features of --method (default:
the fused ones of --strategy). Masks of the teachers in --mask_votes, which look at all
frames again, vote for superpoints that belong together. With --mask3d, a checkpoint as
its authors publish it, that network proposes them from colours and superpoints
(`random:<seed>` runs without weights); with --mask3d_classes they keep the classes that
it gives them, otherwise features name them, as in the paper. Writes
<workspace>/instances/<name>/<scene>.npz under --name. Scenes that are up to date are
skipped; several workers share the scenes. Then score them, or name them and hand them
in:

    python experiments/evaluate.py --flagfile=rooms.flags --instances=proposals

With --submission=FOLDER, instances named by the same features are written there as
ScanNet's server wants them; with --meshes=FOLDER, as a mesh or cloud whose colours tell
them apart.
"""

import itertools
import pathlib
from collections.abc import Sequence

import mask3d_proposals
import numpy as np
import settings
import stage_flags
from absl import flags
from make_superpoints import cut
from scored import manifest_sum, method, question_texts
from tqdm import tqdm

from sas_jax.artefacts.stage import Job, Tally
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.datasets.contracts import Scan
from sas_jax.instances.files import is_current, load_instances, save_instances
from sas_jax.instances.masks import Instances
from sas_jax.instances.naming import name_instances
from sas_jax.instances.paint import instance_colors
from sas_jax.instances.stage import proposals_key, propose_scene
from sas_jax.instances.submission import write_submission
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.extract import extraction_key
from sas_jax.lifting.seen_masks import checked_masks, seen_masks
from sas_jax.scenes.ply_write import write_ply
from sas_jax.scenes.scene import Scene
from sas_jax.teachers.contracts import MaskTeacher

_METHOD = flags.DEFINE_string(
    "method",
    "",
    "Features that join superpoints, such as student/NAME; default: fused.",
)
_MASK3D = flags.DEFINE_string("mask3d", "", "Weights of Mask3D, or random:<seed>.")
_CLASSES = flags.DEFINE_bool("mask3d_classes", False, "Keep the classes of Mask3D.")
_NAME = flags.DEFINE_string("name", "proposals", "What the instances are called.")
_SUBMISSION = flags.DEFINE_string("submission", "", "Folder for ScanNet's files.")
_MESHES = flags.DEFINE_string("meshes", "", "Folder for coloured meshes (PLY).")


def main() -> None:
    """Propose, and write what else is asked for."""
    scans = settings.scans(stage_flags.SPLITS.value)
    features = _method()
    if not _MASK3D.value or _SUBMISSION.value:
        method(features, [scan.name for scan in scans])  # says what is missing
    cut(scans)
    if _MASK3D.value:
        features = "Mask3D"
        tally = mask3d_proposals.propose(
            scans, _NAME.value, _MASK3D.value, named=_CLASSES.value
        )
    else:
        tally = propose(scans, features)
    bar = tqdm(scans, desc="files", unit="scene", disable=not _asked())
    counts = [_written(scan) for scan in bar]
    row = {
        "instances": _NAME.value,
        "features": features,
        "scenes": len(scans),
        "made": tally.made,
        "per scene": round(float(np.mean(counts)), 1),
        "seconds": tally.seconds,
    }
    print(settings.table([row]))


def propose(wanted: Sequence[Scan], features: str) -> Tally:
    """Propose the instances of the scans that are not up to date.

    Args:
      wanted: scans, whose superpoints are there.
      features: method whose features join superpoints, see `scored.method`.
    """
    workspace, memo = settings.workspace(), settings.memo()
    config, scans = stage_flags.PROPOSALS.make(), {s.name: s for s in wanted}
    extract = stage_flags.EXTRACT.make(lift=stage_flags.LIFT.make())
    voters = _voters()

    def job(name: str) -> Job:
        key = proposals_key(
            scans[name].key("geometry", memo=memo),
            manifest_sum(workspace.superpoints(name)),
            method(features, [name]).state(loaded=False),
            config,
            _masks_keys(scans[name], voters, extract),
        )
        return Job(name, workspace.instances(_NAME.value, name), key, is_current)

    def make(job: Job) -> None:
        size = extract.image_size_wh
        scene = scans[job.name].open(image_size_wh=size, annotations=False)
        superpoints = load_superpoints(workspace.superpoints(job.name), scene.points)
        seen = next(iter(method(features, [job.name]).views(scene, 0)))
        masks = (seen_masks(scene, teacher, extract) for teacher in voters)
        frames = itertools.chain.from_iterable(masks)
        found = propose_scene(scene, superpoints, seen, config, frames)
        save_instances(job.path, found, points=scene.points, key=job.key)

    return settings.run_scenes("instances", [job(name) for name in scans], make)


def _voters() -> list[MaskTeacher]:
    if not stage_flags.MASK_VOTES.value:
        return []
    import torch  # only where a teacher looks at frames

    torch.set_num_threads(stage_flags.THREADS.value)
    return [
        checked_masks(settings.load_model(name))
        for name in stage_flags.MASK_VOTES.value
    ]


def _masks_keys(
    scan: Scan, voters: Sequence[MaskTeacher], config: ExtractConfig
) -> list[str]:
    """Return what identifies the masks that vote; nothing is read without any."""
    if not voters:
        return []
    memo, stride = settings.memo(), config.frame_stride
    views = scan.key("views", frame_stride=stride, memo=memo)
    return [extraction_key(views, teacher, config) for teacher in voters]


def _method() -> str:
    return _METHOD.value or f"fused/{settings.fused_name()}"


def _asked() -> bool:
    return bool(_SUBMISSION.value or _MESHES.value)


def _written(scan: Scan) -> int:
    """Write what is asked for of a scan; return its number of instances."""
    path = settings.workspace().instances(_NAME.value, scan.name)
    if not _asked():
        return len(load_instances(path))
    scene = scan.open(annotations=False)
    found = load_instances(path, scene.points)
    if _MESHES.value:
        target = pathlib.Path(_MESHES.value) / f"{scan.name}.ply"
        colors = instance_colors(found)
        write_ply(target, scene.points, colors=colors, faces=scene.faces)
    if _SUBMISSION.value:
        closed = (found.classes >= 0).any()
        named = found if closed else _named(found, scene)
        folder = pathlib.Path(_SUBMISSION.value)
        write_submission(folder, scan.name, named, settings.label_set())
    return len(found)


def _named(found: Instances, scene: Scene) -> Instances:
    chosen = method(_method(), [scene.name])
    texts, config = question_texts(chosen.space), stage_flags.NAMING.make()
    views = next(iter(chosen.views(scene, 0)))
    return name_instances(found, views, texts, settings.label_set(), config)


if __name__ == "__main__":
    settings.run(main)
