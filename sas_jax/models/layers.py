"""Layers of sparse networks: convolution, batch norm over valid rows, residual block.

Everything works on rows of voxels, [cap, C], of which the first `num_valid` are real;
every layer returns exact zeros in the others.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.sparse.conv import choose_impl, pointwise, sparse_conv
from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.native import norm as native_norm
from sas_jax.sparse.remake import Normed, Rows, as_rows
from sas_jax.sparse.rows import accumulator
from sas_jax.sparse.xla import norm


def fan_out(shape: tuple[int, ...]) -> int:
    """Return the fan-out by which weights are scaled at initialisation.

    K * C_out for [K, C_in, C_out]. MinkowskiEngine reads a 1x1 kernel [C_in, C_out]
    as a torch linear layer [out, in] and takes C_in; so does this.
    """
    return shape[0] * shape[2] if len(shape) == 3 else shape[0]


def kaiming_fan_out(key: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Draw normal weights [K, C_in, C_out] or [C_in, C_out] of variance 2 / fan_out.

    Flax wants such a function for its own `init`. Students take the shapes from there
    and their values from `models.init`.
    """
    std = (2.0 / fan_out(shape)) ** 0.5
    return jnp.asarray(std, dtype) * jax.random.normal(key, shape, dtype)


class SparseConv(nn.Module):
    """A bias-free sparse convolution; without a kernel map it is 1x1.

    Attributes:
      features: number of output channels.
      kernel_size: edge of the kernel; 1 for a 1x1 convolution.
      impl: implementation, see `sparse.conv`.
    """

    features: int
    kernel_size: int
    impl: str | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "cap_in C_in"] | Rows,
        where: KernelMap | Int32[Array, ""],
    ) -> Float[Array, "cap_out C_out"]:
        """Convolve along a kernel map, or at every valid row if given their number."""
        x = as_rows(x)
        dtype = x.value.dtype
        shape: tuple[int, ...] = (x.value.shape[1], self.features)
        if self.kernel_size == 1:
            assert not isinstance(where, KernelMap)
            kernel = self.param("kernel", kaiming_fan_out, shape, jnp.float32)
            return pointwise(x, kernel.astype(dtype), where, impl=self.impl)
        assert isinstance(where, KernelMap)
        shape = (self.kernel_size**3, *shape)
        kernel = self.param("kernel", kaiming_fan_out, shape, jnp.float32)
        return sparse_conv(x, kernel.astype(dtype), where, impl=self.impl)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation with statistics over valid rows only.

    Training normalises with the biased variance of the batch and moves the running
    statistics by `momentum` toward the mean and the *unbiased* variance, as torch
    does. A residual and ReLU may follow in the same pass over the rows.

    Attributes:
      momentum: weight of the new batch in the running statistics.
      eps: added to the variance.
      axis_name: mapped axis over which statistics are summed, or None. Sums and
        counts are added, so devices with more voxels weigh more.
      impl: implementation, see `sparse.conv`; native norms exist on CPUs only, and
        with native convolutions elsewhere norms are XLA's.
    """

    momentum: float = 0.1
    eps: float = 1e-5
    axis_name: str | None = None
    impl: str | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "cap C"],
        num_valid: Int32[Array, ""],
        *,
        train: bool,
        residual: Float[Array, "cap C"] | Rows | None = None,
        rectify: bool = False,
    ) -> Rows:
        """Return `relu(norm(x) + residual)` in valid rows and 0 in the others."""
        width = (x.shape[1],)
        scale = self.param("scale", nn.initializers.ones, width, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, width, jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, width, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, width, jnp.float32)
        native = choose_impl(self.impl, x.dtype) == "native"
        # Where only convolutions have native kernels, XLA fuses the norm by itself.
        native = native and native_norm.is_available()
        implementation = native_norm if native else norm
        dtype = accumulator(x.dtype)
        scale, bias = scale.astype(dtype), bias.astype(dtype)
        added, recipe = None, None
        if residual is not None:
            added, recipe = (rows := as_rows(residual)).value, rows.recipe
        after = {"residual": added, "rectify": rectify}
        if not train:
            gain = scale * jax.lax.rsqrt(var.value.astype(dtype) + self.eps)
            moved = mean.value.astype(dtype)
            y = implementation.normalize(x, moved, gain, bias, num_valid, **after)
            return as_rows(y)
        axis_name = None if self.is_initializing() else self.axis_name
        y, count, batch_mean, squares = implementation.batch_norm(
            x, scale, bias, num_valid, eps=self.eps, axis_name=axis_name, **after
        )
        if not self.is_initializing():
            self._move(mean, batch_mean, count)
            self._move(var, squares / jnp.maximum(count - 1, 1), count)
        if not native:
            return as_rows(y)
        gain = native_norm.gain_of(scale, squares, count, self.eps)
        return Rows(y, Normed(x, batch_mean, gain, bias, recipe, num_valid, rectify))

    def _move(
        self, running: nn.Variable, new: Float[Array, " C"], count: Float[Array, ""]
    ) -> None:
        """Move a running statistic; a batch without voxels leaves it alone."""
        old = running.value
        moved = old + self.momentum * (new.astype(old.dtype) - old)
        running.value = jnp.where(count > 0, moved, old)


class ResidualBlock(nn.Module):
    """conv-norm-relu-conv-norm, added to the input and rectified.

    Where the number of channels changes, the input passes a 1x1 convolution and a
    norm before it is added.
    """

    features: int
    impl: str | None = None
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "cap C_in"] | Rows, kmap: KernelMap, *, train: bool
    ) -> Rows:
        """Apply the block within the level of the 3^3 kernel map."""
        x = as_rows(x)

        def normed(name: str, value: Array, **after: Any) -> Rows:
            layer = MaskedBatchNorm(axis_name=self.axis_name, impl=self.impl, name=name)
            return layer(value, kmap.num_out, train=train, **after)

        def conv(name: str, value: Rows) -> Array:
            return SparseConv(self.features, 3, self.impl, name=name)(value, kmap)

        y = conv("conv2", normed("norm1", conv("conv1", x), rectify=True))
        if x.value.shape[1] != self.features:
            shortcut = SparseConv(self.features, 1, self.impl, name="shortcut")
            x = normed("shortcut_norm", shortcut(x, kmap.num_out))
        return normed("norm2", y, residual=x, rectify=True)
