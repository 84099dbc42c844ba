"""The native convolution inside JAX: gradients, transformations, threads, errors."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import jax_probe
import native_calls as calls
import numpy as np
import pytest

from sas_jax import native_library
from sas_jax.errors import InputError
from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.native import conv as native

if native_library.load() is None:
    pytest.skip("the native library is not built", allow_module_level=True)

FOLDER = pathlib.Path(__file__).resolve().parent


def kernel_map(case, num_in):
    """Wrap a case's table and its transpose, both with padding."""
    transposed = np.full((len(case.nbr), len(case.x)), -1, np.int32)
    for k, o in np.argwhere(case.nbr >= 0):
        transposed[k, case.nbr[k, o]] = o
    rows = (np.int32(case.num_out), np.int32(num_in))
    return KernelMap(case.nbr, transposed, *rows, 2, 2)


def oracle_input_grad(case):
    dx = np.zeros(case.x.shape)
    for k in range(len(case.w)):
        rows_in, rows_out = calls.pairs(case, k)
        dx[rows_in] += case.dy[rows_out].astype(np.float64) @ case.w[k].T
    return dx


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.checkpoint])
def test_value_and_gradients_under_transformations(transform):
    case = calls.make_case(0, 8, 12, 20, 300)
    kmap = kernel_map(case, 303)

    @transform
    def run(x, w):
        return native.conv(x, w, kmap)

    y, back = jax.vjp(run, case.x, case.w)
    dx, dw = back(jnp.asarray(case.dy))
    calls.check_forward(case, np.asarray(y))
    calls.check_weight_grad(case, np.asarray(dw))
    np.testing.assert_allclose(dx, oracle_input_grad(case), rtol=0, atol=1e-4)
    assert not np.asarray(dx)[303:].any()


def test_mirrored_map_gives_the_gradient_of_its_own_forward():
    x, w, cotangent, kmap = jax_probe.mirrored_case(1, 200)
    _, dx, dw = jax_probe.value_and_grads(x, w, cotangent, kmap)
    case = calls.Case(x, w, cotangent, kmap.nbr, 200)
    np.testing.assert_allclose(dx, oracle_input_grad(case), rtol=0, atol=1e-4)
    calls.check_weight_grad(case, np.asarray(dw))


def test_pointwise_and_its_gradients():
    case = calls.make_case(2, 1, 24, 40, 70)
    case.nbr = None
    num_valid = np.int32(70)
    y, back = jax.vjp(
        lambda x, w: native.pointwise(x, w, num_valid), case.x[:75], case.w[0]
    )
    dx, dw = back(jnp.asarray(case.dy))
    calls.check_forward(case, np.asarray(y))
    calls.check_weight_grad(case, np.asarray(dw)[None])
    expected = case.dy[:70].astype(np.float64) @ case.w[0].T
    np.testing.assert_allclose(dx[:70], expected, rtol=0, atol=1e-4)
    assert not np.asarray(dx)[70:].any()


def test_number_of_rows_is_a_runtime_value():
    case = calls.make_case(3, 8, 12, 20, 300)
    kmap = kernel_map(case, 303)
    run = jax.jit(native.conv)
    run(case.x, case.w, kmap)
    fewer = calls.make_case(4, 8, 12, 20, 300)
    fewer.num_out, fewer.nbr[:, 200:] = 200, -1
    y = run(fewer.x, fewer.w, kernel_map(fewer, 303))
    calls.check_forward(fewer, np.asarray(y))
    assert run._cache_size() == 1


@pytest.mark.parametrize("num_out", [-1, 400])
def test_handler_refuses_rows_beyond_the_capacity(num_out):
    case = calls.make_case(5, 8, 12, 20, 30)
    kmap = kernel_map(case, 33)
    wrong = KernelMap(case.nbr, kmap.transposed, np.int32(num_out), kmap.num_in, 2, 2)
    with pytest.raises(jax.errors.JaxRuntimeError, match="num_out must be within"):
        native.conv(case.x, case.w, wrong).block_until_ready()


def test_handler_refuses_disagreeing_shapes():
    case = calls.make_case(6, 8, 12, 20, 30)
    kmap = kernel_map(case, 33)
    for x, w in ((case.x[:, :5], case.w), (case.x, case.w[:4])):
        with pytest.raises(jax.errors.JaxRuntimeError, match="sas_conv_forward"):
            native.conv(x, w, kmap).block_until_ready()


def run_probe(mode, **environment):
    done = subprocess.run(
        [sys.executable, str(FOLDER / "jax_probe.py"), mode],
        env={**os.environ, **environment, "PYTHONPATH": str(FOLDER.parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_threads_of_xla_do_not_change_a_bit():
    # NPROC is how many threads XLA starts.
    hashes = {run_probe("bits", NPROC=str(threads)) for threads in (1, 2, 4)}
    assert len(hashes) == 1


def test_sixteen_calls_on_one_thread_finish():
    assert run_probe("crowd", NPROC="1") == "finished"


def test_devices_agree_with_single_calls():
    flags = "--xla_force_host_platform_device_count=2"
    assert run_probe("devices", XLA_FLAGS=flags) == "finished"


@pytest.fixture
def uncached_library():
    """Let a test load anew, and forget what it loaded."""
    native_library.load.cache_clear()
    yield
    native_library.load.cache_clear()


def test_absent_library_names_the_build_command(
    monkeypatch, tmp_path, uncached_library
):
    monkeypatch.setenv("SAS_JAX_LIBRARY", str(tmp_path / "none.so"))
    assert native_library.load() is None
    with pytest.raises(InputError, match="build_native"):
        native_library.require()


def test_unloadable_library_is_an_error(monkeypatch, tmp_path, uncached_library):
    (tmp_path / "text.so").write_text("not a library")
    monkeypatch.setenv("SAS_JAX_LIBRARY", str(tmp_path / "text.so"))
    with pytest.raises(InputError, match="build_native"):
        native_library.load()


def test_stale_library_is_an_error(monkeypatch, uncached_library):
    monkeypatch.setattr(native_library, "ABI_VERSION", -1)
    with pytest.raises(InputError, match="version -1 is required"):
        native_library.load()


def test_kept_memory_is_not_faulted_in_again():
    # In a process of its own: the setting cannot be undone.
    script = """if True:
        import resource
        import numpy as np
        from sas_jax import native_library

        def faults_of_a_fresh_array():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            np.empty(100 << 20, np.uint8)[:: 4 << 10] = 1
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        assert native_library.keep_freed_memory()
        faults_of_a_fresh_array()
        print(faults_of_a_fresh_array())
        """
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(FOLDER.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    if "AssertionError" in done.stderr:
        pytest.skip("the C library has no such setting")
    assert int(done.stdout) < 10, done.stderr
