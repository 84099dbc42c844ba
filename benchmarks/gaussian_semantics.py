"""Semantics of Gaussians on rooms: the paper's Table 5 in small.

python benchmarks/gaussian_semantics.py SPLATS --data_root=data/rooms --references \
    --features fused=FOLDER ... --of_splats="trained, 500 steps"

SPLATS holds <scene>.ply, of train_splats.py or splats_of_scans.py. Each FOLDER holds
files of the same Gaussians with features beside them, as label_splats.py writes them.
References are the teachers of the rooms, on the frames themselves, and the ceiling:
true labels, of the nearest point of the scan within 10 cm. Appends a row a method to
benchmarks/results/gaussian_semantics.jsonl.

Pixels: every fourth frame from the second on, which --frame_stride=2 does not lift, of
all test rooms, one confusion; the truth of a pixel is the labelled point within 10 cm
of where its depth ends, unseen pixels are missed. Points: those of the scan, each by
the nearest Gaussian that is at least 0.1 opaque; OpenGaussian's protocol, whose
Gaussians are the points themselves, the mean over scenes.
"""

import argparse
import functools
import pathlib
import sys
import time

import measure
import numpy as np
from scipy.spatial import cKDTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.artefacts.features import load_features
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.datasets.scannet import ScanNet
from sas_jax.evaluation.confusion import NO_PREDICTION, count, score
from sas_jax.evaluation.image_truth import ImageTruth
from sas_jax.evaluation.protocol import questions
from sas_jax.evaluation.semantic import classify
from sas_jax.gaussians.files.rewrite import read_splat_file
from sas_jax.gaussians.files.sidecar import sidecar_of
from sas_jax.gaussians.lift_scene import camera_at
from sas_jax.gaussians.projection import gaussians_of
from sas_jax.gaussians.semantics import (
    LEAST_OPACITY,
    LabelMaps,
    class_shares,
    true_shares,
)
from sas_jax.gaussians.splats import Splats
from sas_jax.lifting.extract import feature_images
from sas_jax.lifting.lift import VOID, MaskFeatures, grid_cells
from sas_jax.registry import LoadOptions
from sas_jax.scenes.labels import label_set
from sas_jax.scenes.scene import Scene, usable_frames
from sas_jax.teachers import registry as teachers
from sas_jax.text import registry as towers

SETS = ("scannet20", "scannet19")
POINT_SETS = ("scannet19", "scannet15", "scannet10")
_NEAR_M = 0.1
TEACHERS = ("rooms-dense", "rooms-mask")


@functools.cache
def texts_of(space: TextSpace, labels: str) -> TextFeatures:
    """Return the texts of a label set's classes."""
    asked = questions(label_set(labels))
    return TextFeatures(towers.of_space(space, "features").encode(asked), space)


def teacher_map(found, texts: TextFeatures, size_hw) -> np.ndarray:
    """Return the class of each pixel by what a teacher says of it, -1 without."""
    masks = isinstance(found, MaskFeatures)
    grid = found.index.shape if masks else found.shape[:2]
    table = found.codebook if masks else found.reshape(-1, found.shape[2])
    said = np.argmax(table.astype(np.float32) @ texts.rows.T, axis=1)
    said = np.append(said, NO_PREDICTION)
    index = found.index if masks else np.arange(len(table)).reshape(grid)
    index = np.where(index == VOID, len(table), index)
    pixels = np.indices(size_hw).reshape(2, -1).T
    rows, columns = grid_cells(pixels, size_hw, grid).T
    return said[index[rows, columns]].reshape(size_hw)


def true_labels(scene: Scene, splats: Splats) -> np.ndarray:
    """Return the label of the point nearest to each Gaussian, -1 where none is near."""
    far, nearest = cKDTree(scene.points).query(splats.means)
    return np.where(far <= _NEAR_M, scene.labels[nearest], -1)


def nearest_seen(splats: Splats, points: np.ndarray) -> np.ndarray:
    """Return the Gaussian nearest to each point, of those that are opaque enough."""
    seen = np.flatnonzero(splats.opacities >= LEAST_OPACITY)
    return seen[cKDTree(splats.means[seen]).query(points)[1]]


class Scores:
    """Counts of every method and label set, added up over scenes."""

    def __init__(self):
        self.pixels, self.points = {}, {}

    def add(self, method: str, labels: str, truth: np.ndarray, said: np.ndarray):
        """Add the pixels of a frame."""
        num = len(label_set(labels).classes.names)
        counts = count(truth.ravel(), said.ravel().astype(np.int32), num)
        key = method, labels
        self.pixels[key] = self.pixels.get(key, 0) + counts

    def rows(self):
        """Yield a row of each method."""
        for method in dict.fromkeys(m for m, _ in [*self.pixels, *self.points]):
            row = {"method": method}
            for labels in SETS:
                if (method, labels) in self.pixels:
                    got = score(self.pixels[method, labels])
                    row[f"{labels} mIoU"] = round(got.miou, 2)
                    row[f"{labels} mAcc"] = round(got.macc, 2)
                    unseen = self.pixels[method, labels][:, -1].sum()
                    share = unseen / self.pixels[method, labels].sum()
                    row["unseen %"] = round(100 * float(share), 2)
            for labels in POINT_SETS:
                if (method, labels) in self.points:
                    every = [score(c) for c in self.points[method, labels]]
                    miou = float(np.mean([s.miou for s in every]))
                    macc = float(np.mean([s.macc for s in every]))
                    row[f"points {labels} mIoU"] = round(miou, 2)
                    row[f"points {labels} mAcc"] = round(macc, 2)
            yield row


def add_scene(scores: Scores, path: pathlib.Path, splats: pathlib.Path, folders, found):
    """Score all methods on a scene."""
    file = read_splat_file(splats / f"{path.name}.ply")
    gaussians, data = gaussians_of(file.splats), ScanNet()
    scenes = {n: data.open(path, label_set=label_set(n)) for n in (*SETS, *POINT_SETS)}
    maps = {}
    for labels in SETS if found else ():
        num = len(label_set(labels).classes.names)
        shares = true_shares(true_labels(scenes[labels], file.splats), num)
        maps["truth", labels] = LabelMaps(gaussians, shares)
    for name, folder in folders.items():
        beside = sidecar_of(folder / f"{path.name}.ply")
        features = load_features(beside, file.splats.means)
        for labels in SETS:
            texts = texts_of(features.space, labels)
            shares = class_shares(features, texts)
            maps[f"{name}: classes", labels] = LabelMaps(gaussians, shares)
        dense, texts = features.dense(), texts_of(features.space, SETS[0])
        maps[f"{name}: features", SETS[0]] = LabelMaps(gaussians, dense, texts.rows)
        nearest = nearest_seen(file.splats, scenes[SETS[0]].points)
        for labels in POINT_SETS:
            truth = scenes[labels].labels
            said = classify(features, texts_of(features.space, labels))[nearest]
            counts = count(truth, said, len(label_set(labels).classes.names))
            scores.points.setdefault((name, labels), []).append(counts)
    truths = {labels: ImageTruth(scenes[labels]) for labels in SETS}
    source = scenes[SETS[0]].frame_source
    for frame in usable_frames(source, source.names[1::4], {}):
        truth = {labels: truths[labels].of(frame) for labels in SETS}
        for (method, labels), named in maps.items():
            said = named.at(camera_at(frame), frame.size_hw)
            scores.add(method, labels, truth[labels], said)
        for name, (teacher, captioner) in found.items():
            (image,) = feature_images([frame.rgb], teacher, captioner)
            for labels in SETS:
                texts = texts_of(teacher.spec.text_space, labels)
                said = teacher_map(image, texts, frame.size_hw)
                scores.add(f"2-D {name}", labels, truth[labels], said)


def main() -> None:
    """Score the test rooms, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("splats", type=pathlib.Path)
    parser.add_argument("--data_root", type=pathlib.Path, default="data/rooms")
    parser.add_argument("--references", action="store_true")
    parser.add_argument("--features", nargs="*", default=[])
    parser.add_argument("--of_splats", default="discs at the scan's points")
    parser.add_argument("--student", help="how the student of these features learned")
    parser.add_argument("--rooms_seed", type=int, default=9)
    args = parser.parse_args()
    given = dict(one.split("=", 1) for one in args.features)
    folders = {name: pathlib.Path(folder) for name, folder in given.items()}
    found, scores, began = {}, Scores(), time.monotonic()
    if args.references:
        space = teachers.load(TEACHERS[0], LoadOptions()).spec.text_space.name
        options = LoadOptions(label_space=space)
        captioner = teachers.load("colour-size", options)
        found = {n: (teachers.load(n, options), captioner) for n in TEACHERS}
    names = ScanNet().scan_names(args.data_root, "test")
    for name in names:
        add_scene(scores, args.data_root / "scans" / name, args.splats, folders, found)
        print(name, f"{time.monotonic() - began:.0f} s", flush=True)
    for row in scores.rows():
        facts = {"rooms": len(names), "rooms_seed": args.rooms_seed}
        facts["splats"] = args.of_splats
        if args.student and "student" in row["method"]:
            facts["student"] = args.student
        measure.append("gaussian_semantics", {**row, **facts})


if __name__ == "__main__":
    main()
