"""Layers of the decoder, with the parameters and layouts of the published weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_EPS = 1e-5


class Linear(nn.Module):
    """`x @ weight.T + bias`.

    Attributes:
      features: number of output channels.
      pointwise: whether the weight has the axis of a 1-D convolution of kernel 1.
    """

    features: int
    pointwise: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "N C_in"]) -> Float[Array, "N C"]:
        """Apply the layer to every row."""
        shape = (self.features, x.shape[-1], *((1,) * self.pointwise))
        weight = self.param("weight", nn.initializers.zeros, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[:1], jnp.float32)
        weight = weight.reshape(shape[:2]).astype(x.dtype)
        return x @ weight.T + bias.astype(x.dtype)[None]


class LayerNorm(nn.Module):
    """Normalisation of every row, then a scale and a shift of each channel."""

    @nn.compact
    def __call__(self, x: Float[Array, "N C"]) -> Float[Array, "N C"]:
        """Apply the layer to every row."""
        width = x.shape[-1:]
        weight = self.param("weight", nn.initializers.ones, width, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, width, jnp.float32)
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        y = centred * jax.lax.rsqrt(variance + _EPS)
        return y * weight.astype(x.dtype)[None] + bias.astype(x.dtype)[None]


class Perceptron(nn.Module):
    """Two linear layers with a ReLU between them, named 0 and 2 as in a sequence.

    Attributes:
      features: channels inside and outside.
      prefix: what the layers' numbers follow in their names.
      pointwise: see `Linear`.
      rectified: whether a ReLU follows the second layer, too.
    """

    features: int
    prefix: str = ""
    pointwise: bool = False
    rectified: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "N C_in"]) -> Float[Array, "N C"]:
        """Apply both layers to every row."""
        first, second = (
            Linear(self.features, self.pointwise, name=f"{self.prefix}{i}")
            for i in (0, 2)
        )
        y = second(jax.nn.relu(first(x)))
        return jax.nn.relu(y) if self.rectified else y


class Attention(nn.Module):
    """Attention of several heads, its projections in one array: queries, keys, values.

    Attributes:
      heads: that share the channels evenly.
    """

    heads: int

    @nn.compact
    def __call__(
        self,
        query: Float[Array, "Q C"],
        key: Float[Array, "N C"],
        value: Float[Array, "N C"],
        attended: Bool[Array, "N Q"] | None = None,
    ) -> Float[Array, "Q C"]:
        """Attend.

        Args:
          query: what asks.
          key: what is compared with it.
          value: what is averaged.
          attended: which keys each query may see, at least one; None is all.
        """
        width = query.shape[1]
        zeros, shape = nn.initializers.zeros, (3 * width, width)
        weight = self.param("in_proj_weight", zeros, shape, jnp.float32)
        bias = self.param("in_proj_bias", zeros, shape[:1], jnp.float32)
        weights, biases = (
            jnp.split(part.astype(query.dtype), 3) for part in (weight, bias)
        )
        q, k, v = (
            jnp.swapaxes((x @ w.T + b[None]).reshape(len(x), self.heads, -1), 0, 1)
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        allowed = None if attended is None else attended.T

        def head(parts: tuple[Array, Array, Array]) -> Float[Array, "Q c"]:
            q, k, v = parts
            scores = q @ k.T
            if allowed is not None:
                scores = jnp.where(allowed, scores, -jnp.inf)
            return jax.nn.softmax(scores, axis=-1) @ v

        # One head after the other: on a large scan the scores of all would be many
        # times the features, and three times as slow on a CPU.
        mixed = jax.lax.map(head, (q * (q.shape[2] ** -0.5), k, v))
        mixed = jnp.swapaxes(mixed, 0, 1).reshape(len(query), width)
        return Linear(width, name="out_proj")(mixed)


class AttentionLayer(nn.Module):
    """Attention with a residual and a norm, across to voxels or among queries.

    Attributes:
      heads: of the attention.
      attention_name: of the attention among the weights.
      pre_norm: norm what comes in instead of what goes out.
    """

    heads: int
    attention_name: str
    pre_norm: bool

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Q C"],
        query_pos: Float[Array, "Q C"],
        memory: tuple[Float[Array, "N C"], Float[Array, "N C"]] | None = None,
        attended: Bool[Array, "N Q"] | None = None,
    ) -> Float[Array, "Q C"]:
        """Return the queries after they attended.

        Args:
          x: queries.
          query_pos: their positions, added where they ask.
          memory: features of voxels and their positions; None attends to the queries.
          attended: see `Attention`.
        """
        norm = LayerNorm(name="norm")
        y = norm(x) if self.pre_norm else x
        features, positions = (y, query_pos) if memory is None else memory
        attention = Attention(self.heads, name=self.attention_name)
        key = features + positions
        x = x + attention(y + query_pos, key, features, attended)
        return x if self.pre_norm else norm(x)


class FeedForward(nn.Module):
    """Two linear layers with a residual and a norm.

    Attributes:
      hidden: channels inside.
      pre_norm: norm what comes in instead of what goes out.
    """

    hidden: int
    pre_norm: bool

    @nn.compact
    def __call__(self, x: Float[Array, "Q C"]) -> Float[Array, "Q C"]:
        """Apply the layer to every query."""
        norm = LayerNorm(name="norm")
        inside = Linear(self.hidden, name="linear1")
        outside = Linear(x.shape[1], name="linear2")
        y = norm(x) if self.pre_norm else x
        x = x + outside(jax.nn.relu(inside(y)))
        return x if self.pre_norm else norm(x)
