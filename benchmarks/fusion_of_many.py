"""Fusion of two to seven teachers on rooms: every choice of them, every way to fuse.

  python benchmarks/fusion_of_many.py --folder=build/designs --designs=held-out:0
    --weights randomised=runs/random0/both plain=runs/plain0/both

The teachers are the two of the rooms, `imagenet`, and the pairs of --weights, which
saw another part of the catalogue. `oracle` fuses by the true IoU on these rooms, `best`
is the best of the chosen teachers alone. A row per number of teachers holds means over
all choices of that many; `below_best` counts choices that capability made worse than
their best teacher, and one row says of each such choice where it lost, and whom it
trusted there.
"""

import argparse
import dataclasses
import itertools
import pathlib

import measure
import numpy as np
import rooms_teachers as rooms

from sas_jax.capability.store import read_table
from sas_jax.fusion.strategies import FuseConfig, capability_weights
from sas_jax.teachers import registry

SHIPPED = ("rooms-dense", "rooms-mask", "imagenet")
RESULTS = "fusion_of_many"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--designs", default="held-out:0")
    parser.add_argument("--weights", nargs="*", default=[])
    parser.add_argument("--rooms", type=int, default=6)
    parser.add_argument("--frame_stride", type=int, default=2)
    args = parser.parse_args()
    teachers, texts = rooms.load(chosen_teachers(args.weights)), rooms.class_texts()
    scans = rooms.rooms(args.designs, args.rooms, args.folder)
    made = rooms.scenes(scans, teachers, args.folder, args.frame_stride)
    tables = [measured(name, t, args.folder) for name, t in teachers.items()]
    names, tables = list(teachers), np.stack(tables)
    kept = [room(scene, texts) for scene in made]
    alone = np.stack([iou(kept, "best", [k]) for k in range(len(names))])
    everyone = list(range(len(names)))
    by_features = rooms.fused_iou(made, names, "capability", tables, texts)
    by_products = iou(kept, "capability", everyone, tables)
    print("of features less of products:", np.nanmax(np.abs(by_features - by_products)))
    what = {"designs": args.designs, "rooms": args.rooms}
    for name, each in zip(names, alone, strict=True):
        row = {"what": "alone", **what, "teacher": name}
        measure.append(RESULTS, row | {"miou": round(float(np.nanmean(each)), 1)})
    for size in range(2, len(names) + 1):
        of_size(size, kept, names, tables, alone, what)


def chosen_teachers(weights: list[str]) -> dict:
    """Return what `rooms.load` takes: the shipped teachers, and pairs of weights."""
    chosen = {name: (name, None) for name in SHIPPED}
    for label, source in (each.split("=", 1) for each in weights):
        for name in SHIPPED[:2]:
            path = pathlib.Path(source) / f"{name.replace('-', '_')}.safetensors"
            chosen[f"{label}-{name}"] = (name, path)
    return chosen


def measured(name: str, teacher, folder: pathlib.Path) -> np.ndarray:
    """Return the capability: the shipped table where there is one of these weights."""
    shipped = registry.shipped_capability(name) if name in SHIPPED else None
    return read_table(shipped).miou if shipped else rooms.capability(teacher, folder)


@dataclasses.dataclass(frozen=True)
class Room:
    """What teachers say of the points of a room.

    A fused feature's products with the texts are the weighted sum of the teachers', so
    that every choice of teachers is fused without a feature.

    Attributes:
      truth: class of each point.
      products: f32 [T, P, K] with the texts, 0 where unseen.
      length: f32 [T, P] of the features.
      seen: which points each teacher has.
    """

    truth: np.ndarray
    products: np.ndarray
    length: np.ndarray
    seen: np.ndarray

    def weights(self, way: str, chosen: list[int], table) -> np.ndarray:
        """Return the weight of each chosen teacher on each point, up to a factor."""
        products, seen = self.products[chosen], self.seen[chosen]
        if way == "linear":
            best = products.max(2) / np.maximum(self.length[chosen], 1e-12)
            best = np.maximum(best, 0) * seen
            return np.where(best.sum(0) > 0, best, seen)
        if way in ("add", "best"):
            return seen.astype(np.float32)
        one = np.zeros(seen.shape)
        some = seen.any(0)
        says = products[:, some].argmax(2)
        one[:, some] = capability_weights(says, seen[:, some], table, FuseConfig())
        return one

    def answer(self, way: str, chosen: list[int], table=None) -> np.ndarray:
        """Return the class of each point, -1 where no chosen teacher has it."""
        weights = self.weights(way, chosen, table)
        fused = np.einsum("tp,tpk->pk", weights, self.products[chosen])
        return np.where(self.seen[chosen].any(0), fused.argmax(1), -1)


def room(scene: rooms.Scene, texts) -> Room:
    """Multiply the features of a room with the texts."""
    dense = np.stack([f.dense() for f in scene.features.values()])
    seen = np.stack([f.seen for f in scene.features.values()])
    products = dense @ texts.rows.T.astype(np.float32)
    return Room(scene.truth, products, np.linalg.norm(dense, axis=2), seen)


def iou(made: list[Room], way: str, chosen: list[int], table=None) -> np.ndarray:
    """Return the IoU of every class over all rooms."""
    return rooms.iou([(r.truth, r.answer(way, chosen, table)) for r in made])


def of_size(size: int, made: list[Room], names, tables, alone, what: dict) -> None:
    """Append the row of a number of teachers, and one of each choice that lost."""
    scores, below = {way: [] for way in ("best", *rooms.WAYS)}, 0
    truly = np.nan_to_num(alone / 100)
    for chosen in map(list, itertools.combinations(range(len(names)), size)):
        best = max(chosen, key=lambda k: np.nanmean(alone[k]))
        found = {
            "best": alone[best],
            "linear": iou(made, "linear", chosen),
            "add": iou(made, "add", chosen),
            "capability": iou(made, "capability", chosen, tables[chosen]),
            "oracle": iou(made, "capability", chosen, truly[chosen]),
        }
        for way, each in found.items():
            scores[way].append(np.nanmean(each))
        if scores["capability"][-1] < scores["best"][-1]:
            below += 1
            row = {"what": "below the best", **what, "best": names[best]}
            row |= loss(made, chosen, names, tables[chosen], found)
            measure.append(RESULTS, row)
    means = {way: round(float(np.mean(each)), 1) for way, each in scores.items()}
    row = {"what": "fusion", **what, "teachers": size, "choices": len(scores["best"])}
    measure.append(RESULTS, row | means | {"below_best": below})


def loss(made: list[Room], chosen: list[int], names, table, found) -> dict:
    """Say by how much a fusion lost, in which classes, and the weights it gave."""
    gap = found["capability"] - found["best"]
    order = np.argsort(np.where(np.isnan(gap), np.inf, gap))
    weights = [r.weights("capability", chosen, table).mean(1) for r in made]
    mean = np.mean(weights, axis=0)
    return {
        "gap": round(float(np.nanmean(gap)), 1),
        "oracle_gap": round(float(np.nanmean(found["oracle"] - found["best"])), 1),
        "worst": {rooms.WORDS.names[k]: round(float(gap[k]), 1) for k in order[:4]},
        "weights": {
            names[k]: round(float(w), 2) for k, w in zip(chosen, mean, strict=True)
        },
    }


if __name__ == "__main__":
    main()
