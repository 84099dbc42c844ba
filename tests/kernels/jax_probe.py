"""Run native convolutions under JAX in a process of its own and print their hashes.

Environment variables set the number of XLA's threads and devices before JAX starts.
Modes: `bits` prints one hash of outputs and gradients; `crowd` runs 16 calls at once;
`devices` compares pmap and shard_map over two devices with single calls.
"""

import concurrent.futures
import functools
import hashlib
import sys

import jax
import jax.numpy as jnp
import native_calls as calls
import numpy as np

from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.native import norm as native_norm


def mirrored_case(seed, num_out):
    """Make a case on a table that is its own mirror image, as within one level."""
    rng = np.random.default_rng(seed)
    case = calls.make_case(seed, 27, 24, 40, num_out)
    capacity = case.capacity
    nbr = np.full((27, capacity), -1, np.int32)
    for k in range(13):
        steps = np.arange(k + 1, num_out)[rng.random(num_out)[k + 1 :] < 0.4]
        nbr[k, steps] = steps - k - 1
        nbr[26 - k, steps - k - 1] = steps
    nbr[13, :num_out] = np.arange(num_out)
    x = np.pad(case.x[:num_out], ((0, capacity - num_out), (0, 0)))
    kmap = KernelMap(nbr, None, np.int32(num_out), np.int32(num_out), 3, 1)
    return x, case.w, np.nan_to_num(case.dy), kmap


def value_and_grads(x, w, cotangent, kmap):
    y, back = jax.vjp(lambda x, w: native.conv(x, w, kmap), x, w)
    return y, *back(cotangent)


def bits():
    results = jax.jit(value_and_grads)(*mirrored_case(0, 20_000))
    results += jax.jit(value_and_grads)(*mirrored_case(1, 60))
    x, w, cotangent, kmap = mirrored_case(0, 20_000)
    x, cotangent = jnp.asarray(x, jnp.bfloat16), jnp.asarray(cotangent, jnp.bfloat16)
    asked = "bfloat16" if calls.has_bf16_products() else None
    with jax.default_matmul_precision(asked):
        results += jax.jit(value_and_grads)(x, w, cotangent, kmap)
    ones = jnp.ones(cotangent.shape[1])
    normed = native_norm.normalize(cotangent, *(ones,) * 3, kmap.num_out, rectify=True)
    results += (normed,)
    digest = hashlib.sha256()
    for result in results:
        digest.update(np.asarray(result).tobytes())
    print(digest.hexdigest())


def crowd():
    x, w, cotangent, kmap = mirrored_case(2, 3000)
    expected = np.asarray(native.conv(x, w, kmap))

    # Sixteen independent calls in one program, and sixteen programs at once.
    @jax.jit
    def many(x):
        return [native.conv(x, w * (i + 1), kmap) / (i + 1) for i in range(16)]

    for y in many(x):
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    step = jax.jit(value_and_grads)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(step, x, w, cotangent, kmap) for _ in range(16)]
        for future in futures:
            np.testing.assert_array_equal(future.result()[0], expected)
    print("finished")


def devices():
    cases = [mirrored_case(seed, 500) for seed in (3, 4)]
    w = cases[0][1]
    cases = [(x, w, cotangent, kmap) for x, _, cotangent, kmap in cases]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *cases)
    expected = [value_and_grads(*case) for case in cases]
    mapped = jax.pmap(value_and_grads)(*stacked)
    for device in range(2):
        for got, wanted in zip(mapped, expected[device], strict=True):
            np.testing.assert_array_equal(got[device], wanted)
    dw = weight_grad_over_devices(stacked, w)
    np.testing.assert_array_equal(dw, expected[0][2] + expected[1][2])
    check_norm_over_devices()
    print("finished")


def check_norm_over_devices():
    """Compare a norm over two devices with the norm of the joined rows."""
    rng = np.random.default_rng(5)
    counts = np.array([30, 8], np.int32)
    x, cotangent = rng.standard_normal((2, 2, 40, 6)).astype(np.float32)
    scale, bias = rng.uniform(0.5, 1.5, (2, 6)).astype(np.float32)

    def layer(x, cotangent, num_valid, axis_name):
        def norm(x, scale):
            options = {"rectify": True, "axis_name": axis_name}
            return native_norm.batch_norm(x, scale, bias, num_valid, **options)

        (y, *stats), back = jax.vjp(norm, x, scale)
        return y, *back((cotangent, *map(jnp.zeros_like, stats)))

    def join(rows):
        return np.concatenate([rows[0, : counts[0]], rows[1, : counts[1]]])

    split = functools.partial(layer, axis_name="device")
    y, dx, dscale = jax.pmap(split, axis_name="device")(x, cotangent, counts)
    wanted = layer(join(x), join(cotangent), counts.sum(), None)
    np.testing.assert_allclose(join(y), wanted[0], atol=1e-5)
    np.testing.assert_allclose(join(dx), wanted[1], atol=1e-5)
    np.testing.assert_allclose(dscale.sum(axis=0), wanted[2], atol=1e-4)


def weight_grad_over_devices(stacked, w):
    """Differentiate the loss of both scenes with replicated weights."""
    mesh = jax.make_mesh((2,), ("scene",))
    scenes = jax.sharding.PartitionSpec("scene")
    everywhere = jax.sharding.PartitionSpec()
    spread = jax.device_put(stacked, jax.sharding.NamedSharding(mesh, scenes))

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(scenes, everywhere), out_specs=everywhere
    )
    def loss(scene, w):
        x, _, cotangent, kmap = jax.tree.map(lambda leaf: leaf[0], scene)
        return jax.lax.psum(jnp.vdot(native.conv(x, w, kmap), cotangent), "scene")

    w = jax.device_put(w, jax.sharding.NamedSharding(mesh, everywhere))
    return jax.jit(jax.grad(loss, argnums=1))(spread, w)


if __name__ == "__main__":
    assert jnp.ones(1).dtype == jnp.float32
    {"bits": bits, "crowd": crowd, "devices": devices}[sys.argv[1]]()
