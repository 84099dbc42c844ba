"""Print which way to cut forwards was fastest, from the rows of shapes.sh.

    python benchmarks/gpu/best_shapes.py FOLDER

First a line a layer: what was chosen before, what is chosen now, and the fastest, in
milliseconds. Then a line a tile: how many times as fast as the first shape of these
rows and columns each other one is, over all layers, geometric mean and worst.
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


def shown(row: dict) -> str:
    heavy = " heavy first" if row["heavy_first"] else ""
    return f"{row['ms']:.4f} {row['tile']}{heavy}"


def print_layers(before: list[dict], rows: list[dict]) -> None:
    was = {layer(row): row["ms"] for row in before if row["tile"] == [0, 0]}
    layers = collections.defaultdict(list)
    for row in rows:
        layers[layer(row)].append(row)
    for key, timed in sorted(layers.items(), key=lambda item: (item[0][-1], item[0])):
        now = [row["ms"] for row in timed if row["tile"][0] == 0]
        best = sorted(timed, key=lambda row: row["ms"])[:FASTEST]
        start = was.get(key, now[0])
        print(
            *key, f"before {start:.4f}, now {now[0]:.4f}, heavy {now[1]:.4f};", end=""
        )
        print(f" {start / best[0]['ms']:.2f}x, {best[0]['tflops']} tflops:", end=" ")
        print("; ".join(map(shown, best)))


def print_tiles(rows: list[dict]) -> None:
    ms = {(layer(r), tuple(r["tile"]), r["heavy_first"]): r["ms"] for r in rows}
    first: dict[tuple, tuple] = {}
    gains = collections.defaultdict(list)
    for key, tile, heavy in ms:
        if tile[0] == 0:
            continue
        # Tiles of 128 rows are compared with those of 64.
        base = first.setdefault((key[-1], min(tile[0], 64), tile[1]), tile)
        gains[key[-1], tile, heavy].append(ms[key, base, False] / ms[key, tile, heavy])
    order = sorted(
        gains, key=lambda k: (k[0], k[1][1], min(k[1][0], 64), -min(gains[k]))
    )
    for precision, tile, heavy in order:
        all_gains = gains[precision, tile, heavy]
        mean = math.exp(sum(map(math.log, all_gains)) / len(all_gains))
        note = "heavy first" if heavy else ""
        print(precision, list(tile), note, end=": ")
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
