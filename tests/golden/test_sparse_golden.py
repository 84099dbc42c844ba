"""Operations and MinkUNet18A equal MinkowskiEngine's, forward and backward.

The golden files hold float64 runs of the original rounded to float32. Single
operations are compared within the rounding of float32 sums (oracle.py); the network
within a multiple of what the original's own float32 run differs from its float64 run;
its gradients, which float32 cannot hold (signs of ReLU flip), in float64.
"""

import functools
import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import MinkUNet
from sas_jax.models.port import from_minkowski, minkowski_shapes, to_minkowski
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse import tables
from sas_jax.sparse.conv import pointwise, sparse_conv
from sas_jax.sparse.kernel_map import strided_map, submanifold_map
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.plan import build_plan, level_counts, pad_rows
from sas_jax.sparse.remake import as_rows
from sas_jax.sparse.rungs import exact_rung
from sas_jax.sparse.xla import conv as xla

CONFIG = StudentConfig()
NATIVE = pytest.param(
    "native",
    marks=pytest.mark.skipif(
        not native.is_available(), reason="the native library is not built"
    ),
)
# The original's float32 run is within 2.7e-7 (relative L2) of its float64 run; sums in
# another order may differ as much again. On a GPU every sum is one long chain of fused
# multiply-adds, which rounds once a term: an H200 gave 5.9e-7.
EVALUATION_ERROR = 8.1e-7 if jax.default_backend() == "gpu" else 5.4e-7
# tf32 keeps 11 significant bits of both factors: a product is off by at most 2^-10, and
# the errors of 42 layers in a row add up as those of a random walk.
TF32_ERROR = 42**0.5 * 2.0**-10
# float32 rounding of the stored truth.
STORED_ERROR = 2.0**-24
OPERATIONS = ["k3s1", "k5s1", "k1s1", "k2s1", "k2s2", "k3s2", "k2s2_ts2", "k3s1_ts2",
              "k1s2", "trk2s2", "trk2s2_ts4to2", "trk3s2"]  # fmt: skip


@functools.cache
def load(folder, name):
    with np.load(folder / name, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def numbers(golden):
    """The generator of the numbers that the golden files do not store."""
    spec = importlib.util.spec_from_file_location("hashes", golden / "hashes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.hash_uniform


def relative(got, expected):
    expected = np.asarray(expected, np.float64)
    return np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(
        expected
    )


def sorted_rows(coords):
    """Keys in sorted order, and the row of each in the file."""
    keys = voxel_keys.pack(coords.astype(np.int32))
    order = np.argsort(keys)
    return keys[order], order


def operation_map(name, keys_in, keys_out):
    """The kernel map of an operation, from its name."""
    kernel_size, stride = (int(c) for c in name.removeprefix("tr")[1:4:2])
    level_stride = 2 if name.endswith(("_ts2", "to2")) else 1
    if stride == 1 and kernel_size % 2:
        return submanifold_map(keys_in, kernel_size, level_stride, len(keys_in))
    pair = (keys_out, keys_in) if name.startswith("tr") else (keys_in, keys_out)
    sizes = tuple(len(keys) for keys in pair)
    kmap = strided_map(pair, kernel_size, stride, level_stride, sizes)
    return kmap.transpose() if name.startswith("tr") else kmap


@pytest.mark.parametrize("impl", ["xla", NATIVE])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_and_its_gradients(golden, name, impl):
    archive = load(golden, "ops.npz")
    data = {key.partition(".")[2]: archive[key] for key in archive
            if key.startswith(name + ".")}  # fmt: skip
    keys_in, order_in = sorted_rows(data["in_coords"])
    keys_out, order_out = sorted_rows(data["out_coords"])
    x, dy = data["feats"][order_in], data["cot"][order_out]
    w = data["kernel"]
    if name == "k1s1":
        pairs = [(0, i, i) for i in range(len(x))]
        count = jnp.asarray(len(x), jnp.int32)
        operation = functools.partial(pointwise, num_valid=count, impl=impl)
    else:
        kmap = operation_map(name, keys_in, keys_out)
        found = np.argwhere(np.asarray(kmap.nbr) >= 0)
        pairs = [(k, int(kmap.nbr[k, o]), int(o)) for k, o in found]
        operation = functools.partial(sparse_conv, kmap=kmap, impl=impl)
    run = jax.jit(lambda x, w, dy: (lambda y, pull: (y, *pull(dy)))(
        *jax.vjp(operation, x, w)))  # fmt: skip
    y, dx, dw = run(x, w, dy)
    w3 = w[None] if w.ndim == 2 else w
    sums = (len(pairs) / len(dy) * x.shape[1], len(pairs) / len(x) * dy.shape[1],
            len(pairs) / len(w3))  # fmt: skip
    bounds = (
        oracle.rounding_bound(x, w3, pairs, len(dy)),
        *oracle.gradient_bounds(x, w3, pairs, dy),
    )
    truths = (data["out"][order_out], data["grad_feats"][order_in], data["grad_kernel"])
    for got, truth, terms, bound in zip((y, dx, dw), truths, sums, bounds, strict=True):
        # Twice: the stored truth is a float32 run as well. No element may be off by
        # more than the worst case, nor all together by more than a random walk.
        error = np.abs(np.asarray(got) - truth)
        assert (error <= 2 * bound.reshape(truth.shape)).all()
        assert relative(got, truth) <= 2 * 2.0**-23 * terms**0.5


def test_offset_order_is_the_originals(golden):
    recorded = json.loads((golden / "kernel_offset_order.json").read_text())
    for name in ("k3s1", "k5s1", "k2s2", "k3s2", "k2s1", "k3s1_ts4"):
        table = recorded[name]["kernel_index_to_in_minus_out"]
        stride = 4 if name.endswith("ts4") else 1
        offsets = tables.kernel_offsets(int(name[1])) * stride
        assert [table[str(k)] for k in range(len(table))] == offsets.tolist()


@pytest.fixture(scope="module")
def state(golden):
    return load(golden, "minkunet18a_512_state.npz")


@pytest.fixture(scope="module")
def variables(state):
    return from_minkowski(state, CONFIG)


def test_names_and_shapes_of_the_original_state(state):
    assert {name: array.shape for name, array in state.items()} == minkowski_shapes(
        CONFIG
    )


def test_original_state_survives_the_round_trip(state, variables):
    back = to_minkowski(variables, CONFIG)
    for name, array in state.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(back[name], array, err_msg=name)


@functools.cache
def scene(golden, name):
    """Plan in the shapes of scene A, and the order of its rows."""
    rung = exact_rung(level_counts(load(golden, "eval_A.npz")["coords"]))
    return build_plan(load(golden, f"eval_{name}.npz")["coords"], rung)


def to_tf32(x):
    """Round to 11 significant bits, ties away from zero, as the CUDA kernels do."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    kept = (bits + jnp.uint32(0x1000)) & jnp.uint32(0xFFFFE000)
    return jax.lax.bitcast_convert_type(kept, jnp.float32)


@pytest.fixture(params=["emulated", "cuda"])
def tf32_impl(request, monkeypatch):
    """Name of an implementation that multiplies in tf32, or does as if."""
    if request.param == "emulated":
        exact = xla._product
        rounded = lambda a, b: exact(to_tf32(a), to_tf32(b))  # noqa: E731
        monkeypatch.setattr(xla, "_product", rounded)
        return "xla"
    if jax.default_backend() != "gpu":
        pytest.skip("no NVIDIA GPU is JAX's default (run with JAX_PLATFORMS=cuda)")
    return "native"


def test_evaluation_of_the_network_in_tf32(golden, variables, tf32_impl):
    data = load(golden, "eval_A.npz")
    plan, order = scene(golden, "A")
    features = data["feats_rand"][order].astype(np.float32)
    out = np.empty((len(order), 512))
    network = MinkUNet(StudentConfig(impl=tf32_impl))
    with jax.default_matmul_precision("tensorfloat32"):
        run = jax.jit(lambda v, p, x: network.apply(v, p, x, train=False))
        out[order] = run(variables, plan, features)
    error = relative(out[data["rand.rows"]], data["rand.out_rows64"])
    # It is tf32 indeed: float32 is three orders of magnitude better.
    assert 50 * EVALUATION_ERROR < error < TF32_ERROR


@functools.partial(jax.jit, static_argnames="impl")
def evaluate(variables, plan, features, impl):
    network = MinkUNet(StudentConfig(impl=impl))
    return network.apply(variables, plan, features, train=False)


@pytest.mark.parametrize("impl", ["xla", NATIVE])
@pytest.mark.parametrize("case", ["A", "edge_single", "edge_two_far"])
@pytest.mark.parametrize("kind", ["ones", "rand"])
def test_evaluation_of_the_network(golden, variables, case, kind, impl):
    data = load(golden, f"eval_{case}.npz")
    plan, order = scene(golden, case)
    colors = data["feats_rand"] if kind == "rand" else np.ones((len(order), 3))
    features = pad_rows(colors[order].astype(np.float32), plan.rung.capacities[0])
    out = np.empty((len(order), 512))
    out[order] = evaluate(variables, plan, features, impl)[: len(order)]
    rows = data[f"{kind}.rows"]
    assert relative(out[rows], data[f"{kind}.out_rows64"]) < EVALUATION_ERROR
    projection = numbers(golden)(777, (512, 8)).astype(np.float64)
    truth = data[f"{kind}.out_proj"]
    assert relative(out @ projection, truth) < 2 * EVALUATION_ERROR
    norms = np.linalg.norm(out, axis=1)
    assert relative(norms, data[f"{kind}.out_rownorm"]) < EVALUATION_ERROR
    assert relative(out.sum(0), data[f"{kind}.out_chan_sum"]) < EVALUATION_ERROR


def test_every_stage_of_the_network(golden, variables):
    data = load(golden, "inter_A_rand_eval.npz")
    plan, order = scene(golden, "A")
    features = load(golden, "eval_A.npz")["feats_rand"][order]
    run = jax.jit(
        lambda v, p, x: MinkUNet(CONFIG).apply(
            v, p, x, train=False, capture_intermediates=True, mutable=["intermediates"]
        )[1]["intermediates"]
    )
    outputs = run(variables, plan, features)
    hash_uniform = numbers(golden)
    for name in {key.split(".")[0] for key in data}:
        module = f"{name}_1" if name.startswith("block") else name
        (found,) = outputs[module]["__call__"]
        out = np.asarray(as_rows(found).value, np.float64)
        keys, rows = sorted_rows(data[f"{name}.coords"])
        level = int(np.log2(data[f"{name}.tensor_stride"][0]))
        voxels = plan.levels[level].coords[: len(keys)]
        np.testing.assert_array_equal(voxel_keys.pack(voxels), keys)
        projection = hash_uniform(777, (out.shape[1], 8)).astype(np.float64)
        error = relative(out[: len(keys)] @ projection, data[f"{name}.proj"][rows])
        assert error < 2 * EVALUATION_ERROR, name


def train_step(golden, variables, dtype):
    """Loss, output, running statistics and gradients of the golden training step."""
    plan, order = scene(golden, "A")
    cotangent = numbers(golden)(4242, (len(order), 512))[order]
    features = load(golden, "eval_A.npz")["feats_rand"][order]
    cast = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, dtype))
    variables, features, cotangent = cast((variables, features, cotangent))

    @jax.jit
    def step(variables, plan, features, cotangent):
        def loss(params, features):
            out, moved = MinkUNet(CONFIG).apply(
                {**variables, "params": params}, plan, features, train=True,
                mutable=["batch_stats"],
            )  # fmt: skip
            return (out * cotangent).sum() / len(order), (out, moved["batch_stats"])

        gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        return gradient(variables["params"], features)

    (loss, (out, moved)), gradients = step(variables, plan, features, cotangent)
    return loss, out, moved, gradients, np.argsort(order)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_step_in_float64(golden, variables):
    truth = load(golden, "train_A_rand.npz")
    with jax.enable_x64(True):
        loss, out, moved, gradients, rows = train_step(golden, variables, jnp.float64)
        got = jax.tree.map(np.asarray, (out, gradients[1]))
        tree = {"params": gradients[0], "batch_stats": moved}
        state = to_minkowski(tree, CONFIG)
    assert float(loss) == pytest.approx(float(truth["loss"]), rel=1e-12)
    assert relative(got[0][rows][truth["rows"]], truth["out_rows64"]) < STORED_ERROR
    assert relative(got[1][rows], truth["feats_grad"]) < STORED_ERROR
    for name in truth:
        kind, _, original = name.partition(".")
        if kind == "grad" or (kind == "buf" and "tracked" not in name):
            assert relative(state[original], truth[name]) < 2 * STORED_ERROR, name
        elif kind == "gradsub":
            part = state[original][:, :16, :16]
            assert relative(part, truth[name]) < 2 * STORED_ERROR, name
    norms = [np.linalg.norm(state[n].astype(np.float64)) for n in truth["names"]]
    np.testing.assert_allclose(norms, truth["grad_norm"], rtol=2 * STORED_ERROR)


@pytest.mark.timeout(900)
def test_training_step_in_float32(golden, variables):
    truth = load(golden, "train_A_rand.npz")
    loss, out, moved, gradients, rows = train_step(golden, variables, jnp.float32)
    # The original's own float32 run is off by 2e-6 (loss), 2.5e-6 (output), 4.8e-7
    # (statistics) and 1.9e-3 (gradients, where rounding flips the sign of a ReLU).
    assert float(loss) == pytest.approx(float(truth["loss"]), rel=1e-5)
    out = np.asarray(out)[rows]
    assert relative(out[truth["rows"]], truth["out_rows64"]) < 5e-6
    state = to_minkowski({"params": gradients[0], "batch_stats": moved}, CONFIG)
    for name in truth:
        kind, _, original = name.partition(".")
        if kind == "buf" and "tracked" not in name:
            assert relative(state[original], truth[name]) < 1e-6, name
        elif kind == "grad":
            assert relative(state[original], truth[name]) < 5e-3, name
    assert relative(np.asarray(gradients[1])[rows], truth["feats_grad"]) < 5e-3
