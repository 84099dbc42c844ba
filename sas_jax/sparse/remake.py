"""Rows that a backward pass computes again instead of keeping them.

What a convolution takes is mostly a norm of what another convolution made. Training
keeps what convolutions make; norms, residuals and concatenations of it cost one pass
over memory, so the weight gradient has them computed again when its turn comes.
`jax.checkpoint` does not serve here: on a CPU, XLA drops its barriers and merges the
second computation with the first, and one barrier would have all rows come back at
once. So a recipe is told what to wait for.
"""

import functools

from jaxtyping import Array, Float, Int32

from sas_jax.sparse.kernel_map import pytree_dataclass
from sas_jax.sparse.native import norm as native_norm
from sas_jax.sparse.rows import beside


@pytree_dataclass()
class Kept:
    """Rows that are there anyway: the input of a network, or what is not remade.

    Attributes:
      rows: the array itself.
    """

    rows: Float[Array, "cap C"]

    def remake(self, after: Array) -> Float[Array, "cap C"]:
        """Return the rows."""
        del after
        return self.rows


@pytree_dataclass("rectify")
class Normed:
    """Rows that a native norm made, in training.

    Attributes:
      x: what it took.
      mean: of the batch.
      gain: `scale / sqrt(var + eps)`.
      bias: was added.
      residual: how to make what was added before rectification, or None.
      num_valid: i32 scalar, rows that are no padding.
      rectify: whether ReLU was applied.
    """

    x: Float[Array, "cap C"]
    mean: Float[Array, " C"]
    gain: Float[Array, " C"]
    bias: Float[Array, " C"]
    residual: "Recipe | None"
    num_valid: Int32[Array, ""]
    rectify: bool

    def remake(self, after: Array) -> Float[Array, "cap C"]:
        """Return the rows, the same bits, once `after` is computed."""
        residual = None if self.residual is None else self.residual.remake(after)
        return native_norm.normalize_again(
            *(self.x, self.mean, self.gain, self.bias, self.num_valid, after),
            residual=residual,
            rectify=self.rectify,
        )


@pytree_dataclass()
class Joined:
    """Rows side by side.

    Attributes:
      parts: how to make each.
    """

    parts: "tuple[Recipe, ...]"

    def remake(self, after: Array) -> Float[Array, "cap C"]:
        """Return the rows once `after` is computed."""
        return functools.reduce(beside, [part.remake(after) for part in self.parts])


Recipe = Kept | Normed | Joined


@pytree_dataclass()
class Rows:
    """Rows of a layer, and how to make them again; take care to keep the recipe only.

    Attributes:
      value: the array.
      recipe: makes it again.
    """

    value: Float[Array, "cap C"]
    recipe: Recipe


def as_rows(x: Float[Array, "cap C"] | Rows) -> Rows:
    """Return rows that are kept for the backward pass if nothing else is known."""
    return x if isinstance(x, Rows) else Rows(x, Kept(x))


def join(parts: list[Rows]) -> Rows:
    """Return rows side by side."""
    value = functools.reduce(beside, [part.value for part in parts])
    return Rows(value, Joined(tuple(part.recipe for part in parts)))
