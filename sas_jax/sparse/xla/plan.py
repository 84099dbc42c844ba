"""Plans built inside a compiled program, on any platform: for voxels born on a device.

The same plan as `plan.build_plan`, bit for bit, from sorts and binary searches with
static shapes. Nothing waits for the host, so what the host would refuse becomes flags
(`BuiltPlan`); read them with `check` where the step's other results are read. The host
builder is faster on a CPU and should be used where voxels come from the host.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt64

from sas_jax.errors import ContractError, InputError
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.native.call import mark_varying, varying_axes
from sas_jax.sparse.plan import Level, Plan, assemble
from sas_jax.sparse.plan_spec import MINKUNET, Kernel, PlanSpec
from sas_jax.sparse.rungs import Rung
from sas_jax.sparse.tables import kernel_offsets
from sas_jax.sparse.xla import keys as words
from sas_jax.sparse.xla.keys import Keys


class BuiltPlan(NamedTuple):
    """A plan, and whether it is one.

    Attributes:
      plan: all tables; a plan without voxels if any flag is set, never a part of one.
      order: i32 [cap0], row r of level 0 is row `order[r]` of the input; -1 in padding.
      overflowed: bool [L], which levels have more voxels than the rung's capacity; of a
        level behind one that overflowed it may be unknown.
      out_of_range: bool, whether a coordinate or the number of voxels is.
      num_repeated: i32, how many rows repeated an earlier one and were dropped.
    """

    plan: Plan
    order: Int32[Array, " cap0"]
    overflowed: Bool[Array, " L"]
    out_of_range: Bool[Array, ""]
    num_repeated: Int32[Array, ""]


def build_plan(
    coords: Int32[Array, "N 4"],
    num_voxels: Int32[Array, ""],
    rung: Rung,
    spec: PlanSpec = MINKUNET,
) -> BuiltPlan:
    """Build the plan of a batch of voxels under jit.

    Args:
      coords: (batch, x, y, z) of every voxel, in any order; rows at or beyond
        `num_voxels` may hold anything. The first of repeated voxels is kept.
      num_voxels: how many leading rows are voxels, at most N.
      rung: capacities of the levels; static.
      spec: levels and kernels that the network asks for; static.

    Returns:
      The plan and its flags.

    Raises:
      InputError: if the array is not int32 [N, 4].
      ContractError: if the rung is of other levels.

    Deterministic: yes, the same bits on every platform.
    """
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype != jnp.int32:
        raise InputError(
            "xla_plan: int32 coords [N, 4] of (batch, x, y, z) are required, got "
            f"{coords.dtype} {list(coords.shape)}. Voxelize the points first."
        )
    if len(rung.capacities) != spec.num_levels:
        raise ContractError(
            f"xla_plan: capacities of {spec.num_levels} levels are required, got "
            f"{rung.capacities}. Choose the rung for the same specification."
        )
    num_voxels = jnp.asarray(num_voxels, jnp.int32)
    valid = jnp.arange(len(coords), dtype=jnp.int32) < num_voxels
    out_of_range = words.out_of_range(coords, valid) | (num_voxels > len(coords))
    keys, order, count = words.sort_unique(words.where(valid, words.pack(coords)))
    num_repeated = jnp.sum(valid, dtype=jnp.int32) - count
    pyramid, counts = _pyramid(keys, count, rung, spec)
    overflowed = jnp.stack(counts) > jnp.asarray(rung.capacities, jnp.int32)
    whole = ~(jnp.any(overflowed) | out_of_range)
    counts = [jnp.where(whole, n, jnp.zeros_like(n)) for n in counts]
    pyramid = [words.valid_rows(*level) for level in zip(pyramid, counts, strict=True)]
    order = words.fit(order, rung.capacities[0], np.int32(-1))
    kept = jnp.arange(len(order), dtype=jnp.int32) < counts[0]
    order = jnp.where(kept, order, jnp.full_like(order, -1))
    plan = _plan(pyramid, counts, spec)
    return BuiltPlan(plan, order, overflowed, out_of_range, num_repeated)


def check(built: BuiltPlan, *, repeated_ok: bool = False) -> None:
    """Raise for what the flags of a plan say; waits for the device.

    Args:
      built: what `build_plan` returned, outside of jit.
      repeated_ok: accept repeated voxels, of which the first was kept.

    Raises:
      InputError: if the plan is none, or voxels were repeated.
    """
    if built.out_of_range:
        raise InputError(
            "xla_plan: batch indices, coordinates and a number of voxels within what "
            "a key and the array can hold are required, got others. Check the unit of "
            "the points (metres) or use larger voxels."
        )
    if np.any(built.overflowed):
        levels = np.flatnonzero(built.overflowed).tolist()
        raise InputError(
            f"xla_plan: voxels that fit capacities {built.plan.rung.capacities} are "
            f"required, got more at levels {levels}. Take a higher rung."
        )
    if built.num_repeated and not repeated_ok:
        raise InputError(
            f"xla_plan: distinct voxels are required, got {int(built.num_repeated)} "
            "that repeat earlier ones. Voxelize the points first, or pass "
            "repeated_ok=True."
        )


def _plan(pyramid: list[Keys], counts: list[Int32[Array, ""]], spec: PlanSpec) -> Plan:
    strides = spec.strides

    def level(index: int) -> Level:
        keys, count = pyramid[index], counts[index]
        return Level(words.unpack(keys, count), count, strides[index])

    def kernel_map(kernel: Kernel, fine: int, coarse: int, step: int) -> KernelMap:
        inputs, outputs = pyramid[fine], pyramid[coarse]
        num_in, num_out = counts[fine], counts[coarse]
        deltas = _deltas(kernel, strides[fine])
        nbr, back = _neighbours(inputs, outputs, num_out, deltas), None
        if fine != coarse or kernel.size % 2 == 0:
            # Looking back from the input along the opposite offsets needs no scatter.
            # Offsets are looked up in ascending order, so opposites go backwards.
            back = _neighbours(outputs, inputs, num_in, -deltas[::-1, ::-1])[::-1]
        return KernelMap(nbr, back, num_out, num_in, kernel.size, step, kernel.dilation)

    return assemble(spec, level, kernel_map)


def _pyramid(
    keys: Keys, count: Int32[Array, ""], rung: Rung, spec: PlanSpec
) -> tuple[list[Keys], list[Int32[Array, ""]]]:
    """Return sorted distinct keys of every level at capacity, and their numbers."""
    pyramid, counts = [words.fit_keys(keys, rung.capacities[0])], [count]
    for stride, capacity in zip(spec.strides[1:], rung.capacities[1:], strict=True):
        keys, _, count = words.sort_unique(words.floor(pyramid[-1], stride))
        pyramid.append(words.fit_keys(keys, capacity))
        counts.append(count)
    return pyramid, counts


def _neighbours(
    keys: Keys,
    centres: Keys,
    num_centres: Int32[Array, ""],
    deltas: UInt64[np.ndarray, "Z C"],
) -> Int32[Array, "Z*C M"]:
    """Return the row of `centres + deltas` in the sorted keys, or -1.

    Offsets of one column differ in z alone. Where its lowest voxel would be is found
    by bisection, and the others can only lie right behind.

    Args:
      keys: sorted distinct keys, unused ones last.
      centres: keys to look from.
      num_centres: how many of them are voxels.
      deltas: what to add per offset, ascending along Z.
    """
    halves = (deltas >> np.uint64(32), deltas & np.uint64(words.LARGEST))
    columns = Keys(*(jnp.asarray(half.astype(np.uint32).T) for half in halves))
    valid = jnp.arange(len(centres.high), dtype=jnp.int32) < num_centres

    def one_column(column: Keys) -> Int32[Array, "Z M"]:
        steps = [Keys(*step) for step in zip(*column, strict=True)]
        cursor = words.lower_bound(keys, words.add(centres, steps[0]))
        found = []
        for step in steps:
            wanted, here = words.add(centres, step), words.take(keys, cursor)
            match = (here.high == wanted.high) & (here.low == wanted.low) & valid
            found.append(jnp.where(match, cursor, jnp.full_like(cursor, -1)))
            cursor += match.astype(jnp.int32)
        return jnp.stack(found)

    columns = mark_varying(columns, varying_axes((keys, centres, num_centres)))
    table = jax.lax.map(one_column, columns)
    return jnp.swapaxes(table, 0, 1).reshape(deltas.size, -1)


def _deltas(kernel: Kernel, level_stride: int) -> UInt64[np.ndarray, "Z C"]:
    """Return what moves a key by each offset, by z and by column (y, x).

    With dilation there may be voxels between two offsets, so each is its own column.
    """
    offsets = kernel_offsets(kernel.size, kernel.dilation)
    deltas = voxel_keys.key_deltas(offsets, level_stride)
    return deltas.reshape(kernel.size if kernel.dilation == 1 else 1, -1)
