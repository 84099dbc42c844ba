"""The CUDA library without a GPU: it compiles, and programs lower to its calls."""

import ctypes
import itertools
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax import native_call, native_library
from sas_jax.errors import InputError
from sas_jax.models.layers import ResidualBlock
from sas_jax.sparse import device_plan
from sas_jax.sparse.conv import choose_impl, pointwise, sparse_conv
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.native import cuda as native_cuda
from sas_jax.sparse.native import neighbours as native_neighbours
from sas_jax.sparse.native import norm as native_norm
from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.rungs import Rung
from sas_jax.sparse.xla import keys as words

SYMBOLS = ("SasConvForward", "SasConvWeightGrad", "SasNeighbours", "sas_abi_version")
CONVOLUTIONS = {"sas_conv_forward", "sas_conv_weight_grad"}
TARGETS = (*sorted(CONVOLUTIONS), "sas_neighbours")
CHECKS = [jax.export.DisabledSafetyCheck.custom_call(name) for name in TARGETS]
# 12000 rows are three slabs of the weight gradient.
RUNG = Rung((12_000, 32, 16, 8, 8))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compiles_for_both_architectures_and_exports_the_handlers(
    setup_script, root, tmp_path
):
    nvcc = setup_script.find_nvcc()
    if nvcc is None:
        pytest.skip("nvcc is not here (PATH, CUDA_HOME)")
    shutil.copytree(root / "kernels", tmp_path / "kernels")
    path = setup_script.build_cuda_library(tmp_path, nvcc)
    library = ctypes.CDLL(str(path))
    for symbol in SYMBOLS:
        assert hasattr(library, symbol)
    assert library.sas_abi_version() == native_library.ABI_VERSION
    content = path.read_bytes()
    assert b"sm_80" in content and b"sm_90" in content
    # A runtime of its own, and hidden: none is looked up when the library is loaded.
    assert b"libcudart.so" not in content
    assert not hasattr(library, "cudaMalloc")


def test_failing_compiler_is_a_warning(setup_script, tmp_path, monkeypatch, capsys):
    (tmp_path / "kernels" / "cuda").mkdir(parents=True)
    (tmp_path / "kernels" / "cuda" / "conv.cu").write_text("not C++")
    monkeypatch.setattr(setup_script, "find_nvcc", lambda: "false")
    setup_script.try_cuda_library(tmp_path)
    warning = capsys.readouterr().err
    assert "WARNING: sas_jax has no native library for CUDA" in warning
    assert "python setup.py build_native" in warning


def test_without_nvcc_nothing_happens(setup_script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(setup_script, "find_nvcc", lambda: None)
    setup_script.try_cuda_library(tmp_path)
    assert capsys.readouterr().err == ""
    assert not list(tmp_path.iterdir())


def test_nvcc_of_cuda_home_comes_first(setup_script, tmp_path, monkeypatch):
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert setup_script.find_nvcc() == str(nvcc)


def test_absent_library_names_its_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("SAS_JAX_CUDA_LIBRARY", str(tmp_path / "none.so"))
    native_library.load.cache_clear()
    assert native_library.load("cuda") is None
    with pytest.raises(InputError, match=r"build_native.*nvcc"):
        native_library.require("cuda")
    native_library.load.cache_clear()


def test_on_a_gpu_convolutions_are_native_and_norms_are_not(monkeypatch):
    monkeypatch.setattr(native_call.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(native_library, "load", lambda platform="cpu": object())
    assert native.is_available()
    assert not native_norm.is_available()
    monkeypatch.setattr(
        native_library, "load", lambda platform="cpu": {"cpu": object()}.get(platform)
    )
    assert not native.is_available()
    with pytest.raises(InputError, match=r"'gpu'.*make native"):
        choose_impl("native", np.dtype(np.float32))


def plan():
    axes = np.random.default_rng(0).integers(-2, 2, (30, 3))
    coords = np.unique(np.concatenate([np.zeros((30, 1), int), axes], 1), axis=0)
    return build_plan(coords.astype(np.int32), RUNG)[0]


def lower_for_cuda(function, *operands):
    if native_library.load() is None:
        pytest.skip("the native library is not built")
    exported = jax.export.export(
        jax.jit(function), platforms=("cuda",), disabled_checks=CHECKS
    )
    program = exported(*operands)
    assert program.platforms == ("cuda",)
    return program.mlir_module()


def custom_calls(text):
    """Return target and line of every custom call."""
    lines = [line for line in text.splitlines() if "stablehlo.custom_call" in line]
    return [(re.search(r"custom_call @(\w+)", line)[1], line) for line in lines]


@pytest.mark.parametrize("precision", ["f32", "tf32", "bf16"])
def test_value_and_gradients_lower_to_the_custom_calls(precision):
    kmap = plan().within(0, 3)
    kind = jnp.bfloat16 if precision == "bf16" else jnp.float32

    def value_and_gradients(x, w, kmap):
        conv = lambda x, w: sparse_conv(x, w, kmap, impl="native")  # noqa: E731
        y, pull = jax.vjp(conv, x, w)
        return y, pull(y)

    x = np.ones((kmap.capacity_in, 16), kind)
    w = np.ones((27, 16, 8), np.float32)
    with jax.default_matmul_precision("tensorfloat32" if precision == "tf32" else None):
        calls = custom_calls(lower_for_cuda(value_and_gradients, x, w, kmap))
    forward, backward = (line for name, line in calls if name == "sas_conv_forward")
    (weight_grad,) = (line for name, line in calls if name == "sas_conv_weight_grad")
    assert {name for name, _ in calls} == CONVOLUTIONS
    assert len(calls) == 3
    for line in (forward, backward, weight_grad):
        assert f'precision = "{precision}"' in line
    # The order of rows goes in, the workspace comes out.
    assert "tensor<12000xi32>" in forward
    assert "reverse_offsets = true" in backward
    assert "transpose_weights = true" in backward
    assert "tensor<3x27x16x8xf32>" in weight_grad
    # Tensor cores read weights along the input channels, and rows of their own type.
    tensor = precision != "f32"
    assert f"tensor<27x{'8x16' if tensor else '16x8'}x" in forward
    assert ("transpose_weights = true" in forward) == tensor
    assert f"tensor<12000x16x{'bf16' if precision == 'bf16' else 'f32'}>" in weight_grad


@pytest.mark.parametrize(("c_in", "c_out"), [(3, 8), (12, 8), (16, 4)])
def test_channels_that_no_tensor_core_takes_are_multiplied_exactly(c_in, c_out):
    kmap = plan().within(0, 3)

    def grad(x, w, kmap):
        conv = lambda w: sparse_conv(x, w, kmap, impl="native").sum()  # noqa: E731
        return jax.grad(conv)(w)

    x = np.ones((kmap.capacity_in, c_in), jnp.bfloat16)
    w = np.ones((27, c_in, c_out), np.float32)
    calls = custom_calls(lower_for_cuda(grad, x, w, kmap))
    (weight_grad,) = (line for name, line in calls if name == "sas_conv_weight_grad")
    assert 'precision = "f32"' in weight_grad
    for name, line in calls:
        if name == "sas_conv_forward":
            assert ('precision = "bf16"' in line) == (c_in == 16)


def test_pointwise_lowers_without_an_order():
    x, w = np.ones((40, 8), np.float32), np.ones((8, 4), np.float32)
    text = lower_for_cuda(
        lambda x, w, n: pointwise(x, w, n, impl="native"), x, w, np.int32(30)
    )
    ((name, line),) = custom_calls(text)
    assert name == "sas_conv_forward"
    assert "tensor<1x0xi32>" in line and "tensor<0xi32>" in line


def test_a_block_lowers_with_native_convolutions_and_norms_of_xla(monkeypatch):
    monkeypatch.setattr(native_norm, "is_available", lambda: False)
    kmap = plan().within(1, 3)
    block = ResidualBlock(8, impl="native")
    x = np.ones((kmap.capacity_in, 4), np.float32)
    variables = block.init(jax.random.key(0), x, kmap, train=False)

    def loss(variables, x):
        y, _ = block.apply(variables, x, kmap, train=True, mutable=["batch_stats"])
        return y.value.sum()

    names = {
        name for name, _ in custom_calls(lower_for_cuda(jax.grad(loss), variables, x))
    }
    assert names == CONVOLUTIONS


def test_a_plan_lowers_to_one_search_per_table(monkeypatch):
    monkeypatch.setattr(native_neighbours, "is_available", lambda: True)
    rung = Rung((512, 256, 128, 64, 64))
    coords = np.zeros((512, 4), np.int32)
    text = lower_for_cuda(
        lambda coords, n: device_plan.build_plan(coords, n, rung).plan,
        *(coords, np.int32(5)),
    )
    calls = custom_calls(text)
    assert {name for name, _ in calls} == {"sas_neighbours"}
    # The stem's and five levels' own, and four downward, there and back.
    assert len(calls) == 6 + 2 * 4
    assert sum("tensor<5x25x512xi32>" in line for _, line in calls) == 1
    assert "stablehlo.while" not in text


@pytest.fixture
def probes(monkeypatch):
    """Send calls for CUDA to the CUDA library's handlers, without a GPU."""
    library = native_library.load("cuda")
    if library is None:
        pytest.skip("the CUDA library is not built")
    for target, symbol in zip(TARGETS, SYMBOLS, strict=False):
        handler = jax.ffi.pycapsule(getattr(library, symbol))
        jax.ffi.register_ffi_target(f"probe_{target}", handler, platform="cpu")
    real_call = native_call.call

    def call(target, *operands, **attributes):
        return real_call(f"probe_{target}", *operands, **attributes)

    monkeypatch.setattr(native_call, "call", call)


def test_handlers_take_what_python_sends_except_for_the_stream(probes):
    x, dy = np.ones((9000, 8), np.float32), np.ones((9000, 4), np.float32)
    w, table = np.ones((27, 8, 4), np.float32), np.full((27, 9000), -1, np.int32)
    n = np.int32(5)
    flags = {"transpose_weights": False, "reverse_offsets": True}
    # Operand 0 is the stream; any other that does not decode would be listed too.
    only_the_stream = pytest.raises(
        jax.errors.JaxRuntimeError, match=r"operands at: 0\)"
    )
    with only_the_stream:
        shape = (9000, 4)
        native_cuda.forward(x, w, table, n, shape=shape, **flags).block_until_ready()
    with only_the_stream:
        native_cuda.weight_grad(x, dy, table, n).block_until_ready()
    keys = words.Keys(jnp.zeros(9, jnp.uint32), jnp.zeros(9, jnp.uint32))
    with only_the_stream:
        native_neighbours.search(
            keys, keys, n, np.zeros((3, 9), np.uint64)
        ).block_until_ready()


def test_row_order_puts_equal_sets_of_offsets_together():
    table = np.full((27, 40), -1, np.int32)
    table[3, ::2], table[26, 1::2], table[5, 10:20] = 1, 2, 3
    order = np.asarray(native_cuda.row_order(table))
    assert sorted(order) == list(range(40))
    sets = [tuple(column) for column in (table >= 0).T[order]]
    changes = sum(a != b for a, b in itertools.pairwise(sets))
    assert changes == len(set(sets)) - 1
    assert order.dtype == np.int32
    assert native_cuda.row_order(np.zeros((125, 40), np.int32)).shape == (0,)
    assert native_cuda.row_order(np.zeros((1, 0), np.int32)).shape == (0,)


def test_row_order_begins_with_the_heaviest_groups():
    rng = np.random.default_rng(0)
    density = np.repeat(rng.uniform(0, 0.4, 10), 100)
    table = np.where(rng.random((27, 1000)) < density, 1, -1).astype(np.int32)
    order = np.asarray(native_cuda.row_order(table))
    assert sorted(order) == list(range(1000))
    tiles = (table >= 0)[:, order[:896]].reshape(27, 14, 64).any(2)
    weights = tiles.sum(0).reshape(7, 2).sum(1)
    assert (np.diff(weights) <= 0).all()
    assert weights[0] > weights[-1]


@pytest.mark.parametrize(
    ("capacity", "slabs"), [(0, 1), (4096, 1), (4097, 2), (12_288, 3), (10**6, 16)]
)
def test_slabs_are_bounded(capacity, slabs):
    assert native_cuda.num_slabs(capacity) == slabs
