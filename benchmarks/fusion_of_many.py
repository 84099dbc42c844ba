"""Fusion of two to six teachers on rooms: every choice of them, every way to fuse.

  python benchmarks/fusion_of_many.py --folder=/tmp/designs --designs=held-out:0
    --weights randomised=runs/random0/both plain=runs/plain0/both

The teachers are the two of the rooms, `imagenet`, and the pairs of --weights, which
saw another part of the catalogue. `oracle` fuses by the true IoU on these rooms, `best`
is the best of the chosen teachers alone. A row per number of teachers holds means over
all choices of that many; `below_best` counts choices that capability made worse than
their best teacher, and one row says of each such choice where it lost, and whom it
trusted there.
"""

import argparse
import itertools
import pathlib

import measure
import numpy as np
import rooms_teachers as rooms

from sas_jax.capability.store import read_table
from sas_jax.evaluation import semantic
from sas_jax.fusion.fuse import FuseConfig, capability_weights
from sas_jax.teachers import registry

SHIPPED = ("rooms-dense", "rooms-mask", "imagenet")
WAYS = ("linear", "add", "capability", "oracle")
RESULTS = "fusion_of_many"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--designs", default="held-out:0")
    parser.add_argument("--weights", nargs="*", default=[])
    parser.add_argument("--rooms", type=int, default=6)
    parser.add_argument("--frame_stride", type=int, default=2)
    args = parser.parse_args()
    chosen = {name: (name, None) for name in SHIPPED}
    for label, source in (each.split("=", 1) for each in args.weights):
        for name in SHIPPED[:2]:
            path = pathlib.Path(source) / f"{name.replace('-', '_')}.safetensors"
            chosen[f"{label}-{name}"] = (name, path)
    teachers, texts = rooms.load(chosen), rooms.class_texts()
    scans = rooms.rooms(args.designs, args.rooms, args.folder)
    made = rooms.scenes(scans, teachers, args.folder, args.frame_stride)
    tables = {name: measured(name, t, args.folder) for name, t in teachers.items()}
    alone = {
        name: rooms.fused_iou(made, [name], "single", None, texts) for name in teachers
    }
    what = {"designs": args.designs, "rooms": args.rooms}
    for name in teachers:
        score = round(float(np.nanmean(alone[name])), 1)
        measure.append(
            RESULTS, {"what": "alone", **what, "teacher": name} | {"miou": score}
        )
    for size in range(2, len(teachers) + 1):
        of_size(size, made, tables, alone, texts, what)


def measured(name: str, teacher, folder: pathlib.Path) -> np.ndarray:
    """Return the capability: the shipped table where there is one of these weights."""
    shipped = registry.shipped_capability(name) if name in SHIPPED else None
    return read_table(shipped).miou if shipped else rooms.capability(teacher, folder)


def of_size(size: int, made, tables, alone, texts, what: dict) -> None:
    """Append the row of a number of teachers, and one of each choice that lost."""
    scores, below = {way: [] for way in ("best", *WAYS)}, 0
    for names in itertools.combinations(tables, size):
        best = max(names, key=lambda name: np.nanmean(alone[name]))
        measured = np.stack([tables[name] for name in names])
        truly = rooms.oracle(made, names, texts)
        found = {
            "linear": rooms.fused_iou(made, names, "linear", None, texts),
            "add": rooms.fused_iou(made, names, "add", None, texts),
            "capability": rooms.fused_iou(made, names, "capability", measured, texts),
            "oracle": rooms.fused_iou(made, names, "capability", truly, texts),
            "best": alone[best],
        }
        for way, each in found.items():
            scores[way].append(np.nanmean(each))
        if scores["capability"][-1] < scores["best"][-1]:
            below += 1
            row = {"what": "below the best", **what, "teachers": list(names)}
            row |= {"best": best} | loss(made, names, best, measured, found, texts)
            measure.append(RESULTS, row)
    means = {way: round(float(np.mean(each)), 1) for way, each in scores.items()}
    row = {"what": "fusion", **what, "teachers": size, "choices": len(scores["best"])}
    measure.append(RESULTS, row | means | {"below_best": below})


def loss(made, names, best: str, table, found, texts) -> dict:
    """Say by how much a fusion lost, in which classes, and the weights it gave."""
    gap = found["capability"] - found["best"]
    order = np.argsort(np.where(np.isnan(gap), np.inf, gap))
    weights = np.concatenate([point_weights(s, names, table, texts) for s in made], 1)
    return {
        "gap": round(float(np.nanmean(gap)), 1),
        "oracle_gap": round(float(np.nanmean(found["oracle"] - found["best"])), 1),
        "worst": {rooms.WORDS.names[k]: round(float(gap[k]), 1) for k in order[:4]},
        "weights": {
            name: round(float(mean), 2)
            for name, mean in zip(names, weights.mean(1), strict=True)
        },
    }


def point_weights(scene: rooms.Scene, names, table, texts) -> np.ndarray:
    """Return the weight of every teacher on every point that one of them has."""
    answers = np.stack([semantic.classify(scene.features[n], texts) for n in names])
    answers = answers[:, (answers >= 0).any(0)]
    return capability_weights(answers, answers >= 0, table, FuseConfig())


if __name__ == "__main__":
    main()
