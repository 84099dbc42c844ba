"""Parts of Mask3D around its decoder, by the names of the published weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.instances.mask3d import positions
from sas_jax.instances.mask3d.config import Mask3DConfig
from sas_jax.models.minkunet import unet_stages
from sas_jax.sparse.conv import pointwise
from sas_jax.sparse.plan import Plan


class Backbone(nn.Module):
    """The sparse U-Net; its own last layer is in the weights and not used."""

    config: Mask3DConfig

    @nn.compact
    def __call__(
        self, plan: Plan, colors: Float[Array, "cap0 3"]
    ) -> list[Float[Array, "cap C"]]:
        """Return the features of all levels, coarsest first."""
        sizes, impl = self.config.backbone, self.config.impl
        stages = unet_stages(plan, colors, sizes, train=False, impl=impl)
        return [rows.value for rows in stages[3:]]


class MaskFeatures(nn.Module):
    """A 1x1 convolution with bias."""

    config: Mask3DConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "cap C_in"], num_valid: Int32[Array, ""]
    ) -> Float[Array, "cap C"]:
        """Apply the layer to every row."""
        shape, zeros = (x.shape[1], self.config.width), nn.initializers.zeros
        kernel = self.param("kernel", zeros, shape, jnp.float32).astype(x.dtype)
        bias = self.param("bias", zeros, (1, shape[1]), jnp.float32)
        y = pointwise(x, kernel, num_valid, impl=self.config.impl)
        return y + bias.astype(x.dtype)


class Encoding(nn.Module):
    """Positions in a scene as channels."""

    config: Mask3DConfig

    @nn.compact
    def __call__(
        self, where: Float[Array, "N 3"], span: tuple[Array, Array]
    ) -> Float[Array, "N C"]:
        """Encode positions, metres, of a scene that spans from low to high."""
        config = self.config
        # The original rounds here in double precision, too.
        x = where.astype(jnp.float32).astype(where.dtype)
        x = positions.normalized(x, span) if config.normalize_positions else x
        if config.encoding == "sine":
            return positions.sines(x, config.width)
        shape = (3, config.width // 2)
        gauss = self.param("gauss_B", nn.initializers.normal(1), shape, jnp.float32)
        return positions.fourier(x, jax.lax.stop_gradient(gauss).astype(x.dtype))


class Table(nn.Module):
    """Learned vectors, one of each row."""

    rows: int
    width: int

    @nn.compact
    def __call__(self, dtype: jnp.dtype) -> Float[Array, "rows C"]:
        """Return all of them."""
        shape = (self.rows, self.width)
        normal = nn.initializers.normal(1)
        return self.param("weight", normal, shape, jnp.float32).astype(dtype)
