"""Training scenes from the feature store: targets, visibility, files that disagree."""

import dataclasses
import pathlib
import shutil
import threading
from itertools import pairwise

import numpy as np
import pytest
from scene_files import scan_of, write_scannet
from text_spaces import point_features
from tiny_scenes import CHANNELS, boxes, tiny_config

from sas_jax.artefacts import features as store
from sas_jax.artefacts.superpoints import save_superpoints
from sas_jax.distill.config import RunConfig
from sas_jax.distill.data import SceneCache, SceneFiles
from sas_jax.errors import InputError

P = 60


POINTS = np.random.default_rng(0).uniform(0, 1, (P, 3)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class FakeScan:
    """What a training scene needs of a scan."""

    array: np.ndarray = dataclasses.field(default_factory=lambda: POINTS)
    name: str = "scene"

    def points(self):
        return self.array


@pytest.fixture
def scene(tmp_path):
    rng = np.random.default_rng(1)
    superpoint = np.repeat(np.arange(4, dtype=np.int32), P // 4)
    seen = np.flatnonzero((rng.random(P) < 0.6) & (superpoint != 2)).astype(np.int32)
    features = point_features(
        feat=rng.normal(size=(len(seen), CHANNELS)).astype(np.float16),
        index=seen,
        counts=np.ones(len(seen), np.int32),
        num_points=P,
    )
    save_superpoints(tmp_path / "sp.safetensors", superpoint, key="s")
    store.save_features(tmp_path / "points.safetensors", features, key="p")
    means = store.superpoint_means(features, superpoint)
    store.save_features(tmp_path / "means.safetensors", means, key="m")
    files = SceneFiles(
        FakeScan(),
        tmp_path / "points.safetensors",
        tmp_path / "sp.safetensors",
    )
    return files, features, superpoint


def by_superpoint(files):
    return dataclasses.replace(
        files, features=files.features.with_name("means.safetensors")
    )


def test_the_paper_teaches_every_point_of_a_seen_superpoint(scene):
    files, features, superpoint = scene
    loaded = files.load(tiny_config())
    np.testing.assert_array_equal(
        loaded.targets.row, np.where(superpoint == 2, -1, superpoint)
    )
    for s in (0, 1, 3):
        rows = superpoint[features.point_index] == s
        wanted = features.feat[rows].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(loaded.targets.feat[s], wanted, atol=2e-3)
    assert loaded.num_superpoints == 4


def test_both_levels_of_the_store_teach_the_same(scene):
    files, _, _ = scene
    one = files.load(tiny_config())
    two = by_superpoint(files).load(tiny_config())
    np.testing.assert_array_equal(one.targets.feat, two.targets.feat)
    np.testing.assert_array_equal(one.targets.row, two.targets.row)
    assert files.key != by_superpoint(files).key


@pytest.mark.parametrize("change", [{"level": "point"}, {"compat": "official"}])
def test_seen_points_come_with_their_own_features(scene, change):
    """For pixel-point distillation, and for the code's means of sampled voxels."""
    files, features, _ = scene
    loaded = files.load(tiny_config(**change))
    rows = loaded.targets.row[features.point_index]
    np.testing.assert_array_equal(loaded.targets.feat[rows], features.feat)
    assert (loaded.targets.row[~features.seen] == -1).all()


@pytest.mark.parametrize("change", [{"level": "point"}, {"compat": "official"}])
def test_what_needs_points_refuses_superpoint_means(scene, change):
    with pytest.raises(InputError, match="a row per point is required"):
        by_superpoint(scene[0]).load(tiny_config(**change))


def test_confidence_that_is_asked_for_must_be_there(scene):
    files, features, superpoint = scene
    config = tiny_config(confidence_weights=True)
    with pytest.raises(InputError, match=r"confidence .*fuse_features"):
        files.load(config)
    sure = np.linspace(0, 1, len(features.feat), dtype=np.float32)
    features = dataclasses.replace(features, confidence=sure)
    store.save_features(files.features, features, key="p")
    found = files.load(config).targets.confidence
    wanted = store.superpoint_means(features, superpoint).confidence
    np.testing.assert_array_equal(found, wanted)


def test_without_superpoints_each_point_is_its_own(scene):
    files = dataclasses.replace(scene[0], superpoints=None)
    loaded = files.load(tiny_config())
    np.testing.assert_array_equal(loaded.superpoint, np.arange(P))
    assert loaded.num_superpoints == P


def test_files_that_disagree_are_named(scene, tmp_path):
    files, _, _ = scene
    wide = tiny_config(
        student=dataclasses.replace(tiny_config().student, out_dim=CHANNELS + 1)
    )
    with pytest.raises(InputError, match=r"9 channels.*points\.safetensors"):
        files.load(wide)
    more = np.arange(P, dtype=np.int32)
    save_superpoints(tmp_path / "more.safetensors", more, key="s")
    other = dataclasses.replace(files, superpoints=tmp_path / "more.safetensors")
    with pytest.raises(InputError, match="the superpoints at hand"):
        by_superpoint(other).load(tiny_config())
    missing = dataclasses.replace(files, features=pathlib.Path(tmp_path / "no"))
    with pytest.raises(InputError, match="no"):
        missing.load(tiny_config())
    fewer = dataclasses.replace(files, scan=FakeScan(POINTS[:-1]))
    with pytest.raises(InputError, match="scene has changed"):
        fewer.load(tiny_config())


@pytest.mark.parametrize("kind", ["superpoints", "points", "means"])
def test_files_of_points_in_another_order_are_refused(scene, tmp_path, kind):
    files, features, superpoint = scene
    points, order = POINTS, np.random.default_rng(2).permutation(P)
    if kind == "superpoints":
        path = tmp_path / "sp.safetensors"
        save_superpoints(path, superpoint, key="s", points=points)
    features = dataclasses.replace(features, geometry=store.geometry_of(points))
    if kind == "points":
        path = tmp_path / "points.safetensors"
        store.save_features(path, features, key="p")
    if kind == "means":
        path, files = tmp_path / "means.safetensors", by_superpoint(files)
        means = store.superpoint_means(features, superpoint)
        store.save_features(path, means, key="m")
    files.load(tiny_config())
    turned = dataclasses.replace(files, scan=FakeScan(points[order]))
    with pytest.raises(InputError, match=rf"another geometry.*{path.name}.*run py"):
        turned.load(tiny_config())


def test_points_of_a_scan_need_the_mesh_only(tmp_path):
    folder = write_scannet(tmp_path)
    for path in folder.iterdir():
        if path.is_file() and path.name != "scene0000_00_vh_clean_2.ply":
            path.write_bytes(b"damaged")
    shutil.rmtree(folder / "intrinsic")
    assert scan_of(folder).points().shape == (4, 3)


def test_a_damaged_file_is_refused(scene):
    files, _, _ = scene
    data = bytearray(files.features.read_bytes())
    data[-1] ^= 1
    files.features.write_bytes(bytes(data))
    with pytest.raises(InputError, match="checksum"):
        files.load(tiny_config())


def test_the_cache_keeps_the_scenes_used_last():
    loads = []

    @dataclasses.dataclass(frozen=True)
    class Counted:
        box: object

        def load(self, config):
            loads.append(self.box.name)
            return self.box.load(config)

    sizes = [box.load(tiny_config()).num_bytes for box in boxes(3)]
    room = sum(sizes) - min(sizes)
    assert min(sizes) > 0 and room >= max(a + b for a, b in pairwise(sorted(sizes)))
    cache = SceneCache([Counted(box) for box in boxes(3)], tiny_config(), room)
    for index in (0, 1, 0, 2, 0, 1):
        assert cache.load(index).name == f"box{index}"
    assert loads == ["box0", "box1", "box2", "box1"]
    loads.clear()
    none = SceneCache([Counted(boxes(1)[0])], tiny_config(), 0)
    assert none.load(0).name == none.load(0).name == "box0"
    assert loads == ["box0", "box0"]


def test_memory_for_scenes_is_shared_by_the_processes():
    assert RunConfig(cache_gb=3.0).cache_bytes == 3e9
    assert RunConfig(cache_gb=3.0, num_workers=3).cache_bytes == 1e9
    assert RunConfig().cache_bytes > 1e8
    with pytest.raises(InputError, match="cache_gb"):
        RunConfig(cache_gb=-1.0)


def test_the_cache_serves_several_threads():
    cache = SceneCache(boxes(3), tiny_config(), 10_000)
    wrong = []

    def work():
        for index in (0, 1, 2, 0, 2, 1):
            if cache.load(index).name != f"box{index}":
                wrong.append(index)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
