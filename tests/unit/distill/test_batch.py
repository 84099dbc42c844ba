"""Batches: rows belong together, padding is inert, sizes come from few buckets."""

import dataclasses
import pickle

import jax
import numpy as np
import pytest
from text_spaces import point_features
from tiny_scenes import CHANNELS, Box, boxes, tiny_config

from sas_jax.distill import batch as batches
from sas_jax.distill import loader
from sas_jax.distill.buckets import Bucket, measure_policy
from sas_jax.distill.config import NO_AUGMENTATION, AugmentConfig, RunConfig
from sas_jax.distill.data import SceneCache
from sas_jax.distill.schedule import Schedule
from sas_jax.errors import ContractError, InputError
from sas_jax.sparse.rungs import Rung

BUCKET = Bucket(Rung((2048, 2048, 1024, 512, 512)), superpoints=64, points=4096)


def samples(count=3, config=None, **settings):
    config = config or tiny_config()
    rng = np.random.default_rng(0)
    shift = np.array([3, 50, 7], np.int32)
    return [
        batches.make_sample(box.load(config), config, rng, shift)
        for box in boxes(count, **settings)
    ]


def collate(parts, config=None, bucket=BUCKET, ensemble=True):
    return batches.collate(
        parts,
        bucket,
        config or tiny_config(),
        ensemble=ensemble,
        rng=np.random.default_rng(1),
    )


def test_rows_of_voxels_points_and_superpoints_belong_together():
    parts = samples()
    batch = collate(parts)
    coords = np.asarray(batch.plan.levels[0].coords)
    row = point = superpoint = 0
    for index, sample in enumerate(parts):
        scene, voxels = sample.scene, sample.voxels
        for local, first in enumerate(voxels.first_point):
            assert tuple(coords[row + local]) == (index, *voxels.coords[local])
            assert batch.superpoint[row + local] == superpoint + scene.superpoint[first]
            assert batch.mask[row + local] == (scene.targets.row[first] >= 0)
            assert batch.ensemble.first_point[row + local] == point + first
            assert batch.ensemble.mask[row + local]
        for p in range(len(scene.points)):
            voxel = batch.ensemble.point_voxel[point + p]
            assert voxel == row + voxels.inverse[p]
            owner = batch.ensemble.point_superpoint[point + p]
            assert owner == superpoint + scene.superpoint[p]
        for s in range(scene.num_superpoints):
            np.testing.assert_array_equal(
                batch.targets[superpoint + s], scene.targets.feat[s]
            )
        row += len(voxels.coords)
        point += len(scene.points)
        superpoint += scene.num_superpoints
    assert batch.plan.levels[0].num_valid == row
    assert (batch.superpoint[row:] == 64).all() and not batch.mask[row:].any()
    assert not batch.ensemble.mask[row:].any()
    assert (batch.ensemble.point_superpoint[point:] == 64).all()


def test_every_array_has_the_size_of_the_bucket():
    def shapes(batch):
        return jax.tree.map(np.shape, batch)

    assert shapes(collate(samples(1))) == shapes(collate(samples(3)))
    assert shapes(collate(samples(1))) == shapes(collate([]))


def test_a_device_without_scenes_gets_an_empty_batch():
    batch = collate([])
    assert batch.plan.levels[0].num_valid == 0
    assert not batch.mask.any() and batch.targets.shape == (64, CHANNELS)


def test_scenes_that_do_not_fit_are_refused_not_cut():
    for name, size in {"superpoints": 17, "points": 300}.items():
        small = dataclasses.replace(BUCKET, **{name: size})
        with pytest.raises(ContractError):
            collate(samples(), bucket=small)
    small = dataclasses.replace(BUCKET, rung=Rung((512,) * 5))
    with pytest.raises(InputError):
        collate(samples(4), bucket=small)


def test_point_targets_follow_their_voxels():
    config = tiny_config(level="point", confidence_weights=True)
    parts = samples(2)
    rng = np.random.default_rng(3)
    for i, sample in enumerate(parts):
        count = len(sample.scene.points)
        seen = np.flatnonzero(rng.random(count) < 0.5)
        feat = rng.normal(size=(len(seen), CHANNELS)).astype(np.float16)
        targets = point_features(feat, seen, np.ones(len(seen), np.int32), count)
        sure = rng.random(len(seen)).astype(np.float32)
        targets = dataclasses.replace(targets, confidence=sure)
        scene = dataclasses.replace(sample.scene, targets=targets)
        parts[i] = dataclasses.replace(sample, scene=scene)
    batch = collate(parts, config, ensemble=False)
    start = 0
    for sample in parts:
        rows = sample.scene.targets.row[sample.voxels.first_point]
        for local, row in enumerate(rows):
            assert batch.mask[start + local] == (row >= 0)
            if row >= 0:
                wanted = sample.scene.targets.feat[row]
                np.testing.assert_array_equal(batch.targets[start + local], wanted)
                wanted = sample.scene.targets.confidence[row]
                assert batch.weights[start + local] == wanted
        start += len(rows)
    assert batch.ensemble is None
    plain = collate(parts, tiny_config(level="point"), ensemble=False)
    assert plain.weights is None


def test_sampling_takes_that_many_visible_voxels():
    config = tiny_config(max_sample_voxels=50)
    batch = collate(samples(), config)
    everything = collate(samples())
    assert batch.mask.sum() == 50 and batch.ensemble.mask.sum() == 50
    assert not (batch.mask & ~everything.mask).any()
    with pytest.raises(ContractError, match="rng"):
        batches.collate(samples(), BUCKET, config, ensemble=False)
    generous = tiny_config(max_sample_voxels=10**6)
    np.testing.assert_array_equal(collate(samples(), generous).mask, everything.mask)


def test_one_scene_with_one_point():
    config = tiny_config()
    scene = Box("dot", num_points=1).load(config)
    sample = batches.make_sample(scene, config, np.random.default_rng(0))
    assert collate([sample]).plan.levels[0].num_valid == 1


@pytest.mark.parametrize(
    ("factor", "stray", "config"),
    [
        (1000, None, {"augment": AugmentConfig()}),  # millimetres: 100 TiB of noise
        (1, 3e7, {}),
        (1, 3e7, {"augment": NO_AUGMENTATION}),
        (1, np.nan, {}),
        (1, np.inf, {}),
    ],
)
def test_points_in_another_unit_and_stray_ones_are_refused_by_name(
    factor, stray, config
):
    config = tiny_config(**config)
    scene = Box("room7").load(config)
    points = factor * scene.points * np.float32(5)
    if stray is not None:
        points[3, 1] = stray
    scene = dataclasses.replace(scene, points=points)
    for rng in (np.random.default_rng(0), None):
        with pytest.raises(InputError, match=r"scene room7: finite points .* \(metres"):
            batches.make_sample(scene, config, rng)


def test_a_building_is_not_too_large():
    config = tiny_config(augment=AugmentConfig())
    scene = Box("house").load(config)
    points = scene.points * np.array([60, 40, 12], np.float32)
    scene = dataclasses.replace(scene, points=points)
    batches.make_sample(scene, config, np.random.default_rng(0))


def test_a_scene_with_arrays_of_different_length_is_refused():
    scene = Box("box").load(tiny_config())
    with pytest.raises(ContractError, match="same scene"):
        dataclasses.replace(scene, superpoint=scene.superpoint[:-1])


def pipeline(config, sources, devices=1):
    cache = SceneCache(sources, config, 10**9)
    schedule = Schedule(len(sources), config)
    policy = loader.plan_buckets(cache, schedule, devices)
    return loader.BatchSource(cache, schedule, policy, devices), schedule, policy


def equal(one, two):
    same = jax.tree.map(lambda a, b: np.array_equal(a, b), one, two)
    return all(jax.tree.leaves(same))


def test_batches_are_a_function_of_seed_and_step():
    source, _, _ = pipeline(tiny_config(), boxes(4))
    again, _, _ = pipeline(tiny_config(), boxes(4))
    other, _, _ = pipeline(tiny_config(seed=6), boxes(4))
    assert equal(source[3][0], again[3][0])
    assert equal(source[3][0], source[3][0])
    coords = [s[3][0][0].plan.levels[0].coords for s in (source, other)]
    assert not np.array_equal(*coords)


def test_loading_ahead_and_starting_late_change_nothing():
    source, schedule, _ = pipeline(tiny_config(), boxes(4))
    for first, threads in ((0, 1), (0, 3), (3, 2)):
        run = RunConfig(num_threads=threads, prefetch=4)
        steps = list(loader.make_loader(source, run, first))
        assert [info.step for _, info in steps] == list(
            range(first, schedule.total_steps)
        )
        for shards, info in steps:
            assert equal(shards, source[info.step][0])


def test_a_source_survives_pickling_for_worker_processes():
    source, _, _ = pipeline(tiny_config(), boxes(3))
    assert equal(pickle.loads(pickle.dumps(source))[1][0], source[1][0])


def test_every_pass_visits_every_scene_once_in_balanced_batches():
    schedule = Schedule(7, tiny_config(batch_size=3, loop=2))
    assert (schedule.steps_per_pass, schedule.steps_per_epoch) == (3, 6)
    orders = []
    for number in range(4):
        batches_of_pass = [schedule.scenes(3 * number + i) for i in range(3)]
        assert sorted(map(len, batches_of_pass)) == [2, 2, 3]
        orders.append([i for part in batches_of_pass for i in part])
        assert sorted(orders[-1]) == list(range(7))
    assert len({tuple(order) for order in orders}) == 4


def test_stages_take_seventy_and_thirty_percent_of_the_epochs():
    config = tiny_config(epochs=100, self_distillation=0.3, loop=5, batch_size=12)
    first, second = Schedule(1201, config).stages
    assert (first.first_step, first.num_steps) == (0, 70 * 505)
    assert (second.first_step, second.num_steps) == (70 * 505, 30 * 505)
    assert second.distill and second.ensemble and not first.ensemble
    assert len(Schedule(3, tiny_config(self_distillation=0.0)).stages) == 1
    (only,) = Schedule(3, tiny_config(self_distillation=1.0)).stages
    assert only.ensemble


def test_two_devices_share_the_scenes_of_one_device():
    one, _, _ = pipeline(tiny_config(batch_size=3), boxes(5))
    two, _, _ = pipeline(tiny_config(batch_size=3), boxes(5), devices=2)
    names = [[n for g in s[0][1].scene_rows.names for n in g] for s in (one, two)]
    assert names[0] == names[1] and len(two[0][1].scene_rows.names) == 2
    assert one[0][1].num_voxels == two[0][1].num_voxels


def test_most_batches_take_the_lowest_bucket_and_others_the_next():
    source, schedule, policy = pipeline(tiny_config(epochs=12), boxes(6))
    used = [source[step][1].bucket for step in range(schedule.total_steps)]
    assert np.mean(np.array(used) == 0) > 0.8 and max(used) <= 1
    counts = batches.count_rows(samples(3))
    more = dataclasses.replace(counts, points=policy.bucket(0).points + 1)
    assert policy.choose([counts, more]) == (1, policy.bucket(1))


def test_too_much_of_one_thing_enlarges_that_alone():
    counts = batches.count_rows(samples(3))
    policy = measure_policy([counts], 1)
    usual = policy.bucket(0)
    lonely = dataclasses.replace(counts, levels=counts.levels[:1] * 5)
    more = dataclasses.replace(counts, points=usual.points * 2)
    index, bucket = policy.choose([counts, lonely, more])
    assert index == 0 and bucket.holds(lonely) and bucket.holds(more)
    assert bucket.superpoints == usual.superpoints
    assert bucket.rung.capacities[0] == usual.rung.capacities[0]
    assert max(bucket.rung.capacities) <= usual.rung.capacities[0]
    assert bucket.points <= 1.5 * more.points + 512


def test_a_bucket_grows_in_all_sizes():
    policy = measure_policy([batches.count_rows(samples(3))], 2)
    small, large = policy.bucket(0), policy.bucket(3)
    assert large.points > small.points
    assert large.rung.capacities > small.rung.capacities


def test_no_scenes_and_repeated_names_are_refused():
    with pytest.raises(InputError, match="at least one scene"):
        loader.check_names([])
    with pytest.raises(InputError, match="distinct"):
        loader.check_names([Box("a"), Box("a")])
