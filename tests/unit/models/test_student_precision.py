"""A student in bfloat16 decides as in float32, faster, or says why it cannot."""

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.models import shipped
from sas_jax.models.student import Predictor
from sas_jax.models.student_file import read_student
from sas_jax.rooms.layout import make_room
from sas_jax.sparse import conv
from sas_jax.sparse.native import conv as native

# Of the largest feature. Here it is 2.1 %, with some forty roundings to 8 significant
# bits in a row; no bound is derived.
ERROR = 0.04


@pytest.fixture(scope="module")
def student():
    return read_student(shipped.find("rooms"))


def surface(seed, count):
    """Points on all surfaces of a furnished room."""
    mesh = make_room(seed).joined.mesh
    corners = mesh.vertices[mesh.faces]
    sides = np.diff(corners, axis=1)
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    rng = np.random.default_rng(0)
    chosen = corners[rng.choice(len(area), count, p=area / area.sum())]
    shares = rng.dirichlet(np.ones(3), count)
    return np.einsum("pc,pcx->px", shares, chosen).astype(np.float32)


def skip_without_products():
    try:
        conv.require_bf16("test", None)
    except InputError as reason:
        pytest.skip(str(reason))


def test_decisions_are_those_of_float32(student):
    skip_without_products()
    points = surface(7, 30_000)
    exact = Predictor(student).features(points)
    fast = Predictor(student, "bf16").features(points)
    np.testing.assert_array_equal(fast.row, exact.row)
    assert fast.feat.dtype == exact.feat.dtype
    off = np.abs(fast.feat - exact.feat).max() / np.abs(exact.feat).max()
    assert 1e-4 < off < ERROR
    one, two = (
        np.argmax(found.feat @ student.text_features.T, axis=1)[found.row]
        for found in (exact, fast)
    )
    assert np.unique(one).size >= 5  # a bare room would decide itself
    assert np.mean(one == two) >= 0.995


def test_no_other_way_is_taken_in_its_place(student, monkeypatch):
    with pytest.raises(InputError, match="precision must be one of f32, bf16"):
        Predictor(student, "f16")
    monkeypatch.setattr(native, "is_available", lambda: False)
    with pytest.raises(InputError, match="native kernels are required for bf16"):
        Predictor(student, "bf16")
