"""Fit how evidence becomes the probability of an answer, on rooms with true labels.

  python benchmarks/fit_answers.py --data_root=data/rooms --workspace=runs/rooms

Asks the training rooms of rooms.flags the questions that come with the rooms, of their
fused features. First a logistic regression of the evidence (`evaluation.evidence`) for
every superpoint, whose truth is its share of right points; then, for regions of such
beliefs, of which the best one answers, the share of right answers as a rising function
of its mean (isotonic regression). That share is one among these questions, of which a
third asks for what is not there, and many more in a room that lacks it. Writes both
into sas_jax/evaluation/answer_fits.json under the text space of the features.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

import numpy as np
import scipy.optimize

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.artefacts.features import load_features
from sas_jax.artefacts.files import atomic_write
from sas_jax.artefacts.space import TextFeatures
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.artefacts.workspace import Workspace
from sas_jax.datasets.registry import open_folder
from sas_jax.evaluation import query
from sas_jax.evaluation.answers import AnswerConfig, beliefs
from sas_jax.evaluation.evidence import AnswerFit, Words, everyday, evidence
from sas_jax.evaluation.questions import LEAST_POINTS, read_questions, right_points
from sas_jax.scenes.labels import SCANNET20
from sas_jax.superpoints.means import superpoint_rows
from sas_jax.text import registry

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUESTIONS = ROOT / "sas_jax" / "rooms" / "questions.csv"
FITS = ROOT / "sas_jax" / "evaluation" / "answer_fits.json"
PENALTY = 1e-3
"""Of the squared weights of standardised evidence; it only keeps them finite."""

KNOTS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_root", type=pathlib.Path, default="data/rooms")
    parser.add_argument("--workspace", type=pathlib.Path, default="runs/rooms")
    parser.add_argument("--fusion", default="capability")
    args = parser.parse_args()
    names = (args.data_root / "splits" / "train.txt").read_text().split()
    classes = SCANNET20.classes.names
    asked = read_questions(QUESTIONS, classes)
    workspace, rooms = Workspace(args.workspace), []
    for name in names:
        scene = open_folder(args.data_root / "scans" / name)
        superpoints = load_superpoints(workspace.superpoints(name), scene.points)
        fused = load_features(workspace.fused(args.fusion, name), scene.points)
        truths = np.stack([right_points(q, scene.labels, classes) for q in asked])
        rooms.append((scene.points, superpoints, fused, truths))
    space = rooms[0][2].space
    tower = registry.of_space(space, "the features")

    def encode(texts) -> TextFeatures:
        return TextFeatures(tower.encode(list(texts)), space)

    words = Words(encode(query.ANYTHING), encode(everyday()))
    questions = encode(each.text for each in asked)
    fit = regression(rooms, questions, words)
    scored = [
        region for room in rooms for region in regions(room, questions, words, fit)
    ]
    beliefs_of, right = np.array(scored).T
    fit = isotonic(fit, beliefs_of, right)
    kept = json.loads(FITS.read_text())
    kept["fits"][space.id] = dataclasses.asdict(fit)
    atomic_write(FITS, (json.dumps(kept, indent=1) + "\n").encode())
    print(fit)


def regression(rooms, questions: TextFeatures, words: Words) -> AnswerFit:
    """Fit the belief to each superpoint's share of right points, by its points."""
    inputs, shares, weights = [], [], []
    for _, superpoints, fused, truths in rooms:
        rows = superpoint_rows(fused, superpoints)
        seen, size = rows.any(axis=1), np.bincount(superpoints, minlength=len(rows))
        right = np.stack([np.bincount(superpoints, t, len(rows)) for t in truths])
        inputs.append(evidence(rows[seen], questions, words).reshape(-1, 3))
        shares.append((right / size)[:, seen].ravel())
        weights.append(np.tile(size[seen], len(truths)))
    found = np.concatenate(inputs).astype(np.float64)
    share, weight = np.concatenate(shares), np.concatenate(weights)
    weight = weight / weight.sum()
    mean, spread = found.mean(0), found.std(0)
    unit = np.column_stack([(found - mean) / spread, np.ones(len(found))])

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        logit = unit @ w
        value = np.logaddexp(0, logit) - share * logit
        slope = 1 / (1 + np.exp(-logit)) - share
        penalty = PENALTY * w[:-1] @ w[:-1]
        gradient = unit.T @ (weight * slope)
        gradient[:-1] += 2 * PENALTY * w[:-1]
        return float(weight @ value + penalty), gradient

    best = scipy.optimize.minimize(loss, np.zeros(4), jac=True, method="L-BFGS-B").x
    slopes = best[:-1] / spread
    bias = float(best[-1] - slopes @ mean)
    return AnswerFit(tuple(map(float, slopes)), bias, (0.0, 1.0), (0.0, 1.0))


def regions(room, questions: TextFeatures, words: Words, fit: AnswerFit):
    """Return mean belief and rightness of the best region for each question."""
    points, superpoints, fused, truths = room
    config, found = AnswerConfig().regions(query.config_for(points)), []
    values = beliefs(fused, superpoints, questions, words, fit)
    for row, truth in zip(values, truths, strict=True):
        if truth.any() and truth.sum() < LEAST_POINTS:
            continue
        for region in query.regions(points, row, config)[:1]:
            found.append((region.score, float(truth[region.points].mean() > 0.5)))
    return found


def isotonic(fit: AnswerFit, belief: np.ndarray, right: np.ndarray) -> AnswerFit:
    """Return the fit with the share of right regions as a rising function of belief."""
    order = np.argsort(belief, kind="stable")
    belief, right = belief[order], right[order]
    fitted = scipy.optimize.isotonic_regression(right).x
    at = np.unique(np.linspace(0, len(belief) - 1, KNOTS).astype(int))
    knots, keep = np.unique(belief[at].round(4), return_index=True)
    return dataclasses.replace(
        fit,
        beliefs=tuple(map(float, knots)),
        right=tuple(fitted[at][keep].round(4).tolist()),
    )


if __name__ == "__main__":
    main()
