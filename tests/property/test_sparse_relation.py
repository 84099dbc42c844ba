"""The relation holds for every kernel, stride and implementation, and would be missed.

Every comparison is with the scalar oracle, within the rounding of float32 sums in any
order; padding rows of features and cotangents hold NaN.
"""

import functools

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse import tables
from sas_jax.sparse.conv import sparse_conv
from sas_jax.sparse.kernel_map import strided_map, submanifold_map
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.native import plan as native_plan

C_IN, C_OUT, CAP_IN, CAP_OUT = 5, 3, 140, 150
IMPLS = [
    "xla",
    pytest.param(
        "native",
        marks=pytest.mark.skipif(
            not native.is_available(), reason="the native library is not built"
        ),
    ),
]


def voxels(seed, level_stride=1, count=110):
    """Sorted voxels of one level around the origin, in two scenes."""
    rng = np.random.default_rng(seed)
    axes = rng.integers(-4, 5, (count, 3)) * level_stride
    coords = np.concatenate([rng.integers(0, 2, (count, 1)), axes], axis=1)
    return np.unique(coords, axis=0).astype(np.int32)


def case(seed, kernel_size, stride, level_stride):
    """Map, oracle pairs and random operands of one convolution."""
    coords_in = voxels(seed, level_stride)
    coords_out = oracle.coarsen(coords_in, stride * level_stride)
    keys_in = voxel_keys.pack(coords_in)
    if stride == 1 and kernel_size % 2:
        kmap = submanifold_map(keys_in, kernel_size, level_stride, CAP_IN)
    else:
        keys_out = voxel_keys.pack(np.array(coords_out, np.int32))
        capacities = (CAP_IN, CAP_OUT)
        kmap = strided_map(
            (keys_in, keys_out), kernel_size, stride, level_stride, capacities
        )
    rng = np.random.default_rng(seed + 1000)
    operands = {
        "features": rng.standard_normal((len(coords_in), C_IN), np.float32),
        "weights": rng.standard_normal((kernel_size**3, C_IN, C_OUT), np.float32),
        "cotangent": rng.standard_normal((len(coords_out), C_OUT), np.float32),
    }
    pairs = oracle.pairs(coords_in, coords_out, kernel_size, level_stride)
    return kmap, pairs, operands


def poisoned(rows, capacity):
    padded = np.full((capacity, rows.shape[1]), np.nan, np.float32)
    padded[: len(rows)] = rows
    return padded


@functools.partial(jax.jit, static_argnames="impl")
def run(features, weights, kmap, cotangent, impl):
    out, pull = jax.vjp(lambda x, w: sparse_conv(x, w, kmap, impl=impl),
                        features, weights)  # fmt: skip
    return out, *pull(cotangent)


def check(kmap, pairs, operands, impl):
    """Compare output and gradients with the oracle; assert zero padding rows."""
    x, w, dy = (operands[name] for name in ("features", "weights", "cotangent"))
    out, dx, dw = run(
        poisoned(x, kmap.capacity_in), w, kmap, poisoned(dy, kmap.capacity_out), impl
    )
    assert not np.asarray(out[len(dy) :]).any()
    assert not np.asarray(dx[len(x) :]).any()
    dx_true, dw_true = oracle.conv_gradients(x, w, pairs, dy)
    dx_bound, dw_bound = oracle.gradient_bounds(x, w, pairs, dy)
    within(out[: len(dy)], oracle.conv(x, w, pairs, len(dy)),
           oracle.rounding_bound(x, w, pairs, len(dy)))  # fmt: skip
    within(dx[: len(x)], dx_true, dx_bound)
    within(dw, dw_true, dw_bound)


def within(got, expected, bound):
    error = np.abs(np.asarray(got, np.float64) - expected)
    assert (error <= bound).all(), f"{(error - bound).max()} beyond the rounding bound"


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
def test_every_kernel_and_stride(kernel_size, stride, impl):
    level_stride = 1 + (kernel_size + stride) % 2
    check(*case(kernel_size, kernel_size, stride, level_stride), impl)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("kernel_size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_transposed_convolution(kernel_size, stride, impl):
    kmap, pairs, operands = case(7, kernel_size, stride, 1)
    rng = np.random.default_rng(0)
    flipped = {
        "features": rng.standard_normal((int(kmap.num_out), C_IN), np.float32),
        "weights": operands["weights"],
        "cotangent": rng.standard_normal((int(kmap.num_in), C_OUT), np.float32),
    }
    check(kmap.transpose(), oracle.transpose(pairs), flipped, impl)


def swap_axes(kernel_size, dilation):
    return original_offsets(kernel_size, dilation)[:, ::-1].copy()


def shift_by_one(kernel_size, dilation):
    return np.roll(original_offsets(kernel_size, dilation), 1, axis=0)


def mirror(kernel_size, dilation):
    return original_offsets(kernel_size, dilation)[::-1].copy()


original_offsets = tables.kernel_offsets


@pytest.mark.parametrize("wrong", [swap_axes, shift_by_one, mirror])
def test_wrong_offsets_are_noticed(wrong, monkeypatch):
    monkeypatch.setattr(tables, "kernel_offsets", wrong)
    monkeypatch.setattr(native_plan, "is_available", lambda: False)
    with pytest.raises(AssertionError, match="rounding bound"):
        check(*case(3, 2, 2, 1), "xla")


@pytest.mark.parametrize(
    "damage",
    [
        lambda w: np.zeros_like(w),
        lambda w: np.roll(w, 1, axis=0),
        lambda w: np.concatenate([np.zeros_like(w[:1]), w[1:]]),
        lambda w: w * np.float32(1.0001),
    ],
    ids=["zero kernel", "shifted offset", "one offset missing", "one part in 10^4"],
)
def test_wrong_weights_are_noticed(damage):
    kmap, pairs, operands = case(3, 3, 1, 1)
    x, w, dy = (operands[name] for name in ("features", "weights", "cotangent"))
    out = sparse_conv(jnp.asarray(poisoned(x, CAP_IN)), jnp.asarray(damage(w)), kmap,
                      impl="xla")  # fmt: skip
    with pytest.raises(AssertionError, match="rounding bound"):
        within(out[: len(dy)], oracle.conv(x, w, pairs, len(dy)),
               oracle.rounding_bound(x, w, pairs, len(dy)))  # fmt: skip


def test_a_dropped_neighbour_is_noticed():
    kmap, pairs, operands = case(3, 3, 1, 1)
    k, i, o = pairs[len(pairs) // 2]
    assert kmap.nbr[k, o] == i
    kmap.nbr[k, o] = -1
    with pytest.raises(AssertionError, match="rounding bound"):
        check(kmap, pairs, operands, "xla")


@pytest.mark.parametrize("stride", [1, 2])
def test_moving_the_scene_by_the_stride_moves_the_result(stride):
    coords = voxels(11)
    moved = coords + np.array([0, 3, -5, 2], np.int32) * (stride * 2)
    maps = []
    for c in (coords, moved):
        coarse = np.array(oracle.coarsen(c, stride), np.int32)
        both = (voxel_keys.pack(c), voxel_keys.pack(coarse))
        maps.append(strided_map(both, 2, stride, 1, (CAP_IN, CAP_OUT)))
    jax.tree.map(np.testing.assert_array_equal, *maps)


def test_scenes_of_a_batch_do_not_touch():
    coords = voxels(12)
    kmap = submanifold_map(voxel_keys.pack(coords), 5, 1, len(coords))
    outputs = np.broadcast_to(np.arange(len(coords)), kmap.nbr.shape)
    found = kmap.nbr >= 0
    assert (coords[kmap.nbr[found], 0] == coords[outputs[found], 0]).all()


coordinates = hypothesis.extra.numpy.arrays(
    np.int32, st.tuples(st.integers(0, 12), st.just(4)), elements=st.integers(-3, 3)
)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    coordinates, st.integers(1, 5), st.integers(1, 3), st.sampled_from([1, 2, 8])
)
def test_tables_are_the_oracles_pairs(coords, kernel_size, stride, level_stride):
    coords = np.unique(coords * [0, *[level_stride] * 3], axis=0).astype(np.int32)
    coarse = oracle.coarsen(coords, stride * level_stride)
    keys_in = voxel_keys.pack(coords)
    keys_out = voxel_keys.pack(np.array(coarse, np.int32).reshape(-1, 4))
    kmap = strided_map((keys_in, keys_out), kernel_size, stride, level_stride, (20, 20))
    expected = set(oracle.pairs(coords, coarse, kernel_size, level_stride))
    for table, pairs in (
        (kmap.nbr, expected), (kmap.nbr_t, set(oracle.transpose(expected)))
    ):  # fmt: skip
        got = {(k, int(table[k, o]), o) for k, o in np.argwhere(table >= 0).tolist()}
        assert got == pairs
