"""Time a question that nobody asked before, as the viewer answers it.

python benchmarks/bench_viewer.py --points 150000 [--alone]

The scan is a furnished room, its features are of noise around a word for each
superpoint. Timed are all steps from the text to the colours of all points: the text
tower (MiniLM, cache on disk included), beliefs, regions, colours; medians over
questions. `asked_once` is the same answer without what the viewer holds.
"""

import argparse
import os
import pathlib
import sys
import time

import furnished_room
import measure
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures
from sas_jax.evaluation import query
from sas_jax.evaluation.answers import AnswerConfig, beliefs, likely, listeners
from sas_jax.evaluation.evidence import Words, everyday, fit_of
from sas_jax.superpoints.segment import segment_mesh
from sas_jax.text import registry
from sas_jax.view.browser.paint import heat_over

_THINGS = ("chair", "bed", "lamp", "shelf", "window", "plant", "box", "rug", "sink")
_COLOURS = ("red", "green", "blue", "grey", "white", "black", "brown", "pink")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=150_000)
    parser.add_argument("--alone", action="store_true", help="each point for itself")
    parser.add_argument("--questions", type=int, default=9)
    args = parser.parse_args()
    tower = registry.load("minilm-l6-v2")

    def encode(texts: list[str]) -> TextFeatures:
        return TextFeatures(tower.encode(texts), tower.space)

    points, faces = furnished_room.mesh(args.points)
    superpoints = segment_mesh(points, faces)
    features = _features(superpoints, encode([f"a {thing}" for thing in _THINGS]))
    words = Words(encode(list(query.ANYTHING)), encode(list(everyday())))
    fit, config = fit_of(tower.space), AnswerConfig()
    together = None if args.alone else superpoints
    held = listeners(features, together, None if args.alone else words)
    cells, base = query.config_for(points), np.full((len(points), 3), 180, np.uint8)
    taken: dict[str, list[tuple[float, float]]] = {}

    def timed(name: str, run):
        found = []
        taken.setdefault(name, []).append(
            measure.time_once(lambda: found.append(run()))
        )
        return found[0]

    for number in range(args.questions + 2):
        # The first ones compile and warm caches up.
        taken = taken if number > 1 else {}
        text = f"a {_COLOURS[number % 8]} {_THINGS[number % 9]} {time.time_ns()}"
        asked = timed("text", lambda text=text: encode([text]))
        values = timed("beliefs", lambda a=asked: held.beliefs(a, words, fit)[0])
        timed("regions", lambda v=values: _regions(points, v, cells, fit, config))
        timed("colours", lambda v=values: heat_over(base, v, 0.0, 0.5))
        if number < 4:
            timed(
                "asked_once", lambda a=asked: beliefs(features, together, a, words, fit)
            )
    row = {"what": "question", "points": len(points), "alone": args.alone}
    row["superpoints"] = int(superpoints.max()) + 1
    medians = {n: np.median(np.array(t), axis=0) for n, t in taken.items()}
    medians["question"] = sum(
        medians[n] for n in ("text", "beliefs", "regions", "colours")
    )
    for name, (wall_s, cpu_s) in medians.items():
        row |= {f"{name}_ms": round(1e3 * wall_s, 1)}
        row |= {f"{name}_cpu_ms": round(1e3 * cpu_s, 1)}
    row["other_load"] = round(os.getloadavg()[0] - 1, 1)  # runnable processes
    measure.append("viewer", row)


def _features(superpoints: np.ndarray, words: TextFeatures) -> Features:
    rng = np.random.default_rng(0)
    means = words.rows[rng.integers(0, len(words.rows), int(superpoints.max()) + 1)]
    rows = means[superpoints] + 0.03 * rng.standard_normal(
        (len(superpoints), words.space.dim), np.float32
    )
    count = len(rows)
    index = np.arange(count, dtype=np.int32)
    ones = np.ones(count, np.int32)
    return Features(query.unit(rows), index, ones, words.space)


def _regions(points, values, cells, fit, config: AnswerConfig) -> list[query.Region]:
    return likely(query.regions(points, values, config.regions(cells)), fit, config)


if __name__ == "__main__":
    main()
