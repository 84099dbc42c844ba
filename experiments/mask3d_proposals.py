"""Proposals by Mask3D, scene by scene, for segment_instances.py."""

import dataclasses
import functools
from collections.abc import Sequence

import settings
from scored import manifest_sum

from sas_jax.artefacts import files
from sas_jax.artefacts.stage import Job, Tally
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.artefacts.versions import decided_by
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.instances.files import is_current, save_instances
from sas_jax.instances.masks import NO_CLASS, Instances
from sas_jax.instances.postprocess import OPENMASK3D, PostConfig, mask3d_classes
from sas_jax.scenes.scene import Scene
from sas_jax.weights.find import seed_of


def propose(wanted: Sequence[Scan], name: str, weights: str, *, named: bool) -> Tally:
    """Propose the instances of the scans that are not up to date.

    Args:
      wanted: scans, whose superpoints are there.
      name: what the instances are called.
      weights: a published checkpoint, or `random:<seed>`.
      named: keep the network's classes; else masks alone, as OpenMask3D takes them.
    """
    workspace, memo = settings.workspace(), settings.memo()
    scans = {scan.name: scan for scan in wanted}
    state = weights if seed_of(weights) is not None else _sum(weights)
    made_by = decided_by("sas_jax.instances.mask3d.predict")

    def job(scene: str) -> Job:
        superpoints = manifest_sum(workspace.superpoints(scene))
        geometry = scans[scene].key("geometry", memo=memo)
        key = files.content_key([made_by, state, named, geometry, superpoints])
        return Job(scene, workspace.instances(name, scene), key, is_current)

    def make(job: Job) -> None:
        scene = scans[job.name].open(annotations=False)
        superpoints = load_superpoints(workspace.superpoints(job.name), scene.points)
        found = _proposed(scene, superpoints, weights, named=named)
        save_instances(job.path, found, points=scene.points, key=job.key)

    return settings.run_scenes("mask3d", [job(scene) for scene in scans], make)


def _proposed(scene: Scene, superpoints, weights: str, *, named: bool) -> Instances:
    if scene.colors is None:
        raise InputError(
            f"mask3d: a scan with colours is required, got none (scene {scene.name}). "
            "Leave out --mask3d: superpoints and features propose without."
        )
    network = _network(weights)
    said = network.propose(scene.points, scene.colors, superpoints)
    if named:
        columns = said.class_logits.shape[1] - 1
        names = mask3d_classes(settings.label_set(), columns)
        return dataclasses.replace(said.instances(PostConfig()), class_names=names)
    masks = said.instances(OPENMASK3D)
    none = masks.classes * 0 + NO_CLASS
    return dataclasses.replace(masks, classes=none)


def _sum(weights: str) -> str:
    try:
        return files.sha256_file(weights)
    except OSError as error:
        raise InputError(
            f"mask3d: a checkpoint must exist, got none ({weights}). Correct --mask3d, "
            "or try it without weights: --mask3d=random:0"
        ) from error


@functools.cache
def _network(weights: str):
    # Imported here: proposals of superpoints need no flax.
    from sas_jax.instances.mask3d.config import SCANNET200
    from sas_jax.instances.mask3d.initial import draw
    from sas_jax.instances.mask3d.port import read_lightning
    from sas_jax.instances.mask3d.predict import Predictor

    if (seed := seed_of(weights)) is not None:
        return Predictor(SCANNET200, draw(SCANNET200, seed))
    return Predictor(*read_lightning(weights))
