"""spconv's CPU kernels, called through XLA, against the oracle and against ours."""

import re
import threading
import types

import jax
import jax.numpy as jnp
import jax_probe
import native_calls as calls
import numpy as np
import pytest

from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.spconv import conv as spconv_bridge
from sas_jax.sparse.spconv import cpu as spconv_cpu
from sas_jax.sparse.spconv import cuda as spconv_cuda
from sas_jax.sparse.spconv import package as spconv_package
from sas_jax.sparse.xla import conv as xla

if not spconv_bridge.is_available():
    pytest.skip("the package spconv is not installed", allow_module_level=True)


def strided_case(seed, num_out=300):
    case = calls.make_case(seed, 8, 12, 20, num_out)
    transposed = np.full((8, len(case.x)), -1, np.int32)
    for k, o in np.argwhere(case.nbr >= 0):
        transposed[k, case.nbr[k, o]] = o
    rows = (np.int32(num_out), np.int32(num_out + 3))
    return case, KernelMap(case.nbr, transposed, *rows, 2, 2)


def mirrored_case(seed, num_out=200):
    x, w, dy, kmap = jax_probe.mirrored_case(seed, num_out)
    x[num_out:], dy[num_out:] = np.nan, np.nan
    return calls.Case(x, w, dy, kmap.nbr, num_out), kmap


def value_and_grads(conv, case, kmap):
    @jax.jit
    def run(x, w, dy, kmap):
        y, back = jax.vjp(lambda x, w: conv(x, w, kmap), x, w)
        return y, *back(dy)

    return run(case.x, case.w, case.dy, kmap)


@pytest.mark.parametrize("make", [strided_case, mirrored_case])
def test_value_and_gradients_are_the_oracles(make):
    case, kmap = make(0)
    y, dx, dw = map(np.asarray, value_and_grads(spconv_bridge.conv, case, kmap))
    calls.check_forward(case, y)
    calls.check_weight_grad(case, dw)
    table = np.asarray(kmap.nbr_t)
    back = calls.Case(case.dy, case.w.swapaxes(1, 2), case.x, table, int(kmap.num_in))
    calls.check_forward(back, dx)


def test_float16_is_summed_in_float32():
    """On a GPU spconv's tuner may take sums in float16, rounded once an instruction."""
    case, kmap = strided_case(1)
    half = calls.Case(*(a.astype(np.float16) for a in (case.x, case.w, case.dy)),
                      case.nbr, case.num_out)  # fmt: skip
    wide = calls.Case(*(a.astype(np.float32) for a in (half.x, half.w, half.dy)),
                      case.nbr, case.num_out)  # fmt: skip
    low = value_and_grads(spconv_bridge.conv, half, kmap)
    high = value_and_grads(xla.conv, wide, kmap)
    sizes = value_and_grads(xla.conv, magnitudes(wide), kmap)
    on_gpu = jax.default_backend() == "gpu"
    instructions = len(kmap.nbr) * -(-max(case.w.shape[1:]) // 8) if on_gpu else 0
    for a, b, size in zip(low, high, sizes, strict=True):
        assert a.dtype == jnp.float16
        # One rounding of the result, and float32 sums that may differ near zero.
        bound = 2.0**-11 * jnp.abs(b) + 1e-4 + instructions * 2.0**-11 * size
        assert (jnp.abs(a.astype(np.float32) - b) <= bound).all()


def magnitudes(case):
    sizes = (np.abs(np.nan_to_num(a)) for a in (case.x, case.w, case.dy))
    return calls.Case(*sizes, case.nbr, case.num_out)


def test_an_empty_level_gives_zeros():
    case, _ = strided_case(2)
    nothing = np.int32(0)
    back = np.full((8, len(case.x)), -1, np.int32)
    none = KernelMap(np.full_like(case.nbr, -1), back, nothing, nothing, 2, 2)
    case.dy[:] = case.x[:] = np.nan
    for result in value_and_grads(spconv_bridge.conv, case, none):
        assert not np.asarray(result).any()


def test_its_loops_run_on_one_thread_whoever_calls():
    openmp = spconv_package.require().openmp
    if openmp is None:
        pytest.skip("this build of spconv has no threads on CPUs")
    seen = []

    def call():
        openmp.omp_set_num_threads(4)
        spconv_cpu.single_thread()
        seen.append(openmp.omp_get_max_threads())

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1, 1, 1]


class Tensor(np.ndarray):
    """An array with the one method of spconv's tensors that is called."""

    def zero_(self, context):
        self[...] = 0
        return self


class FakeGemms:
    """What spconv's GPU kernels do, with the parameter names of the installed ones."""

    def bind(self, name, args, kwargs):
        text = getattr(self.real, name).__doc__.partition("(")[2]
        names = re.findall(r"(?:^|, )(\w+): ", text)
        assert set(kwargs) <= set(names)
        return dict(zip(names, args, strict=False), **kwargs)

    def __init__(self, real):
        self.real = real

    def implicit_gemm(self, *args, **kwargs):
        p = self.bind("implicit_gemm", args, kwargs)
        shape = [p["num_activate_out"], len(p["filters"])]
        y = p["allocator"].zeros("OutFeatures", shape, 0, 0, p["stream_int"])
        self.product(y, p["features"], p["filters"].transpose(1, 2, 0), p["pair_fwd"],
                     p["pair_mask_fwd_splits"][0],
                     p["mask_argsort_fwd_splits"][0])  # fmt: skip

    def implicit_gemm_backward(self, *args, **kwargs):
        p = self.bind("implicit_gemm_backward", args, kwargs)
        assert not p["is_subm"]
        x, w, dy = p["features"], p["filters"], p["out_bp"]
        stream = p["stream_int"]
        dx = p["allocator"].zeros("DIn", list(x.shape), 0, 0, stream)
        dw = p["allocator"].zeros("DFilters", list(w.shape), 0, 0, stream)
        self.product(dx, dy, w.transpose(1, 0, 2), p["pair_bwd"],
                     p["pair_mask_bwd_splits"][0],
                     p["mask_argsort_bwd_splits"][0])  # fmt: skip
        order, width = p["mask_argsort_fwd_splits"][0], p["mask_width"]
        for tile, mask in enumerate(p["mask_output_fwd"][0, :, 0].tolist()):
            rows = order[tile * width : (tile + 1) * width]
            for k in np.flatnonzero([mask >> k & 1 for k in range(w.shape[1])]):
                out = rows[p["pair_fwd"][k, rows] >= 0]
                dw[:, k] += dy[out].T @ x[p["pair_fwd"][k, out]]

    @staticmethod
    def product(y, x, w, pairs, masks, order):
        """Take masks by the place in the order, as the kernels do, not by the row."""
        for start in range(0, len(order), 16):
            rows = order[start : start + 16]
            mask = np.bitwise_or.reduce(masks[start : start + 16, 0])
            for k in range(len(w)):
                there = rows[pairs[k, rows] >= 0]
                if mask >> np.uint32(k) & np.uint32(1):
                    y[there] += x[pairs[k, there]] @ w[k]


@pytest.fixture
def fake_cuda(monkeypatch):
    """Let the GPU half run over numpy arrays, with kernels written in numpy."""
    from spconv.constants import AllocKeys
    from spconv.core_cc.csrc.sparse.alloc import ExternalAllocator
    from spconv.core_cc.csrc.sparse.convops.spops import ConvGemmOps

    def wrap(array, shape=None):
        return array.reshape(array.shape if shape is None else tuple(shape))

    tv = spconv_package.require().tv
    cuda = types.SimpleNamespace(
        ops=FakeGemms(ConvGemmOps), tuner=None, keys=AllocKeys, arch=(8, 0),
        allocator=spconv_cuda.make_allocator(ExternalAllocator, tv, wrap),
        no_filter=None,
    )  # fmt: skip
    monkeypatch.setattr(spconv_cuda, "_spconv", lambda: cuda)
    monkeypatch.setattr(spconv_cuda, "_tensor", wrap)


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("make", [strided_case, mirrored_case])
def test_gpu_operands_mean_the_convolution_to_kernels_written_as_spconvs(make):
    case, kmap = make(4)
    case.dy[case.num_out :] = 0
    filters = case.w.transpose(2, 0, 1)

    def empty(*shape):
        return np.full(shape, np.nan, np.float32).view(Tensor)

    table, back = (
        jax.tree.map(np.asarray, spconv_bridge.pair_table(t))
        for t in (kmap.nbr, kmap.nbr_t)
    )
    y = empty(*case.dy.shape)
    spconv_cuda.forward(7, y, case.x, filters, table)
    calls.check_forward(case, y)
    dx, dw = empty(*case.x.shape), empty(*filters.shape)
    tiles = np.asarray(spconv_bridge.tile_masks(table))
    operands = (case.x, filters, case.dy)
    spconv_cuda.backward(7, (dx, dw), operands, table, back, tiles)
    calls.check_weight_grad(case, dw.transpose(1, 2, 0))
    transposed = case.w.swapaxes(1, 2)
    there = calls.Case(case.dy, transposed, case.x, back.pairs, int(kmap.num_in))
    calls.check_forward(there, dx)


def test_scratch_is_kept_and_grows():
    from spconv.core_cc.csrc.sparse.alloc import ExternalAllocator

    tv = spconv_package.require().tv
    allocator = spconv_cuda.make_allocator(ExternalAllocator, tv, None)({})
    sizes = (64, 32, 128)
    first, again, more = (allocator.empty("", [n], tv.uint8, -1) for n in sizes)
    assert first.byte_pointer() == again.byte_pointer()
    assert [t.shape[0] for t in (first, again, more)] == list(sizes)


@pytest.mark.slow
def test_a_network_gives_what_it_gives_with_xla():
    axes = np.random.default_rng(3).integers(-4, 4, (90, 3))
    coords = np.unique(np.concatenate([np.zeros((90, 1), int), axes], 1), axis=0)
    plan, _ = build_plan(coords.astype(np.int32))
    features = constant_features(plan)

    def network(impl):
        return MinkUNet(StudentConfig("MinkUNet14A", out_dim=4, impl=impl))

    init = jax.jit(lambda: network("xla").init(jax.random.key(0), plan, features,
                                               train=False))  # fmt: skip
    variables = init()
    with_spconv, with_xla = (
        jax.jit(lambda impl=impl: network(impl).apply(variables, plan, features,
                                                      train=False))()
        for impl in ("spconv", "xla")
    )  # fmt: skip
    scale = float(jnp.abs(with_xla).max())
    np.testing.assert_allclose(with_spconv, with_xla, atol=1e-5 * scale)
