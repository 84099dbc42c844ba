"""Gaussians of a scene: checks, parts of them, and other axes."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.gaussians.harmonics import sh_basis
from sas_jax.gaussians.projection import gaussians_of, rotation_matrices
from sas_jax.gaussians.splats import checked_splats, half_turn


def splats(num=20, degree=4, **more):
    rng = np.random.default_rng(0)
    return checked_splats(
        rng.normal(size=(num, 3)),
        rng.random((num, 3)),
        rng.normal(size=(num, 4)),
        rng.random(num),
        rng.normal(size=(num, (degree + 1) ** 2, 3)),
        "here",
        **more,
    )


def test_half_a_turn_moves_ellipsoids_and_colours():
    before = splats()
    after, flip = half_turn(before), np.float32([1, -1, -1])

    def covariances(some):
        axes = rotation_matrices(gaussians_of(some).rotations) * some.scales[:, None]
        return np.einsum("gik,gjk->gij", axes, axes)

    want = covariances(before) * flip[:, None] * flip
    np.testing.assert_allclose(covariances(after), want, atol=1e-6)
    np.testing.assert_array_equal(after.means, before.means * flip)
    away = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    away /= np.linalg.norm(away, axis=1, keepdims=True)

    def colours(some, directions):
        return np.einsum("gk,gkc->gc", sh_basis(jnp.asarray(directions), 4), some.sh)

    want = colours(before, away)
    np.testing.assert_allclose(colours(after, away * flip), want, atol=1e-5)
    again = half_turn(after)
    for field in ("means", "rotations", "sh"):
        np.testing.assert_array_equal(getattr(again, field), getattr(before, field))


def test_some_of_them_keep_what_they_carry():
    labels = np.arange(20, dtype=np.int32)
    some = splats(labels=labels, features=np.eye(20, 5)).take(labels % 3 == 1)
    assert len(some) == 7 and some.degree == 4
    np.testing.assert_array_equal(some.labels, labels[1::3])
    np.testing.assert_array_equal(some.features, np.eye(20, 5)[1::3])


def test_quaternions_become_unit():
    length = np.linalg.norm(splats().rotations, axis=1)
    np.testing.assert_allclose(length, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("place", "value", "word"),
    [
        (0, np.nan, "positions"),
        (1, -1, "scales"),
        (1, np.inf, "scales"),
        (2, 0, "quaternions"),
        (3, 1.5, "opacities"),
        (3, np.nan, "opacities"),
        (4, -np.inf, "colours"),
    ],
)
def test_what_makes_no_sense_is_named(place, value, word):
    whole = splats()
    names = ("means", "scales", "rotations", "opacities", "sh")
    parts = [getattr(whole, name).copy() for name in names]
    parts[place][4] = value
    parts[place][9] = value
    with pytest.raises(InputError, match=rf"here: .*{word}.*row 4 and 1 more"):
        checked_splats(*parts, "here")


def test_shapes_are_the_callers_duty():
    whole = splats()
    with pytest.raises(ContractError, match=r"scales f32 \[20, 3\]"):
        dataclasses.replace(whole, scales=whole.scales[1:])
    with pytest.raises(ContractError, match="labels of 20"):
        dataclasses.replace(whole, labels=np.zeros(3, np.int32))
