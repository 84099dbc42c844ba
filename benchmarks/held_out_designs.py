"""Teachers and their fusion on furniture of designs that nobody trained on.

  python benchmarks/held_out_designs.py --folder=build/designs
    --weights shipped plain=runs/plain{split}/both randomised=runs/random{split}/both

  python benchmarks/held_out_designs.py --folder=build/designs --designs held-out
    --weights randomised=runs/random{split}/both
    --painter=runs/painter{split}/diffusion/rooms_diffusion.safetensors

Each split holds out other designs (`catalogue.split_designs`). Weights are those of
`pretrain_rooms.py --model=both --designs=train:<split>`. The shipped ones saw the whole
catalogue in their first stages: nothing is held out from them. Gain is fused by
capability less the better teacher; `oracle` fuses by the true IoU on these rooms.
"""

import argparse
import pathlib

import measure
import numpy as np
import rooms_teachers as rooms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--weights", nargs="*", default=["shipped"])
    parser.add_argument("--splits", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--rooms", type=int, default=12)
    parser.add_argument("--designs", nargs="*", default=["train", "held-out"])
    parser.add_argument("--painter", help="Its weights; default: the shipped ones.")
    args = parser.parse_args()
    texts, rows = rooms.class_texts(), []
    for label, _, source in (each.partition("=") for each in args.weights):
        for split in args.splits:
            teachers = load(label, source, split)
            painter = args.painter and pathlib.Path(args.painter.format(split=split))
            tables = {
                name: rooms.capability(teacher, args.folder, painter)
                for name, teacher in teachers.items()
            }
            known = None
            for part in args.designs:
                scans = rooms.rooms(f"{part}:{split}", args.rooms, args.folder)
                made = rooms.scenes(scans, teachers, args.folder)
                found = rooms.strategies(made, list(teachers), tables, texts, known)
                dense, mask = (found.pop(name) for name in teachers)
                gain = round(found["capability"] - max(dense, mask), 1)
                scores = {"dense": dense, "mask": mask, **found, "gain": gain}
                what = {"weights": label, "split": split, "designs": part}
                if args.painter:
                    what["painter"] = "of the split"
                rows.append(what | {"rooms": args.rooms} | scores)
                measure.append("held_out_designs", rows[-1])
                known = rooms.oracle(made, list(teachers), texts)
    table(rows)


def load(label: str, source: str, split: int) -> dict:
    """Load dense and mask teacher of one training, or the shipped ones."""
    names = ("rooms-dense", "rooms-mask")
    if not source:
        return rooms.load({name: (name, None) for name in names})
    folder = pathlib.Path(source.format(split=split))
    files = (folder / f"{name.replace('-', '_')}.safetensors" for name in names)
    weights = zip(names, zip(names, files, strict=True), strict=True)
    return rooms.load({f"{label}{split}-{name}": each for name, each in weights})


def table(rows: list[dict]) -> None:
    """Print means over the splits, with their standard deviation."""
    columns = ("dense", "mask", *rooms.WAYS, "gain")
    print(f"{'weights':<14}{'designs':<10}" + "".join(f"{c:>14}" for c in columns))
    for label, part in dict.fromkeys((r["weights"], r["designs"]) for r in rows):
        same = [r for r in rows if (r["weights"], r["designs"]) == (label, part)]
        cells = ""
        for column in columns:
            values = [row[column] for row in same]
            cells += f"{np.mean(values):>8.1f} ±{np.std(values):>4.1f}"
        print(f"{label:<14}{part:<10}{cells}")


if __name__ == "__main__":
    main()
