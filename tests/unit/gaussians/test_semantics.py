"""Label maps of Gaussians and their scores, against loops over pixels and classes."""

import gaussian_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.artefacts.features import Features, rows_of_points
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.classes import vocabulary
from sas_jax.errors import ContractError, InputError
from sas_jax.evaluation.confusion import score
from sas_jax.gaussians.projection import Camera, Gaussians
from sas_jax.gaussians.semantics import (
    LabelMaps,
    class_shares,
    counts_of_maps,
    scored_points,
    true_shares,
)
from sas_jax.scenes.labels import label_set

WIDTH, HEIGHT, NUMBER, CLASSES, CHANNELS = 33, 19, 20, 4, 6
SPACE = TextSpace("letters", "random:0", CHANNELS)


@pytest.fixture(autouse=True)
def f64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    means = rng.uniform([-1.2, -0.7, 1], [1.2, 0.7, 3], (NUMBER, 3))
    scales = np.exp(rng.uniform(-3.5, -2, (NUMBER, 3)))
    return means, scales, rng.normal(size=(NUMBER, 4)), rng.uniform(0.3, 1, NUMBER)


@pytest.fixture
def camera():
    k = np.array([[26.0, 0, 16.5], [0, 25.0, 9.5], [0, 0, 1]])
    return np.eye(4), k


@pytest.fixture
def texts():
    rows = np.random.default_rng(4).normal(size=(CLASSES, CHANNELS))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return TextFeatures(rows.astype(np.float32), SPACE)


@pytest.fixture
def features():
    """Every fourth Gaussian has none."""
    seen = np.flatnonzero(np.arange(NUMBER) % 4)
    rows = np.random.default_rng(5).normal(size=(len(seen), CHANNELS))
    ones = np.ones(len(seen), np.int32)
    return Features(rows.astype(np.float32), rows_of_points(seen, NUMBER), ones, SPACE)


def maps_of(scene, camera, values, texts=None):
    gaussians = Gaussians(*map(jnp.asarray, scene))
    maps = LabelMaps(gaussians, values, texts)
    return maps.at(Camera(*map(jnp.asarray, camera)), (HEIGHT, WIDTH))


def test_shares_are_softmax_of_cosines(features, texts):
    got = class_shares(features, texts, temperature=0.3)
    for g in range(NUMBER):
        if features.row[g] < 0:
            assert not got[g].any()
            continue
        row = features.feat[features.row[g]]
        powers = [np.exp(row @ t / np.linalg.norm(row) / 0.3) for t in texts.rows]
        np.testing.assert_allclose(got[g], np.array(powers) / sum(powers), rtol=1e-5)
    with pytest.raises(InputError, match="temperature"):
        class_shares(features, texts, temperature=0)


def test_a_pixel_is_of_the_largest_rendered_share(scene, camera, features, texts):
    shares = class_shares(features, texts)
    want = np.full((HEIGHT, WIDTH), -1)
    image, *_ = gaussian_oracle.render((*scene, shares), *camera, WIDTH, HEIGHT)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            if image[row, column].sum() > 0:
                want[row, column] = max(
                    range(CLASSES), key=lambda k: image[row, column, k]
                )
    assert (want == -1).any() and len(np.unique(want)) > 3
    np.testing.assert_array_equal(maps_of(scene, camera, shares), want)


def test_a_pixel_is_of_the_text_nearest_to_its_feature(scene, camera, features, texts):
    dense = features.dense()
    image, *_ = gaussian_oracle.render((*scene, dense), *camera, WIDTH, HEIGHT)
    want = np.full((HEIGHT, WIDTH), -1)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            feature = image[row, column]
            if (length := np.linalg.norm(feature)) > 0:
                cosines = [feature @ text / length for text in texts.rows]
                want[row, column] = int(np.argmax(cosines))
    got = maps_of(scene, camera, dense, texts.rows)
    np.testing.assert_array_equal(got, want)
    by_shares = maps_of(scene, camera, class_shares(features, texts))
    assert (got != by_shares).any()  # two readings, and not one


def test_scores_pool_frames_and_miss_what_is_unseen():
    """Against sets of pixels: means over classes in the truth, of one confusion."""
    rng = np.random.default_rng(6)
    frames = [(rng.integers(0, 3, (5, 7)), rng.integers(-1, 4, (5, 7))) for _ in "ab"]
    frames[0][0][:2] = 255
    frames[1][0][frames[1][0] == 1] = 0  # the second frame has no class 1
    got = score(counts_of_maps(frames, CLASSES))
    truth = np.concatenate([t.ravel() for t, _ in frames])
    said = np.concatenate([p.ravel() for _, p in frames])
    truth, said = truth[truth != 255], said[truth != 255]
    ious, accuracies = [], []
    for k in range(CLASSES):
        if not (truth == k).any():
            continue
        both = ((truth == k) & (said == k)).sum()
        ious.append(both / ((truth == k) | (said == k)).sum())
        accuracies.append(both / (truth == k).sum())
    assert len(ious) == 3
    np.testing.assert_allclose(got.miou, 100 * np.mean(ious))
    np.testing.assert_allclose(got.macc, 100 * np.mean(accuracies))


def test_true_labels_are_the_ceiling(scene, camera):
    labels = np.arange(NUMBER, dtype=np.int32) % (CLASSES + 1)
    labels[labels == CLASSES] = 255
    shares = true_shares(labels, CLASSES)
    assert (shares.sum(axis=1) == (labels != 255)).all()
    assert (shares.argmax(axis=1) == labels)[labels != 255].all()
    assert maps_of(scene, camera, shares).max() == CLASSES - 1


def test_transparent_gaussians_are_not_scored_as_points():
    labels = np.array([3, 1, 255, 2], np.int32)
    got = scored_points(labels, np.array([0.09, 0.1, 0.9, 0.5], np.float32))
    np.testing.assert_array_equal(got, [255, 1, 255, 2])


def test_readings_are_parts_of_scannets_classes():
    twenty = vocabulary("scannet20").names
    assert vocabulary("scannet19").names == twenty[:19]
    assert vocabulary("scannet19").other_index is None
    fifteen, ten = label_set("scannet15"), label_set("scannet10")
    ids = (*range(1, 11), 12, 14, 16, 33, 34)
    assert fifteen.raw_ids["nyu40"] == ids
    assert ten.raw_ids["nyu40"] == (1, 2, 4, 5, 6, 7, 8, 9, 10, 33)
    assert ten.classes.names[-1] == "toilet"
    np.testing.assert_array_equal(
        ten.palette[-1], label_set("scannet20").palette[twenty.index("toilet")]
    )
    # Points of the other classes are not scored.
    labels = ten.from_raw("nyu40", np.array([1, 3, 33, 39]), "here")
    np.testing.assert_array_equal(labels, [0, 255, 9, 255])


def test_values_of_others_are_refused(scene, camera):
    with pytest.raises(ContractError, match="20 Gaussians"):
        maps_of(scene, camera, np.zeros((3, CLASSES)))
    with pytest.raises(ContractError, match="texts"):
        maps_of(scene, camera, np.zeros((NUMBER, 3)), np.zeros((CLASSES, 4)))
