"""Rooms: reproducible, furnished without collisions, walkable, balanced."""

import functools
from collections import Counter

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.rooms.catalogue import CLASS_NAMES, DESIGNS, NYU40_IDS, TYPICAL
from sas_jax.rooms.layout import RoomConfig, make_room

NUM_ROOMS = 200


@functools.lru_cache(maxsize=64)
def room(seed):
    return make_room(seed)


def overlap(first, second):
    """Shared extent of two boxes along each axis, negative where they are apart."""
    return np.minimum(first[1], second[1]) - np.maximum(first[0], second[0])


def same(first, second):
    assert first.kind == second.kind
    assert first.size_m == second.size_m
    assert first.lights == second.lights
    a, b = first.joined, second.joined
    for name in ("vertices", "faces", "color", "texture", "uv", "seed"):
        left, right = getattr(a.mesh, name), getattr(b.mesh, name)
        assert left.tobytes() == right.tobytes()
    assert a.face_instance.tobytes() == b.face_instance.tobytes()


@pytest.mark.parametrize("seed", [0, 1, 17])
def test_same_seed_gives_the_same_bits(seed):
    same(make_room(seed), make_room(seed))


def test_other_seed_gives_another_room():
    assert room(0).size_m != room(1).size_m


def test_meshes_are_sound():
    for seed in range(50):
        joined = room(seed).joined
        assert np.isfinite(joined.mesh.vertices).all()
        assert joined.mesh.areas().min() > 1e-9
        assert 1000 < joined.mesh.num_faces < 60_000
        assert len(joined.face_class) == joined.mesh.num_faces


def test_nothing_interpenetrates():
    for seed in range(50):
        things = room(seed).furniture()
        for i, first in enumerate(things):
            for second in things[i + 1 :]:
                related = (
                    first.parent_id == second.instance_id
                    or second.parent_id == first.instance_id
                )
                if not related:
                    shared = overlap(first.box, second.box)
                    assert shared.min() < 2e-3, (
                        seed,
                        first.object.noun,
                        second.object.noun,
                    )


def test_children_belong_to_their_parents():
    seen = Counter()
    for seed in range(50):
        by_id = {p.instance_id: p for p in room(seed).objects}
        for child in by_id.values():
            if child.parent_id is None:
                continue
            parent = by_id[child.parent_id]
            seen[child.class_name, parent.class_name] += 1
            shared = overlap(child.box, parent.box)
            assert shared[:2].max() > -0.3
            if child.object.placement == "top":
                rest = parent.position_m[2] + parent.object.top_z_m
                assert child.box[0, 2] == pytest.approx(rest, abs=1e-4)
            if child.object.placement == "inset":
                assert parent.class_name == "counter"
                assert (child.box[0, :2] > parent.box[0, :2] - 1e-6).all()
                assert (child.box[1, :2] < parent.box[1, :2] + 1e-6).all()
            if child.class_name == "chair":
                assert shared[:2].min() < 0.12
    for pair in (
        ("sink", "counter"),
        ("curtain", "window"),
        ("shower curtain", "bathtub"),
        ("chair", "table"),
        ("other furniture", "desk"),
    ):
        assert seen[pair] > 0, pair


def test_everything_is_inside_the_room():
    for seed in range(50):
        width, depth, height = room(seed).size_m
        for placed in room(seed).furniture():
            low, high = placed.box
            reach = 0.17 if placed.class_name in ("door", "window") else 1e-4
            assert (low[:2] > -reach).all()
            assert high[0] < width + reach
            assert high[1] < depth + reach
            assert -1e-4 < low[2] < high[2] < height + 0.02


def test_standing_things_face_the_room():
    for seed in range(20):
        size = np.asarray(room(seed).size_m[:2])
        for placed in room(seed).furniture():
            if placed.object.placement != "wall" or placed.parent_id is not None:
                continue
            front = np.array([-np.sin(placed.yaw), np.cos(placed.yaw)])
            center = np.asarray(placed.position_m[:2])
            back = center - front * placed.object.size_m[1] / 2
            to_wall = np.min(np.concatenate([back, size - back]))
            assert to_wall < 0.03


def test_instance_ids_count_up_and_labels_agree():
    for seed in range(20):
        objects = room(seed).objects
        assert [p.instance_id for p in objects] == list(range(1, len(objects) + 1))
        assert [p.class_name for p in objects[:5]] == ["floor"] + ["wall"] * 4
        for placed in objects:
            assert CLASS_NAMES[placed.class_index] == placed.class_name
            assert NYU40_IDS[placed.class_index] == placed.nyu40_id


def test_every_class_is_in_a_quarter_of_the_rooms():
    counts = Counter()
    for seed in range(NUM_ROOMS):
        counts.update({p.class_name for p in make_room(seed).objects})
    for name in CLASS_NAMES:
        assert counts[name] >= 0.25 * NUM_ROOMS, (name, counts[name])
    assert counts["wall"] == counts["floor"] == NUM_ROOMS


def test_room_sizes_are_in_range():
    config = RoomConfig()
    for seed in range(50):
        width, depth, height = room(seed).size_m
        assert config.width_range_m[0] <= width <= config.width_range_m[1]
        assert config.depth_range_m[0] <= depth <= config.depth_range_m[1]
        assert config.height_range_m[0] <= height <= config.height_range_m[1]


def test_walls_have_holes_behind_windows():
    found = 0
    for seed in range(10):
        for placed in room(seed).furniture():
            if placed.class_name != "window":
                continue
            found += 1
            low, high = placed.box
            middle = (low + high) / 2
            wall = room(seed).objects[1 + round(placed.yaw / (np.pi / 2)) % 4]
            corners = wall.mesh.vertices[wall.mesh.faces]
            near = np.abs(corners.mean(1) - middle).max(1) < 0.2
            assert not near.any()
    assert found > 3


def test_camera_positions_are_free():
    for seed in range(20):
        current = room(seed)
        rng = np.random.default_rng(seed)
        assert current.free_space(1.5, 0.2).mean() > 0.05
        for _ in range(5):
            point = current.sample_free_position(rng, 1.5)
            assert point[2] == 1.5
            for placed in current.furniture():
                low, high = placed.box
                if low[2] < 1.5:
                    inside = (low[:2] < point[:2]) & (point[:2] < high[:2])
                    assert not inside.all()


def test_doors_can_open():
    for seed in range(30):
        things = room(seed).furniture()
        for door in (p for p in things if p.class_name == "door"):
            front = np.array([-np.sin(door.yaw), np.cos(door.yaw), 0.0])
            swing = door.box.copy()
            swing += np.stack([np.minimum(front, 0), np.maximum(front, 0)]) * 0.8
            swing[1, 2] = 1.9
            for other in things:
                if other is not door:
                    assert overlap(swing, other.box).min() < 2e-3


def test_designs_filter_is_respected():
    designs = {"chair": (1,), "bed": (0, 3), "sofa": (), "sink": (0,), "door": (2,)}
    config = RoomConfig(designs=designs)
    seen = Counter()
    for seed in range(25):
        for placed in make_room(seed, config).furniture():
            name = placed.class_name
            seen[name] += 1
            if name in designs:
                assert placed.object.design in designs[name]
    assert seen["sofa"] == 0
    assert min(seen[name] for name in ("chair", "bed", "sink", "door")) > 3


def test_a_typical_world_has_every_class():
    config = RoomConfig(designs=TYPICAL)
    seen = Counter()
    for seed in range(60):
        for placed in make_room(seed, config).furniture():
            seen[placed.class_name] += 1
            assert placed.object.design in TYPICAL[placed.class_name]
    assert set(seen) == set(DESIGNS) and min(seen.values()) > 10


@pytest.mark.parametrize("name", DESIGNS)
def test_each_class_can_be_limited_to_its_last_design(name):
    config = RoomConfig(designs={name: (DESIGNS[name] - 1,)})
    for seed in range(3):
        for placed in make_room(seed, config).furniture():
            if placed.class_name == name:
                assert placed.object.design == DESIGNS[name] - 1


def test_class_weight_zero_bans_and_large_weight_multiplies():
    config = RoomConfig(class_weights={"picture": 0.0, "bookshelf": 3.0})
    plain, weighted = Counter(), Counter()
    for seed in range(25):
        plain.update(p.class_name for p in room(seed).objects)
        weighted.update(p.class_name for p in make_room(seed, config).objects)
    assert weighted["picture"] == 0 < plain["picture"]
    assert weighted["bookshelf"] > 1.3 * plain["bookshelf"]


def test_kind_and_object_limit_are_respected():
    config = RoomConfig(kind_weights={"bathroom": 1.0}, max_objects=5)
    for seed in range(5):
        current = make_room(seed, config)
        assert current.kind == "bathroom"
        assert len(current.furniture()) <= 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind_weights": {"cellar": 1.0}}, "kind_weights"),
        ({"kind_weights": {"kitchen": 0.0}}, "above 0"),
        ({"designs": {"wall": (0,)}}, "designs"),
        ({"designs": {"chair": (99,)}}, r"designs\['chair'\]"),
        ({"class_weights": {"piano": 1.0}}, "class_weights"),
        ({"width_range_m": (4.0, 3.0)}, "width_range_m"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        RoomConfig(**settings)
