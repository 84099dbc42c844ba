"""Average precision against the definition, point by point and pair by pair."""

import tracemalloc

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.instances import ap, masks, matching
from sas_jax.instances.overlaps import instance_classes, overlaps
from sas_jax.scenes.labels import SCANNET20, label_set

SMALL = 4
CLASSES = (2, 3, 5)
COMPATS = ("paper", "official")


def oracle(scenes, index, threshold, compat):
    """Return the AP of a class, from sets of points; NaN without a true instance."""
    right, wrong, missed, looked_for = [], [], 0, 0
    for labels, ids, predictions in scenes:
        true = {}
        void = {p for p in range(len(labels)) if labels[p] not in CLASSES}
        for point, (label, number) in enumerate(zip(labels, ids, strict=True)):
            if number < 0 and compat == "paper":
                void.add(point)
            elif label == index:
                true.setdefault(number, set()).add(point)
        true = [true[number] for number in sorted(true)]
        small = [t for t in true if len(t) < SMALL]
        targets = [t for t in true if len(t) >= SMALL]
        mine = [(s, m) for s, c, m in predictions if c == index and len(m) >= SMALL]
        looked_for += len(targets)

        def iou(a, b):
            return len(a & b) / len(a | b)

        if compat == "paper":
            left = list(targets)

            def first(pair, every=true):
                return -pair[0], -max((iou(pair[1], t) for t in every), default=0)

            for score, mask in sorted(mine, key=first):
                fits = [t for t in left if iou(mask, t) > threshold]
                if fits:
                    left.remove(max(fits, key=lambda t, m=mask: iou(m, t)))
                    right.append(score)
                elif any(iou(mask, t) > threshold for t in targets):
                    wrong.append(score)
            missed += len(left)
        else:
            taken = set()
            for t in targets:
                best = None
                for number, (score, mask) in enumerate(mine):
                    if number in taken or not iou(mask, t) > threshold:
                        continue
                    if best is None:
                        best = score
                        taken.add(number)
                    else:
                        wrong.append(min(best, score))
                        best = max(best, score)
                if best is None:
                    missed += 1
                else:
                    right.append(best)
        for score, mask in mine:
            if not any(iou(mask, t) > threshold for t in true):
                unknown = len(mask & void) + sum(len(mask & t) for t in small)
                if unknown / len(mask) <= threshold:
                    wrong.append(score)
    if not looked_for:
        return np.nan
    curve = []
    for score in sorted({*right, *wrong}):
        tp, fp = sum(s >= score for s in right), sum(s >= score for s in wrong)
        curve.append((tp / (len(right) + missed), tp / (tp + fp)))
    curve.append((0.0, 1.0))
    recalls = [curve[0][0], *(recall for recall, _ in curve), 0.0]
    return sum(
        precision * (recalls[i] - recalls[i + 2]) / 2
        for i, (_, precision) in enumerate(curve)
    )


def random_scene(rng, num_points=60, count=9):
    """Return labels, ids and predictions: true objects, shifted, split and merged."""
    ids = np.sort(rng.integers(-1, 6, num_points))
    classes = rng.choice([1, *CLASSES, 255], 7)
    labels = classes[ids]
    predictions = []
    for _ in range(count):
        mask = ids == rng.integers(-1, 6)
        mask = np.roll(mask | (ids == rng.integers(-1, 30)), rng.integers(-3, 4))
        mask &= rng.random(num_points) < rng.choice([0.6, 1.0])
        score = rng.choice([0.25, 0.5, rng.random()])
        predictions.append((score, rng.choice(CLASSES), set(np.flatnonzero(mask))))
    return labels, ids, predictions


def counted(scene, compat, classes=CLASSES):
    labels, ids, predictions = scene
    found = np.zeros((len(predictions), len(labels)), bool)
    for row, (_, _, mask) in zip(found, predictions, strict=True):
        row[list(mask)] = True
    instances = masks.of_masks(
        found,
        np.array([score for score, _, _ in predictions], np.float64),
        np.array([index for _, index, _ in predictions], np.int32),
    )
    labels, ids = np.asarray(labels), np.asarray(ids)
    return overlaps(instances, labels, ids, classes, compat=compat)


@pytest.mark.parametrize("compat", COMPATS)
@pytest.mark.parametrize("seed", range(12))
def test_definition(seed, compat):
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng) for _ in range(3)]
    counts = [counted(scene, compat) for scene in scenes]
    found = ap.average_precision(counts, CLASSES, compat=compat, min_points=SMALL)
    for row, index in enumerate(CLASSES):
        expected = [oracle(scenes, index, t, compat) for t in ap.THRESHOLDS]
        np.testing.assert_allclose(found.table[row], expected, rtol=0, atol=1e-12)


def test_order_of_equal_scores_does_not_count():
    ids, long, short = [0] * 10 + [1] * 10, (1.0, range(3, 16)), (1.0, range(4))
    # The long one fits both instances, the short one only that which the long one fits
    # better: it is left with nothing, whoever is first in the file.
    for predictions in ((long, short), (short, long)):
        counts = counted(one(ids, *predictions), "paper")
        found = matching.match(matching.candidates(counts, 2, 1), 0.25)
        assert (found.right, found.wrong, found.missed) == ([1.0], [1.0], 1)


def one(ids, *predictions, label=2):
    """Return a scene of one class from ids and (score, points)."""
    labels = np.full(len(ids), label)
    return labels, np.array(ids), [(s, label, set(points)) for s, points in predictions]


def scores_of(scene, compat="paper", min_points=1):
    counts = [counted(scene, compat)]
    found = ap.average_precision(counts, CLASSES, compat=compat, min_points=min_points)
    return found.mean()


@pytest.mark.parametrize("compat", COMPATS)
def test_edges(compat):
    whole = one([0] * 8, (0.5, range(8)))
    assert scores_of(whole, compat) == (1, 1, 1)
    assert scores_of(one([0] * 8), compat) == (0, 0, 0)  # nothing predicted
    assert scores_of(one([0], (0.5, range(1))), compat) == (1, 1, 1)  # one point
    assert np.isnan(scores_of(one([0] * 8, (0.5, range(8)), label=255), compat)).all()
    assert scores_of(whole, compat, min_points=9) != (1, 1, 1)
    nothing = one([0] * 8, (0.5, ()))
    assert scores_of(nothing, compat) == (0, 0, 0)  # a mask without a point
    half = one([0] * 8, (0.5, range(4)))
    assert scores_of(half, compat) == (0, 0, 1)  # 0.5 is not above 0.5


def test_void_is_ignored_up_to_the_threshold():
    labels = np.full(8, 2)
    scene = (labels, [-1] * 4 + [0] * 4, [(0.5, 2, {0, 1, 2, 4})])
    # Three of four points are void: it is wrong at 0.75 and above, else ignored.
    counts = [counted(scene, "paper")]
    for threshold, wrong in ((0.7, []), (0.75, [0.5]), (0.8, [0.5])):
        found = matching.match(matching.candidates(counts[0], 2, 1), threshold)
        assert (found.right, found.wrong, found.missed) == ([], wrong, 1)
    # There the unnamed points are an object, too, and its IoU is 3 of 5.
    assert scores_of(scene, "official") == (pytest.approx(2 / 9 / 2), 0.5, 0.5)


def test_labelled_points_of_no_instance():
    scene = one([-1] * 8, (0.5, range(8)))
    assert np.isnan(scores_of(scene, "paper")).all()
    assert scores_of(scene, "official") == (1, 1, 1)


def test_several_predictions_of_one_instance():
    twice = one([0] * 10, (0.2, range(10)), (0.9, range(9)), (0.5, range(8)))
    # The surest is right, the others are wrong with their own scores: precision 1 at
    # recall 1, from there down 1/2 and 1/3.
    precision = [1 / 3, 1 / 2, 1, 1]
    expected = np.dot(
        precision, np.convolve([1, 1, 1, 1, 0, 0], [-0.5, 0, 0.5], "valid")
    )
    assert scores_of(twice)[1] == pytest.approx(expected, abs=1e-15)


def test_classes_that_are_not_scored_drop_out():
    labels = np.array([2] * 8 + [0] * 8)
    scene = (labels, np.zeros(16, int), [(0.9, 0, set(range(8, 16)))])
    counts = counted(scene, "paper")
    assert counts.classes.tolist() == [-1] and counts.void.tolist() == [8]
    found = ap.average_precision([counts], CLASSES, min_points=1)
    assert found.predictions.tolist() == [0, 0, 0]
    agnostic = ap.average_precision([counts.agnostic()], (0,), min_points=1)
    assert agnostic.truths.tolist() == [1] and agnostic.predictions.tolist() == [1]
    assert agnostic.mean() == (0, 0, 0)


def test_masks_alone():
    """A mask of the wrong class is right where classes do not count."""
    labels = np.array([2] * 8 + [3] * 8)
    predictions = [(0.9, 5, set(range(8))), (0.8, -1, set(range(8, 16)))]
    counts = counted((labels, np.repeat([0, 1], 8), predictions), "paper")
    assert ap.average_precision([counts], CLASSES, min_points=1).mean() == (0, 0, 0)
    agnostic = ap.average_precision([counts.agnostic()], (0,), min_points=1)
    assert agnostic.mean() == (1, 1, 1)


def test_classes_of_label_sets():
    assert len(instance_classes(SCANNET20)) == 18
    assert len(instance_classes(label_set("scannet200"))) == 198
    assert len(instance_classes(label_set("replica51"))) == 48


def test_predictions_of_other_points():
    instances = masks.of_masks(np.ones((1, 5), bool))
    with pytest.raises(InputError, match=r"scene's 4 points .* got 5 \(a file\)"):
        overlaps(instances, np.zeros(4, int), np.zeros(4, int), (0,), where="a file")


def test_memory_does_not_grow_with_the_number_of_masks():
    num_points, peaks = 200_000, []
    ids = np.arange(num_points, dtype=np.int32) // 4000
    labels = np.full(num_points, 2, np.int32)
    for count in (20, 80):
        packed = np.zeros((count, num_points // 8), np.uint8)
        packed[:, ::2] = 255
        instances = masks.Instances(
            *(packed, num_points, np.ones(count, np.float32)),
            np.full(count, 2, np.int32),
        )
        tracemalloc.start()
        overlaps(instances, labels, ids, CLASSES)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 80 * 51 * 8 * 4
    assert peaks[1] < 60 * num_points
