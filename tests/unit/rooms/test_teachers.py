"""The small teachers: contract, grouping, labels, crops, losses, resume, weights."""

import dataclasses
import errno
import json
import pathlib

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("transformers")

import torch

from sas_jax.artefacts.files import content_key
from sas_jax.errors import ContractError, DamagedFile, InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.rooms.teachers import data as rooms_data
from sas_jax.rooms.teachers import dense as rooms_dense
from sas_jax.rooms.teachers import measure as rooms_measure
from sas_jax.rooms.teachers import nets as rooms_nets
from sas_jax.rooms.teachers import train as rooms_train
from sas_jax.rooms.teachers.augment import AugmentConfig, Batch, draw_batch
from sas_jax.rooms.teachers.data import FramesConfig, InstanceInfo, RoomFrames
from sas_jax.rooms.teachers.labels import (
    DENSE_COARSE,
    DENSE_STRONG,
    MASK_COARSE,
    MASK_STRONG,
    Knowledge,
    visible_labels,
)
from sas_jax.rooms.teachers.losses import TextBank, centre_targets, class_weights
from sas_jax.rooms.teachers.mask import (
    CLASS_NAMES,
    MASK_NET,
    GroupConfig,
    RoomsMask,
    group_pixels,
)
from sas_jax.rooms.teachers.randomise import relight, repaint
from sas_jax.teachers import registry
from sas_jax.teachers.text import load_torch_minilm
from sas_jax.text import minilm_files

try:
    minilm_files.model_folder()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)

torch.set_num_threads(1)
SMALL = AugmentConfig(crop=32)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    sizes = [(48, 64), (64, 48), (48, 64), (33, 64)]
    return [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture(scope="module")
def frames():
    """Two rooms of 16 square patches, each patch an instance."""
    rng = np.random.default_rng(1)
    ids = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    instance = np.stack([np.kron(rng.permuted(ids), np.ones((12, 16)))] * 6)
    infos = {i: InstanceInfo(i % 20, i % 2, f"red thing {i % 3}") for i in range(1, 17)}
    return RoomFrames(
        rgb=rng.integers(0, 255, (6, 48, 64, 3), dtype=np.uint8),
        label=(instance % 20).astype(np.uint8),
        instance=instance.astype(np.uint8),
        room=np.array([5, 5, 5, 6, 6, 6], np.int32),
        instances={5: infos, 6: infos},
    )


def test_dense_features_are_unit_vectors_on_half_the_working_size(images):
    teacher = registry.load("rooms-dense", LoadOptions("random:0"))
    features = teacher.features(images)
    assert [f.shape for f in features[:3]] == [
        (72, 96, 384),
        (96, 72, 384),
        (72, 96, 384),
    ]
    assert all(f.dtype == np.float16 for f in features)
    norms = np.linalg.norm(features[3].astype(np.float32), axis=-1)
    np.testing.assert_allclose(norms, 1, atol=2e-3)
    assert not np.array_equal(features[0], features[2])


def test_the_short_way_to_unit_vectors_is_the_long_one():
    net, _ = rooms_nets.build(rooms_dense.DENSE_NET, LoadOptions("random:2"), "none")
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        long_way = net(images)["embedding"].permute(0, 2, 3, 1)
        long_way = long_way / long_way.norm(dim=-1, keepdim=True)
        short_way = rooms_dense.unit_embedding(net, images)
    np.testing.assert_allclose(short_way, long_way, atol=2e-5)


@pytest.mark.parametrize("name", ["rooms-dense", "rooms-mask"])
def test_company_in_a_batch_does_not_matter(images, name):
    teacher = registry.load(name, LoadOptions("random:3"))
    if name == "rooms-dense":
        together, alone = teacher.features(images), teacher.features([images[2]])[0]
        assert together[2].tobytes() == alone.tobytes()
    else:
        together, alone = teacher.segment(images), teacher.segment([images[2]])[0]
        for field in ("ids", "scores", "label_map"):
            ours, theirs = getattr(together[2], field), getattr(alone, field)
            assert ours.tobytes() == theirs.tobytes()


def test_masks_have_the_image_size_and_known_labels(images):
    teacher = registry.load("rooms-mask", LoadOptions("random:0"))
    for image, masks in zip(images, teacher.segment(images), strict=True):
        assert masks.ids.shape == masks.label_map.shape == image.shape[:2]
        assert masks.ids.dtype == masks.label_map.dtype == np.int32
        assert masks.ids.max() <= len(masks.labels) == len(masks.scores)
        assert set(masks.labels) <= set(CLASS_NAMES) == set(masks.label_names)
    assert teacher.segment([]) == []
    asked = teacher.segment(images[:1], vocabulary=["chair"])[0]
    free = teacher.segment(images[:1])[0]
    assert asked.labels == free.labels  # the names are fixed
    np.testing.assert_array_equal(asked.ids, free.ids)
    with pytest.raises(ContractError, match="uint8"):
        teacher.segment([images[0].astype(np.float32)])


def test_labels_live_in_the_text_space_that_is_asked_for():
    own = registry.load("rooms-mask", LoadOptions("random:0"))
    asked = LoadOptions("random:0", label_space="clip-vit-b32")
    other = registry.load("rooms-mask", asked)
    assert other.spec.text_space.name == "clip-vit-b32" != own.spec.text_space.name
    assert other.encode_text(["bed"]).shape == (1, other.spec.feat_dim)
    with pytest.raises(InputError, match="Correct --label_space"):
        registry.load("rooms-mask", LoadOptions(label_space="nowhere"))


def test_two_objects_of_one_class_become_two_masks_with_one_vote():
    chair, sofa = CLASS_NAMES.index("chair"), CLASS_NAMES.index("sofa")
    probability = torch.zeros(20, 8, 16)
    probability[0] = 0.9  # wall everywhere, but for two 4 x 4 things
    heat, offset = torch.zeros(8, 16), torch.zeros(2, 8, 16)
    for column in (1, 10):
        probability[0, 2:6, column : column + 4] = 0.0
        probability[chair, 2:6, column : column + 4] = 0.8
        heat[4, column + 2] = 1.0
        for i in range(4):
            for j in range(4):
                offset[0, 2 + i, column + j] = 2 - i
                offset[1, 2 + i, column + j] = 2 - j
    probability[sofa, 2, 10:12] = 0.95  # two cells disagree and are outvoted
    ids, labels, scores = group_pixels(probability, heat, offset, GroupConfig())
    assert [CLASS_NAMES[k] for k in labels] == ["wall", "chair", "chair"]
    assert len(np.unique(ids[2:6, 1:5])) == len(np.unique(ids[2:6, 10:14])) == 1
    assert ids[3, 2] != ids[3, 11] and ids[0, 0] == 1
    np.testing.assert_allclose(scores, [0.9, 0.8, 0.8], atol=1e-6)


def test_small_groups_are_void_and_no_centre_makes_one_object():
    probability = torch.zeros(20, 6, 6)
    probability[1] = 1.0
    probability[1, :1, :3] = 0.0
    probability[4, :1, :3] = 1.0
    flat = torch.zeros(6, 6), torch.zeros(2, 6, 6)
    ids, labels, _ = group_pixels(probability, *flat, GroupConfig(min_cells=4))
    assert (ids[0, :3] == 0).all() and labels == [1]
    ids, labels, _ = group_pixels(probability, *flat, GroupConfig(min_cells=3))
    assert labels == [1, 4] and (ids[0, :3] == 2).all()


def test_strong_classes_and_one_design_have_names_and_the_rest_has_none(frames):
    knowledge = Knowledge(strong=("wall", "chair"))
    told = visible_labels(frames, CLASS_NAMES, knowledge)
    chair = CLASS_NAMES.index("chair")
    assert (told[frames.label == chair] == chair).all()
    weak = (frames.label != chair) & (frames.label != 0)
    odd = frames.instance % 2 == 1  # design 1
    assert set(np.unique(told[weak & odd])) == {255}
    np.testing.assert_array_equal(told[weak & ~odd], frames.label[weak & ~odd])


def test_other_designs_carry_their_coarse_name(frames):
    bed, sofa = CLASS_NAMES.index("bed"), CLASS_NAMES.index("sofa")
    knowledge = Knowledge(strong=(), coarse={"bed": "sofa", "sofa": "sofa"})
    told = visible_labels(frames, CLASS_NAMES, knowledge)
    for instance in (bed, sofa):  # the fixture's instance id is its class
        assert (told[frames.instance == instance] == sofa).all() == (instance % 2 == 1)
    assert knowledge.is_fine(InstanceInfo(bed, 0, ""), CLASS_NAMES)
    assert not knowledge.is_fine(InstanceInfo(bed, 3, ""), CLASS_NAMES)


def test_pixels_that_hit_nothing_are_unlabelled(frames):
    empty = dataclasses.replace(frames, label=np.full_like(frames.label, 255))
    assert (visible_labels(empty, CLASS_NAMES, Knowledge(CLASS_NAMES)) == 255).all()


def test_the_two_teachers_share_the_shell_and_split_the_rest():
    shell = {"wall", "floor"}
    assert set(DENSE_STRONG) & set(MASK_STRONG) == shell
    assert set(DENSE_STRONG) | set(MASK_STRONG) == set(CLASS_NAMES)
    assert set(DENSE_COARSE) == set(MASK_STRONG) - shell
    assert set(MASK_COARSE) == set(DENSE_STRONG) - shell
    assert set(DENSE_COARSE.values()) <= set(DENSE_COARSE)
    assert set(MASK_COARSE.values()) <= set(MASK_COARSE)


def test_crops_keep_pixels_and_labels_together(frames):
    colours = np.random.default_rng(0).integers(0, 255, (256, 3), dtype=np.uint8)
    painted = dataclasses.replace(frames, rgb=colours[frames.instance])
    plain = AugmentConfig(crop=32, low_resolution=0, blur=0, noise=0, zoom=(1, 1))
    batch = draw_batch(painted, 8, plain, np.random.default_rng(2))
    assert batch.rgb.shape == (8, 32, 32, 3) and batch.label.shape == (8, 16, 16)
    assert (batch.label == batch.instance % 20).all()
    for rgb, instance in zip(batch.rgb, batch.instance, strict=True):
        grey = rgb[1::2, 1::2].astype(float)
        for i in np.unique(instance):
            # One instance has one colour, whatever the change of colours was.
            inside = grey[instance == i]
            assert np.ptp(np.median(inside, 0) - inside, axis=0).max() <= 255
            assert np.abs(inside - np.median(inside, 0)).mean() < 12


def test_repainting_changes_whole_instances_and_no_others():
    rng = np.random.default_rng(3)
    instance = np.kron(np.arange(1, 17, dtype=np.uint8).reshape(4, 4), np.ones((9, 9)))
    instance = instance.astype(np.uint8)
    rgb = rng.integers(60, 200, (36, 36, 3), dtype=np.uint8)
    new, covered = repaint(rgb, instance, 0.5, rng)
    assert 2 <= covered.sum() <= 14 and not covered[17:].any() and not covered[0]
    changed = (new != rgb).any(2)
    assert not changed[~covered[instance]].any()
    assert changed[covered[instance]].mean() > 0.9
    assert not repaint(rgb, instance, 0.0, rng)[1].any()


def test_light_falls_from_one_side():
    rgb = np.full((24, 32, 3), 100, np.uint8)
    spans = [np.ptp(relight(rgb, 0.8, np.random.default_rng(k))) for k in range(8)]
    assert max(spans) > 60
    for k in range(8):  # never a colour: the light is white
        assert (np.ptp(relight(rgb, 0.8, np.random.default_rng(k)), axis=2) == 0).all()


def test_what_is_repainted_loses_its_caption(frames):
    draw = dataclasses.replace(SMALL, repaint=1.0, stretch=1.5, light=0.5)
    batch = draw_batch(frames, 4, draw, np.random.default_rng(5))
    assert batch.repainted.all() and batch.rgb.shape == (4, 32, 32, 3)
    assert (batch.label == batch.instance % 20).all()
    bank = TextBank(load_torch_minilm(), CLASS_NAMES, frames, Knowledge(CLASS_NAMES))
    assert (bank.caption_rows(batch) == -1).all()
    plain = dataclasses.replace(batch, repainted=np.zeros_like(batch.repainted))
    assert (bank.caption_rows(plain) >= 0).all()


def test_equal_generators_draw_equal_batches(frames):
    draw = dataclasses.replace(SMALL, repaint=0.5, stretch=1.5, light=0.5)
    one, two = (draw_batch(frames, 3, draw, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one.rgb, two.rgb)
    np.testing.assert_array_equal(one.label, two.label)


def test_centres_and_offsets_of_one_object():
    label = np.full((1, 12, 12), 1, np.uint8)
    instance = np.ones((1, 12, 12), np.uint8)
    label[0, 2:6, 4:10], instance[0, 2:6, 4:10] = 4, 7
    label[0, 0, 0], instance[0, 0, 0] = 255, 9
    rgb, plain = np.zeros((1, 24, 24, 3), np.uint8), np.zeros(label.shape, bool)
    batch = Batch(rgb, label, instance, np.array([0]), plain)
    heat, offset = centre_targets(batch, sigma=2.0)
    assert float(heat.max()) > 0.85  # the centre lies between cells
    assert np.unravel_index(int(heat.argmax()), (12, 12)) in {(3, 6), (4, 6), (3, 7)}
    np.testing.assert_allclose(offset[0, :, 2, 4], [1.5, 2.5])
    np.testing.assert_allclose(offset[0, :, 5, 9], [-1.5, -2.5])
    assert not offset[0, :, 0, 0].any() and not offset[0, :, 11, 11].any()


def test_rare_classes_weigh_more():
    labels = np.zeros((4, 10, 10), np.uint8)
    labels[:, 0, 0] = 2
    labels[:, 9] = 255
    weights = class_weights(labels, 3, balance=0.5)
    assert weights[2] / weights[0] == pytest.approx(89**0.5, rel=1e-4)


@pytest.mark.parametrize("model", ["dense", "mask", "both"])
def test_a_resumed_training_equals_an_uninterrupted_one(frames, tmp_path, model):
    config = rooms_train.TrainConfig(
        model, steps=4, batch_size=2, augment=SMALL, save_every_s=0.0
    )
    losses = []
    whole = rooms_train.train(
        config, frames, tmp_path / "a.pt", lambda s, t: losses.append(t["loss"])
    )

    class KilledError(Exception):
        pass

    def kill(step, terms):
        if step == 3:
            raise KilledError

    path = tmp_path / "b.pt"
    with pytest.raises(KilledError):
        rooms_train.train(config, frames, path, kill)
    resumed = rooms_train.train(config, frames, path, lambda s, t: None)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert all(np.isfinite(losses)) and len(losses) == 4


def test_a_checkpoint_of_another_training_is_refused(frames, tmp_path):
    config = rooms_train.TrainConfig("mask", steps=1, batch_size=2, augment=SMALL)
    path, weights = tmp_path / "c.pt", tmp_path / "net.safetensors"

    def train(config=config, frames=frames, initial=()):
        return rooms_train.train(
            config, frames, path, lambda s, t: None, initial=initial
        )

    rooms_nets.save_weights(train(), weights, {})
    before = path.read_bytes()
    for change in (
        {"config": dataclasses.replace(config, seed=1)},
        {"frames": dataclasses.replace(frames, key="other rooms")},
        {"initial": [weights]},
    ):
        with pytest.raises(InputError, match=r"same training.*Delete that file"):
            train(**change)
    assert path.read_bytes() == before
    train(dataclasses.replace(config, save_every_s=1.0))  # not another training


def test_a_full_disk_is_told_in_one_line(frames, tmp_path, monkeypatch):
    config = rooms_train.TrainConfig("mask", steps=1, batch_size=2, augment=SMALL)

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"No space left.*Free disk space"):
        rooms_train.train(config, frames, tmp_path / "c.pt", lambda s, t: None)
    assert not list(tmp_path.iterdir())


def test_training_lowers_the_loss(frames, tmp_path):
    config = rooms_train.TrainConfig("mask", steps=25, batch_size=2, augment=SMALL)
    config = dataclasses.replace(config, warmup=5)
    losses = []
    rooms_train.train(
        config, frames, tmp_path / "c.pt", lambda s, t: losses.append(t["loss"])
    )
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_the_rate_rises_and_falls():
    config = rooms_train.TrainConfig("mask", steps=100, warmup=10, learning_rate=1.0)
    rates = [rooms_train.learning_rate(config, s) for s in range(101)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == 1.0
    assert rates[100] == pytest.approx(0) and np.argmax(rates) == 9


def test_iou_of_a_known_confusion():
    counts = np.zeros((20, 20), np.int64)
    counts[0, 0], counts[0, 1], counts[1, 1], counts[2, 0] = 6, 2, 3, 1
    iou = rooms_measure.iou_per_class(counts)
    assert iou == {"wall": 6 / 9, "floor": 3 / 5, "cabinet": 0.0}


def test_weights_survive_the_file_and_other_files_are_refused(tmp_path, images):
    net, _ = rooms_nets.build(MASK_NET, LoadOptions("random:1"), "none")
    path = tmp_path / "net.safetensors"
    rooms_nets.save_weights(net, path, {"training": "{}"})
    loaded, identity = rooms_nets.build(MASK_NET, LoadOptions(str(path)), "none")
    assert identity.startswith("content:")
    pair = (RoomsMask(n, "x").segment(images[:1])[0] for n in (net, loaded))
    one, two = pair
    assert (one.label_map == two.label_map).mean() > 0.98  # f16 storage
    with pytest.raises(InputError, match="tensors, got a difference"):
        registry.load("rooms-dense", LoadOptions(str(path)))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFile):
        registry.load("rooms-mask", LoadOptions(str(path)))


def test_frames_survive_the_shard_and_are_made_once(tmp_path, monkeypatch, frames):
    monkeypatch.setattr(rooms_data, "render_rooms", lambda config, seeds: frames)
    config = FramesConfig(num_rooms=2, rooms_per_shard=2)
    for _, make in rooms_data.shards(config, tmp_path):
        make()
    assert not list(rooms_data.shards(config, tmp_path))
    loaded = rooms_data.load_frames(config, tmp_path)
    assert loaded.key == content_key(config)
    np.testing.assert_array_equal(loaded.rgb, frames.rgb)
    assert loaded.instances == frames.instances
    for change in ({"object_views": 1}, {"designs": "all"}):
        changed = dataclasses.replace(config, **change)
        assert len(list(rooms_data.shards(changed, tmp_path))) == 1


def test_frames_of_no_room_are_refused_before_any_work():
    with pytest.raises(InputError, match="at least 1 room"):
        FramesConfig(num_rooms=0)


def test_looking_at_a_target_puts_it_in_the_middle():
    eye, target = np.array([1.0, 2.0, 1.5]), np.array([3.0, 0.5, 0.2])
    pose = rooms_data.look_at(eye, target)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose) == pytest.approx(1)
    seen = np.linalg.inv(pose) @ [*target, 1]
    np.testing.assert_allclose(seen[:2], 0, atol=1e-9)
    assert seen[2] > 0 and pose[2, 1] < 0  # image rows grow downwards


SHIPPED = rooms_nets.SHIPPED / "rooms_dense.safetensors"


@pytest.mark.skipif(not SHIPPED.exists(), reason="no trained weights are shipped")
@pytest.mark.parametrize(("name", "bar"), [("rooms-dense", 0.15), ("rooms-mask", 0.15)])
def test_the_shipped_teacher_knows_a_room_it_never_saw(name, bar):
    pytest.importorskip("embreex")
    config = FramesConfig(path_views=6, object_views=0)
    room = rooms_data.render_rooms(config, range(1_950_000, 1_950_002))
    teacher = registry.load(name)
    iou = rooms_measure.iou_per_class(rooms_measure.confusion(teacher, room))
    assert np.mean(list(iou.values())) > bar
    manifest = f"{name.replace('-', '_')}.safetensors.json"
    meta = json.loads((rooms_nets.SHIPPED / manifest).read_text())
    assert "held_out_iou" in meta["meta"]
