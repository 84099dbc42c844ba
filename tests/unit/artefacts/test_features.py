import dataclasses

import numpy as np
import pytest
from text_spaces import point_features, space

from sas_jax.artefacts import features as store
from sas_jax.artefacts.features import Features, superpoint_means
from sas_jax.artefacts.superpoints import (
    load_superpoints,
    save_superpoints,
    superpoint_counts,
)
from sas_jax.errors import DamagedFile, InputError
from sas_jax.evaluation import query


def random_features(rng, num_points=200, dim=70, seen=0.6):
    index = np.flatnonzero(rng.random(num_points) < seen).astype(np.int32)
    feat = rng.normal(size=(len(index), dim)).astype(np.float16)
    counts = rng.integers(1, 9, len(index)).astype(np.int32)
    return point_features(feat, index, counts, num_points)


def literal_targets(features, superpoints):
    """F_SP^2D per point by definition: the mean over the seen points of its own."""
    dense = np.full((features.num_points, features.feat.shape[1]), np.nan)
    dense[features.point_index] = features.feat
    targets = np.full_like(dense, np.nan)
    for p, superpoint in enumerate(superpoints):
        rows = dense[(superpoints == superpoint) & features.seen]
        if len(rows):
            targets[p] = rows.mean(axis=0)
    return targets


@pytest.mark.parametrize("rows_at_once", [1, 7, 1000])
def test_stored_means_equal_the_literal_definition(monkeypatch, rows_at_once):
    monkeypatch.setattr(store, "_ROWS_AT_ONCE", rows_at_once)
    rng = np.random.default_rng(0)
    features = random_features(rng)
    superpoints = rng.integers(0, 40, 200).astype(np.int32)
    superpoints[superpoints == 7] = 8  # an id without points
    unseen = features.point_index[superpoints[features.point_index] == 3]
    keep = ~np.isin(features.point_index, unseen)  # a superpoint that nobody saw
    features = point_features(
        features.feat[keep], features.point_index[keep], features.counts[keep], 200
    )
    means = superpoint_means(features, superpoints)
    assert means.counts[7] == 0 and means.counts[3] == 0
    assert means.counts.sum() == len(features.feat)
    expected = literal_targets(features, superpoints)
    has_mean = ~np.isnan(expected[:, 0])
    np.testing.assert_array_equal(means.counts[superpoints] > 0, has_mean)
    got = means.feat[superpoints][has_mean]
    # Stored in f16: half a unit in the last place of the literal mean.
    np.testing.assert_array_equal(got, expected[has_mean].astype(np.float16))
    assert (means.feat[means.counts == 0] == 0).all()


def test_cosine_losses_from_stored_means_equal_the_literal_ones():
    rng = np.random.default_rng(1)
    features = random_features(rng, seen=1.0)
    superpoints = (np.arange(200) // 9).astype(np.int32)
    student = rng.normal(size=(200, 70))
    targets = literal_targets(features, superpoints)
    stored = superpoint_means(features, superpoints).feat.astype(float)[superpoints]

    def loss(target):
        norms = np.linalg.norm(student, axis=1) * np.linalg.norm(target, axis=1)
        return np.mean(1 - np.sum(student * target, axis=1) / norms)

    assert loss(stored) == pytest.approx(loss(targets), abs=2**-11)
    assert loss(stored) != pytest.approx(loss(np.roll(stored, 9, axis=0)), abs=1e-3)


def test_means_of_nothing_and_bad_ids():
    nobody = point_features(
        np.zeros((0, 3), np.float16), np.zeros(0, np.int32), np.zeros(0, np.int32), 4
    )
    means = superpoint_means(nobody, np.array([0, 1, 1, 0], np.int32))
    assert means.feat.shape == (2, 3) and not means.counts.any()
    with pytest.raises(InputError, match=r"\(4\).*\[3\] ids"):
        superpoint_means(nobody, np.zeros(3, np.int32))
    with pytest.raises(InputError, match="ids from -1"):
        superpoint_means(nobody, np.array([0, -1, 0, 0]))


def test_confidence_is_kept_and_averaged_over_superpoints(tmp_path):
    rng = np.random.default_rng(4)
    features = random_features(rng)
    sure = rng.random(len(features.feat)).astype(np.float32)
    features = dataclasses.replace(features, confidence=sure)
    ids = rng.integers(0, 40, 200).astype(np.int32)
    ids[ids == 7] = 8
    means = superpoint_means(features, ids)
    for k in range(len(means.feat)):
        members = sure[ids[features.point_index] == k]
        wanted = members.mean() if len(members) else 0
        assert means.confidence[k] == pytest.approx(wanted, abs=1e-6)
    for name, kept in (("points", features), ("means", means)):
        path = tmp_path / f"{name}.safetensors"
        store.save_features(path, kept, key="k")
        back = store.load_features(path)
        np.testing.assert_array_equal(back.confidence, kept.confidence)
    with pytest.raises(InputError, match="from one scene"):
        dataclasses.replace(features, confidence=sure[1:])


@pytest.mark.parametrize("seen", [0.0, 0.6])
def test_point_features_round_trip(tmp_path, seen):
    features = random_features(np.random.default_rng(2), seen=seen)
    path = tmp_path / "s.safetensors"
    store.save_features(path, features, key="k", meta={"teacher": "t"})
    back = store.load_features(path)
    assert back.num_points == 200
    for name in ("feat", "point_index", "counts"):
        got, wanted = getattr(back, name), getattr(features, name)
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == wanted.dtype


def test_superpoints_and_their_features_round_trip(tmp_path):
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 5, 200).astype(np.int32)
    save_superpoints(tmp_path / "a.safetensors", ids, key="k")
    np.testing.assert_array_equal(load_superpoints(tmp_path / "a.safetensors"), ids)
    assert superpoint_counts(tmp_path / "a.safetensors") == (200, 5)
    means = superpoint_means(random_features(rng), ids)
    store.save_features(tmp_path / "b.safetensors", means, key="k")
    back = store.load_features(tmp_path / "b.safetensors")
    for name in ("feat", "row", "counts", "level", "space"):
        np.testing.assert_array_equal(getattr(back, name), getattr(means, name))


def test_features_are_of_their_points_in_their_order(tmp_path):
    rng = np.random.default_rng(4)
    points = rng.normal(size=(200, 3)).astype(np.float32)
    path = tmp_path / "s.safetensors"
    features = random_features(rng)
    store.save_features(path, features, key="k")
    store.load_features(path, points[::-1])  # nothing is known of the geometry
    with pytest.raises(InputError, match=r"199 points.*got those of 200"):
        store.load_features(path, points[:-1])
    geometry = store.geometry_of(points)
    features = dataclasses.replace(features, geometry=geometry)
    store.save_features(path, features, key="k", meta={"teacher": "t"})
    assert store.load_features(path, points).geometry == geometry
    assert store.load_features(path).geometry == geometry
    moved = points.copy()
    moved[7, 1] = np.nextafter(moved[7, 1], 9)
    for other in (points[::-1], moved):
        with pytest.raises(InputError, match=r"another geometry.*extract_features\.py"):
            store.load_features(path, other)
    ids = rng.integers(0, 5, 200).astype(np.int32)
    assert superpoint_means(features, ids).geometry == geometry


def test_superpoints_are_of_their_points(tmp_path):
    points = np.random.default_rng(5).normal(size=(9, 3)).astype(np.float32)
    path, ids = tmp_path / "s.safetensors", np.zeros(9, np.int32)
    save_superpoints(path, ids, key="k", points=points)
    geometry = store.geometry_of(points)
    np.testing.assert_array_equal(load_superpoints(path, points), ids)
    np.testing.assert_array_equal(load_superpoints(path, None, geometry), ids)
    for other in ((points[::-1],), (points[1:],), (None, store.geometry_of(ids))):
        with pytest.raises(InputError, match=r"s\.safetensors.*make_superpoints\.py"):
            load_superpoints(path, *other)


def test_damaged_and_mistaken_files_are_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    save_superpoints(path, np.arange(9, dtype=np.int32), key="k")
    with pytest.raises(InputError, match="schema"):
        store.load_features(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedFile, match=r"s\.safetensors"):
        load_superpoints(path)


def test_inconsistent_features_are_refused():
    feat, counts = np.zeros((2, 3), np.float16), np.ones(2, np.int32)
    for index in ([1, 0], [0, 0], [0, 4], [-1, 0]):
        with pytest.raises(InputError, match="ascending points below 4"):
            point_features(feat, np.array(index, np.int32), counts, 4)
    row = np.array([0, -1, 1, -1], np.int32)
    good = Features(feat, row, counts, space(3))
    np.testing.assert_array_equal(good.point_index, [0, 2])
    for change in (
        {"row": row[::-1]},
        {"row": row + 1},
        {"row": row - 1},
        {"row": np.zeros(4, np.int32)},
        {"counts": counts[:1]},
        {"space": space(4)},
    ):
        with pytest.raises(InputError, match="features:"):
            dataclasses.replace(good, **change)
    dataclasses.replace(good, row=row[::-1], level="superpoint")


def test_every_file_names_its_text_space(tmp_path):
    path = tmp_path / "f.safetensors"
    features = random_features(np.random.default_rng(6), dim=5)
    store.save_features(path, features, key="k")
    assert store.load_features(path).space == store.space_of(path) == space(5)
    manifest = path.with_name("f.safetensors.json")
    text = manifest.read_text()
    for other in ("", "test/5", "test/five/0", "/5/0"):
        manifest.write_text(text.replace(space(5).id, other))
        for read in (store.load_features, store.space_of):
            with pytest.raises(InputError, match=r"text space.*f\.safetensors.*again"):
                read(path)
    manifest.write_text(text.replace("text_space", "space"))
    with pytest.raises(InputError, match=r"got none \(.*f\.safetensors"):
        store.load_features(path)


def test_rows_of_a_network_come_back_in_half_precision(tmp_path):
    feat = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32) * 100
    row, counts = np.array([0, 5, 5, 1], np.int32), np.ones(6, np.int32)
    features = Features(feat, row, counts, space(5), "voxel")
    store.save_features(tmp_path / "f.safetensors", features, key="k")
    got = store.load_features(tmp_path / "f.safetensors")
    np.testing.assert_array_equal(got.feat, feat.astype(np.float16))
    np.testing.assert_array_equal(got.row, row)
    np.testing.assert_array_equal(got.dense(), got.feat[row])


def test_rows_too_long_for_half_precision_keep_their_direction(tmp_path):
    feat = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    feat[1] *= 1e6
    feat[2] *= 65504 / np.abs(feat[2]).max()
    feat[2, np.abs(feat[2]).argmax()] = 65504  # the largest that fits
    feat[3] *= 1e15

    def back(feat):
        rows = np.arange(len(feat), dtype=np.int32)
        features = Features(feat, rows, rows + 1, space(5), "voxel")
        store.save_features(tmp_path / "f.safetensors", features, key="k")
        return store.load_features(tmp_path / "f.safetensors").feat

    got = back(feat)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(query.unit(got), query.unit(feat), atol=1e-3)
    kept = [0, 2, 4, 5]
    np.testing.assert_array_equal(got[kept], feat[kept].astype(np.float16))
    assert back(feat[:0]).shape == (0, 5)


def test_whether_any_frame_saw_a_scene(tmp_path):
    path = tmp_path / "f.safetensors"
    for seen in ((), (2,)):
        index = np.array(seen, np.int32)
        counts = np.ones(len(seen), np.int32)
        feat = np.zeros((len(seen), 3), np.float16)
        features = point_features(feat, index, counts, 4)
        store.save_features(path, features, key="k")
        assert store.has_features(path) == bool(seen)
        means = store.superpoint_means(features, np.zeros(4, np.int32))
        store.save_features(path, means, key="k")
        assert store.has_features(path) == bool(seen)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"f\.safetensors"):
        store.has_features(path)
