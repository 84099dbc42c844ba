"""Print which way to cut forwards was fastest, from the rows of shapes.sh.

    python benchmarks/gpu/best_shapes.py FOLDER

First a line a layer: what was chosen before, what is chosen now, and the fastest, in
milliseconds. Then a line a tile: how many times as fast as what is chosen it is, over
all layers, geometric mean and worst.
"""

import collections
import json
import math
import sys
from pathlib import Path

FASTEST = 4


def read(path: Path) -> list[dict]:
    if not path.exists():
        return []
    rows = map(json.loads, path.read_text().splitlines())
    return [row for row in rows if row["time"] == "forward"]


def layer(row: dict) -> tuple:
    return Path(row["table"]).stem, *row["channels"], row["precision"]


def is_chosen(row: dict) -> bool:
    return row["tile"][0] == 0


def print_layers(before: list[dict], rows: list[dict]) -> None:
    was = {layer(row): row["ms"] for row in before if is_chosen(row)}
    layers = collections.defaultdict(list)
    for row in rows:
        layers[layer(row)].append(row)
    for key, timed in sorted(layers.items(), key=lambda item: (item[0][-1], item[0])):
        now = next(row["ms"] for row in timed if is_chosen(row))
        best = sorted(timed, key=lambda row: row["ms"])[:FASTEST]
        start = was.get(key, now)
        print(*key, f"before {start:.4f}, now {now:.4f} ({start / now:.2f}x);", end="")
        print(f" {start / best[0]['ms']:.2f}x, {best[0]['tflops']} tflops:", end=" ")
        print("; ".join(f"{row['ms']:.4f} {row['tile']}" for row in best))


def print_tiles(rows: list[dict]) -> None:
    chosen = {layer(row): row["ms"] for row in rows if is_chosen(row)}
    gains = collections.defaultdict(list)
    for row in rows:
        if not is_chosen(row):
            key = layer(row)
            gains[key[-1], tuple(row["tile"])].append(chosen[key] / row["ms"])
    for (precision, tile), all_gains in sorted(gains.items()):
        mean = math.exp(sum(map(math.log, all_gains)) / len(all_gains))
        print(precision, list(tile), end=": ")
        print(
            f"mean {mean:.2f}x, worst {min(all_gains):.2f}x of {len(all_gains)} layers"
        )


def main() -> None:
    folder = Path(sys.argv[1])
    rows = read(folder / "gpu_shapes.jsonl")
    print_layers(read(folder / "gpu_shapes_before.jsonl"), rows)
    print_tiles(rows)


if __name__ == "__main__":
    main()
