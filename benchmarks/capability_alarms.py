"""What capability misses: false alarms. Two ways to measure it, by what fusion makes.

  python benchmarks/capability_alarms.py --folder=build/designs
    --weights randomised=runs/random0/both plain=runs/plain0/both

Eq. 3 looks for a class on the images of that class alone: a teacher that says it
everywhere is never contradicted. With --capability_score=all, here `all`, what it says
falsely on the images of other classes counts too. Needs the features of
`fusion_of_many.py`.
"""

import argparse
import itertools
import pathlib

import fusion_of_many as many
import measure
import numpy as np
import rooms_teachers as rooms

from sas_jax.capability import store
from sas_jax.capability.measure import (
    alarmed_scores,
    class_shares,
    teacher_prediction,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--designs", default="held-out:0")
    parser.add_argument("--weights", nargs="*", default=[])
    parser.add_argument("--rooms", type=int, default=6)
    parser.add_argument("--frame_stride", type=int, default=2)
    args = parser.parse_args()
    chosen = many.chosen_teachers(args.weights)
    del chosen["imagenet"]  # two seconds an image
    teachers, texts = rooms.load(chosen), rooms.class_texts()
    measured = [rooms.capability(t, args.folder) for t in teachers.values()]
    confused = [by_all_images(t, args.folder) for t in teachers.values()]
    scans = rooms.rooms(args.designs, args.rooms, args.folder)
    made = rooms.scenes(scans, teachers, args.folder, args.frame_stride)
    kept = [many.room(scene, texts) for scene in made]
    every = list(range(len(teachers)))
    alone = np.stack([many.iou(kept, "best", [k]) for k in every])
    tables = {"own": np.stack(measured), "all": np.stack(confused)}
    tables["oracle"] = np.nan_to_num(alone / 100)
    what = {"designs": args.designs, "rooms": args.rooms}
    for way, table in tables.items():
        alike = np.corrcoef(table.ravel(), tables["oracle"].ravel())[0, 1]
        row = {"what": "correlation with the true IoU", **what, "capability": way}
        measure.append("capability_alarms", row | {"r": round(float(alike), 2)})
    for size in range(2, len(every) + 1):
        choices = list(map(list, itertools.combinations(every, size)))
        best = np.array([np.nanmean(alone[c], 1).max() for c in choices])
        row = {"what": "fusion", **what, "teachers": size, "choices": len(choices)}
        row["best"] = round(float(best.mean()), 1)
        for way, table in tables.items():
            found = [many.iou(kept, "capability", c, table[c]) for c in choices]
            scores = np.nanmean(found, 1)
            row[way] = round(float(scores.mean()), 1)
            row[f"{way}_below_best"] = int((scores < best).sum())
            if size == 2:
                row[f"{way}_first_pair"] = round(float(scores[0]), 1)
        measure.append("capability_alarms", row)


def by_all_images(teacher, folder: pathlib.Path) -> np.ndarray:
    """Return the IoU of every class from what is said within the masks of all."""
    names = rooms.WORDS.names
    shares = np.zeros((len(names), len(names)))
    for index, name in enumerate(names):
        entry = store.read_images(folder / "capability", name)
        said = teacher_prediction(teacher, entry.images, names, rooms.CAPABILITY)
        shares[index] = class_shares(entry.refined, said, len(names))
    return alarmed_scores(shares)


if __name__ == "__main__":
    main()
