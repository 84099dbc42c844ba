"""What the bridge does without spconv: its tables, its refusals, its place in networks.

The kernels themselves are compared with the oracle in tests/kernels.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.conv import choose_impl, sparse_conv
from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.rungs import Rung
from sas_jax.sparse.spconv import conv as spconv_bridge
from sas_jax.sparse.spconv import package as spconv_package
from sas_jax.sparse.spconv.conv import TILE_ROWS, pair_table, tile_masks

CAPACITY = 3 * TILE_ROWS + 7


@pytest.fixture(scope="module")
def plan():
    axes = np.random.default_rng(0).integers(-5, 5, (400, 3))
    coords = np.unique(np.concatenate([np.zeros((400, 1), int), axes], 1), axis=0)
    return build_plan(coords.astype(np.int32), Rung((CAPACITY, 256, 64, 16, 8)))[0]


@pytest.fixture
def installed(monkeypatch):
    """Pretend that spconv is there, for what happens before it is called."""
    monkeypatch.setattr(spconv_bridge, "is_available", lambda: True)
    monkeypatch.setattr(spconv_package, "require", lambda: None)


def test_masks_in_their_order_say_which_offsets_have_pairs(plan):
    nbr = plan.within(0, 3).nbr
    table = jax.jit(pair_table)(nbr)
    bits = (
        np.asarray(table.masks)[None] >> np.arange(27, dtype=np.uint32)[:, None]
    ) & 1
    np.testing.assert_array_equal(bits == 1, np.asarray(nbr)[:, table.order] >= 0)
    assert table.masks.dtype == jnp.uint32
    assert (np.diff(np.asarray(table.masks).astype(np.int64)) >= 0).all()


def test_thirty_two_offsets_fit_into_a_mask():
    table = pair_table(jnp.zeros((32, 1), jnp.int32))
    assert table.masks.tolist() == [2**32 - 1]


def test_walking_sorted_tiles_by_their_masks_visits_every_pair_once(plan):
    for nbr in (plan.within(0, 3).nbr, plan.down(0, 2).nbr, plan.down(0, 2).nbr_t):
        table = pair_table(nbr)
        order = np.asarray(table.order)
        np.testing.assert_array_equal(np.sort(order), np.arange(nbr.shape[1]))
        visited = np.full_like(nbr, -1)
        for tile, mask in enumerate(tile_masks(table).tolist()):
            rows = order[tile * TILE_ROWS : (tile + 1) * TILE_ROWS]
            for k in range(len(nbr)):
                if mask >> k & 1:
                    visited[k, rows] = nbr[k, rows]
        np.testing.assert_array_equal(visited, nbr)


@pytest.mark.usefixtures("installed")
def test_more_than_thirty_two_offsets_are_refused_with_the_way_out(plan):
    x, w = jnp.ones((CAPACITY, 2)), jnp.ones((125, 2, 3))
    with pytest.raises(InputError, match=r"125 \(5\^3\).*impl=None for this layer"):
        sparse_conv(x, w, plan.within(0, 5), impl="spconv")


@pytest.mark.usefixtures("installed")
def test_other_types_are_refused():
    assert choose_impl("spconv", jnp.dtype(jnp.float16)) == "spconv"
    with pytest.raises(InputError, match="float32 or float16, got bfloat16"):
        choose_impl("spconv", jnp.dtype(jnp.bfloat16))


def test_an_absent_package_is_an_error_that_says_what_to_install(monkeypatch, plan):
    monkeypatch.setattr(spconv_bridge, "is_available", lambda: False)
    x, w = jnp.ones((CAPACITY, 2)), jnp.ones((27, 2, 3))
    with pytest.raises(InputError, match="pip install"):
        sparse_conv(x, w, plan.within(0, 3), impl="spconv")


def test_a_broken_package_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cumm", None)
    monkeypatch.setitem(sys.modules, "cumm.tensorview", None)
    with pytest.raises(InputError, match="pip install"):
        spconv_package.require.__wrapped__()


def test_two_threads_are_refused_where_they_cannot_be_prevented(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(InputError, match="OMP_NUM_THREADS=1"):
        spconv_package._openmp(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert spconv_package._openmp(tmp_path) is None


@pytest.mark.usefixtures("installed")
def test_a_network_gives_its_stem_to_the_default_implementation(monkeypatch, plan):
    used = []

    def record(features, weights, kmap):
        used.append(kmap.kernel_size)
        return jnp.zeros((kmap.capacity_out, weights.shape[2]), features.dtype)

    monkeypatch.setattr(spconv_bridge, "conv", record)
    network = MinkUNet(StudentConfig("MinkUNet14A", out_dim=4, impl="spconv"))

    def run(plan):
        features = constant_features(plan)
        return network.init(jax.random.key(0), plan, features, train=False)

    jax.eval_shape(run, plan)
    assert sorted(set(used)) == [2, 3]
