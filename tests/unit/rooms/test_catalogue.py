"""Every design of every class: buildable, sound, of plausible size, varied."""

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.rooms.catalogue import (
    CLASS_NAMES,
    DESIGNS,
    TYPICAL,
    Fit,
    make_object,
    named_designs,
    split_designs,
)
from sas_jax.rooms.catalogue.colors import color_name

CASES = [(name, design) for name, count in DESIGNS.items() for design in range(count)]

# Least and greatest width, depth and height in metres over all designs of a class.
SIZES = {
    "cabinet": ((0.38, 1.7), (0.28, 0.75), (0.4, 2.2)),
    "bed": ((0.85, 1.9), (1.85, 2.4), (0.7, 2.2)),
    "chair": ((0.3, 0.8), (0.3, 0.95), (0.7, 1.35)),
    "sofa": ((1.3, 2.6), (0.7, 1.65), (0.6, 1.1)),
    "table": ((0.35, 1.75), (0.35, 1.25), (0.33, 0.8)),
    "door": ((0.8, 1.65), (0.1, 0.2), (1.95, 2.3)),
    "window": ((0.7, 2.1), (0.1, 0.25), (0.8, 1.65)),
    "bookshelf": ((0.55, 1.5), (0.19, 0.55), (0.5, 2.2)),
    "picture": ((0.3, 1.3), (0.005, 0.08), (0.25, 1.15)),
    "counter": ((1.0, 2.2), (0.45, 0.75), (0.84, 1.4)),
    "desk": ((0.9, 1.7), (0.48, 0.9), (0.7, 1.5)),
    "curtain": ((1.1, 2.2), (0.08, 0.3), (1.25, 2.2)),
    "refrigerator": ((0.54, 0.95), (0.55, 0.8), (1.1, 1.9)),
    "shower curtain": ((1.2, 1.8), (0.03, 0.25), (1.65, 2.0)),
    "toilet": ((0.35, 0.8), (0.5, 0.8), (0.6, 2.0)),
    "sink": ((0.3, 1.0), (0.3, 0.6), (0.2, 1.25)),
    "bathtub": ((1.1, 1.75), (0.65, 1.5), (0.6, 0.95)),
    "other furniture": ((0.2, 1.55), (0.2, 0.9), (0.25, 1.85)),
}


def build(name, design, seed=0, fit=None):
    return make_object(name, design, np.random.default_rng([seed, design]), fit)


def test_all_modelled_classes_have_at_least_four_designs():
    assert set(DESIGNS) == set(CLASS_NAMES) - {"wall", "floor"}
    assert min(DESIGNS.values()) >= 4


def test_typical_designs_are_several_of_every_class():
    assert set(TYPICAL) == set(DESIGNS)
    for name, designs in TYPICAL.items():
        assert len(set(designs)) == len(designs) >= 2
        assert min(designs) >= 0 and max(designs) < DESIGNS[name]
    assert named_designs("typical") is TYPICAL and named_designs("all") is None
    with pytest.raises(InputError, match="must be typical, all"):
        named_designs("few")


def test_held_out_designs_are_a_third_of_each_class_and_never_the_first():
    train, held_out = split_designs(0)
    for name, count in DESIGNS.items():
        assert sorted(train[name] + held_out[name]) == list(range(count))
        assert 0 in train[name] and 1 <= len(held_out[name]) <= count / 2
    assert split_designs(0) == (train, held_out) != split_designs(1)
    assert named_designs("train:0") == train
    assert named_designs("held-out:0") == held_out
    for wrong in ("held-out", "train:", "train:-1", "all:0"):
        with pytest.raises(InputError, match="held-out:<seed>"):
            named_designs(wrong)


@pytest.mark.parametrize(("name", "design"), CASES)
def test_design_is_sound(name, design):
    for seed in range(4):
        thing = build(name, design, seed)
        mesh = thing.mesh
        assert np.isfinite(mesh.vertices).all()
        assert np.isfinite(mesh.uv).all()
        assert mesh.areas().min() > 1e-8
        assert mesh.num_faces < 8000
        assert 0.0 <= mesh.color.min() <= mesh.color.max() <= 1.0
        for extent, (low, high) in zip(thing.size_m, SIZES[name], strict=True):
            assert low <= extent <= high, (thing.noun, thing.size_m)


@pytest.mark.parametrize(("name", "design"), CASES)
def test_design_stands_at_its_origin(name, design):
    thing = build(name, design)
    low, high = thing.mesh.bounds()
    assert low[2] == pytest.approx(0.0, abs=1e-6)
    assert low[0] == pytest.approx(-high[0], abs=1e-5)
    if thing.placement in ("mounted", "hung"):
        assert low[1] <= 0.0 < high[1] or thing.placement == "mounted"
    else:
        assert low[1] == pytest.approx(-high[1], abs=1e-5)
    if thing.top_z_m is not None:
        assert 0.3 < thing.top_z_m <= thing.size_m[2] + 1e-6


@pytest.mark.parametrize("name", DESIGNS)
def test_designs_differ_and_draws_differ(name):
    counts = {build(name, d).mesh.num_faces for d in range(DESIGNS[name])}
    assert len(counts) >= 3
    first, second = build(name, 0, seed=1), build(name, 0, seed=2)
    assert first.size_m != second.size_m
    assert first.color != second.color


def test_same_generator_state_gives_the_same_bits():
    for name, design in CASES:
        first, second = build(name, design, 7), build(name, design, 7)
        assert first.mesh.vertices.tobytes() == second.mesh.vertices.tobytes()
        assert first.mesh.uv.tobytes() == second.mesh.uv.tobytes()
        assert first.caption == second.caption


@pytest.mark.parametrize("name", ["chair", "sofa", "bed", "curtain", "cabinet"])
def test_colour_does_not_tell_the_class(name):
    names = {build(name, seed % DESIGNS[name], seed).color_name for seed in range(60)}
    assert len(names) >= 5


@pytest.mark.parametrize("name", ["toilet", "bathtub", "sink", "refrigerator"])
def test_sanitary_ware_is_mostly_pale(name):
    things = [build(name, seed % DESIGNS[name], seed) for seed in range(40)]
    pale = [min(thing.color) > 0.5 for thing in things]
    assert 0.5 < np.mean(pale) <= 1.0


def test_counter_heeds_width_and_slot():
    fit = Fit(width_m=1.6, slot_m=(0.5, 0.4))
    thing = build("counter", 0, fit=fit)
    assert thing.size_m[0] == pytest.approx(1.61, abs=0.02)
    x, y = thing.slot_xy_m
    center = thing.mesh.vertices[thing.mesh.faces].mean(1)
    up = thing.mesh.normals()[:, 2] > 0.9
    for corner in (-0.2, 0.2):
        # A ray straight down through the hole meets nothing at worktop height.
        point = np.array([x + corner, y])
        level = center[:, 2] > thing.top_z_m - 0.06
        for face in np.flatnonzero(up & level):
            assert not _inside(point, thing.mesh.vertices[thing.mesh.faces[face], :2])


def _inside(point, triangle):
    """Whether a point lies in a counter-clockwise triangle."""
    edges = np.roll(triangle, -1, 0) - triangle
    offsets = point - triangle
    return (edges[:, 0] * offsets[:, 1] > edges[:, 1] * offsets[:, 0]).all()


def test_curtains_heed_width_and_height():
    fit = Fit(width_m=1.5, height_m=1.9, depth_m=0.8)
    for name in ("curtain", "shower curtain"):
        for design in range(DESIGNS[name]):
            width, _, height = build(name, design, fit=fit).size_m
            assert width == pytest.approx(1.5, abs=0.08)
            assert height == pytest.approx(1.9, abs=0.06)


def test_windows_and_hinged_doors_ask_for_a_hole():
    for design in range(DESIGNS["window"]):
        thing = build("window", design)
        width, height, low = thing.opening_m
        assert width < thing.size_m[0]
        assert low + height < thing.size_m[2] + 1e-6
        assert thing.mesh.bounds()[0, 1] < -0.05
    assert build("door", 0).opening_m is not None


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ((0.95, 0.95, 0.95), "white"),
        ((0.5, 0.5, 0.52), "gray"),
        ((0.08, 0.08, 0.1), "black"),
        ((0.85, 0.1, 0.1), "red"),
        ((0.55, 0.36, 0.2), "brown"),
        ((0.86, 0.76, 0.6), "beige"),
        ((0.15, 0.5, 0.2), "green"),
        ((0.15, 0.25, 0.8), "blue"),
        ((0.95, 0.9, 0.2), "yellow"),
        ((0.5, 0.15, 0.7), "purple"),
    ],
)
def test_colour_names(color, name):
    assert color_name(color) == name


def test_unknown_class_or_design_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="class must be one of"):
        make_object("wall", 0, rng)
    with pytest.raises(InputError, match=r"design of 'chair' must be in"):
        make_object("chair", DESIGNS["chair"], rng)
