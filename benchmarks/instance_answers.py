"""Answers as whole things beside connected regions, on rooms with true labels.

  python benchmarks/instance_answers.py --data_root=data/rooms --workspace=runs/rooms

Asks every test room for every class of ScanNet's twenty, "a chair", by the fused
features averaged over superpoints, as query.py does. `right`: most points of the best
answer are of the class; `iou`: of it with the best true instance of the class, 0
without an answer; `false`: answers to what is not there. Needs the workspace of
rooms.flags and its instances (segment_instances.py).
"""

import argparse
import pathlib
import sys

import measure
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.artefacts.features import load_features
from sas_jax.artefacts.space import TextFeatures
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.artefacts.workspace import Workspace
from sas_jax.datasets.registry import open_folder
from sas_jax.evaluation import query
from sas_jax.instances.answers import answers
from sas_jax.instances.files import load_instances
from sas_jax.scenes.labels import SCANNET20
from sas_jax.text import registry

# Of a class that is there; fewer points are a rest that no camera saw.
LEAST_POINTS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_root", type=pathlib.Path, default="data/rooms")
    parser.add_argument("--workspace", type=pathlib.Path, default="runs/rooms")
    args = parser.parse_args()
    names = (args.data_root / "splits" / "test.txt").read_text().split()
    tower = registry.load("minilm-l6-v2")

    def encode(texts: list[str]) -> TextFeatures:
        return TextFeatures(tower.encode(texts), tower.space)

    anything = encode(list(query.ANYTHING))
    asked = [
        (index, encode([f"a {name}"]))
        for index, name in enumerate(SCANNET20.classes.names)
    ]
    rows: dict[str, list[tuple]] = {"regions": [], "instances": []}
    for name in names:
        scene = open_folder(args.data_root / "scans" / name)
        workspace = Workspace(args.workspace)
        superpoints = load_superpoints(workspace.superpoints(name), scene.points)
        fused = load_features(workspace.fused("capability", name), scene.points)
        features = query.unit_features(fused)
        things = load_instances(workspace.instances("proposals", name), scene.points)
        config = query.config_for(scene.points)
        for index, text in asked:
            values = query.point_relevancy(
                features, text, anything, superpoints=superpoints
            )
            found = {
                "regions": query.regions(scene.points, values, config),
                "instances": answers(scene.points, values, things, config),
            }
            for way, best in found.items():
                rows[way].append(judged(scene, index, best[:1]))
    for way, judgements in rows.items():
        there = [(right, iou) for is_there, right, iou in judgements if is_there]
        absent = [right for is_there, right, _ in judgements if not is_there]
        row = {
            "answers": way,
            "rooms": len(names),
            "questions": len(there),
            "right": sum(right is True for right, _ in there),
            "iou": round(float(np.mean([iou for _, iou in there])), 3),
            "absent": len(absent),
            "false": sum(right is not None for right in absent),
        }
        measure.append("instance_answers", row)


def judged(scene, index: int, best: list) -> tuple[bool, bool | None, float]:
    """Return whether the class is there, and whether the answer is right, and its IoU.

    The second is None without an answer.
    """
    of_class = scene.labels == index
    is_there = bool(of_class.sum() >= LEAST_POINTS)
    if not best:
        return is_there, None, 0.0
    answer = np.zeros(len(of_class), bool)
    answer[best[0].points] = True
    ious = [
        (answer & (scene.instances == each)).sum()
        / (answer | (scene.instances == each)).sum()
        for each in np.unique(scene.instances[of_class])
    ]
    right = bool(of_class[answer].mean() > 0.5)
    return is_there, right, float(max(ious, default=0.0))


if __name__ == "__main__":
    main()
