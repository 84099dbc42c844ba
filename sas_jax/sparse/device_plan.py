"""Plans built where the voxels are: inside a compiled program, on any platform.

The same plan as `plan.build_plan`, bit for bit, from sorts and searches with static
shapes. Nothing waits for the host, so what the host would refuse becomes flags
(`BuiltPlan`); read them with `check` where the step's other results are read. On GPUs
the search is a kernel of this package, and `place_plan` builds there what would take
the host and the copy of the tables longer. On a CPU the host's builder is faster.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Int32, UInt64

from sas_jax.errors import ContractError, InputError
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse.kernel_map import KernelMap, leaf, pytree_dataclass
from sas_jax.sparse.native import neighbours as native_neighbours
from sas_jax.sparse.plan import Level, Plan, assemble, pad_rows
from sas_jax.sparse.plan import build_plan as build_on_host
from sas_jax.sparse.plan_spec import MINKUNET, Kernel, PlanSpec
from sas_jax.sparse.rungs import LADDER, Rung, choose_rung
from sas_jax.sparse.tables import kernel_offsets
from sas_jax.sparse.xla import keys as words
from sas_jax.sparse.xla import neighbours as xla_neighbours
from sas_jax.sparse.xla.keys import Keys


class SortedLevels(NamedTuple):
    """The voxels of every level, before a rung is chosen.

    Attributes:
      keys: sorted distinct keys of each level, unused rows last.
      counts: i32 [L], how many there are.
      order: i32 [N], row r of level 0 is row `order[r]` of the input.
      out_of_range: bool, whether a coordinate or the number of voxels is.
      num_repeated: i32, how many rows repeated an earlier one and were dropped.
    """

    keys: tuple[Keys, ...]
    counts: Int32[Array, " L"]
    order: Int32[Array, " N"]
    out_of_range: Bool[Array, ""]
    num_repeated: Int32[Array, ""]


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
    if len(rung.capacities) != spec.num_levels:
        raise ContractError(
            f"device_plan: capacities of {spec.num_levels} levels are required, got "
            f"{rung.capacities}. Choose the rung for the same specification."
        )
    return fill_tables(sort_levels(coords, num_voxels, spec, rung), rung, spec)


def sort_levels(
    coords: Int32[Array, "N 4"],
    num_voxels: Int32[Array, ""],
    spec: PlanSpec = MINKUNET,
    rung: Rung | None = None,
) -> SortedLevels:
    """Sort the voxels of all levels, and count them, under jit.

    Args:
      coords: as in `build_plan`.
      num_voxels: as in `build_plan`.
      spec: as in `build_plan`.
      rung: capacities to cut the levels to, which makes sorting faster; None keeps as
        many rows as the input has.

    Raises:
      InputError: if the array is not int32 [N, 4].
    """
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype != jnp.int32:
        raise InputError(
            "device_plan: int32 coords [N, 4] of (batch, x, y, z) are required, got "
            f"{coords.dtype} {list(coords.shape)}. Voxelize the points first."
        )
    num_voxels = jnp.asarray(num_voxels, jnp.int32)
    valid = jnp.arange(len(coords), dtype=jnp.int32) < num_voxels
    out_of_range = words.out_of_range(coords, valid) | (num_voxels > len(coords))
    capacities = rung.capacities if rung else (len(coords),) * spec.num_levels
    keys, order, count = words.sort_unique(words.where(valid, words.pack(coords)))
    num_repeated = jnp.sum(valid, dtype=jnp.int32) - count
    levels, counts = [words.fit_keys(keys, capacities[0])], [count]
    for stride, capacity in zip(spec.strides[1:], capacities[1:], strict=True):
        keys, _, count = words.sort_unique(words.floor(levels[-1], stride))
        levels.append(words.fit_keys(keys, capacity))
        counts.append(count)
    return SortedLevels(
        tuple(levels), jnp.stack(counts), order, out_of_range, num_repeated
    )


def fill_tables(
    levels: SortedLevels, rung: Rung, spec: PlanSpec = MINKUNET
) -> BuiltPlan:
    """Fill the tables between sorted levels, under jit; the second half of a plan.

    Args:
      levels: of `sort_levels`.
      rung: capacities of the levels; static.
      spec: that of the levels; static.
    """
    overflowed = levels.counts > jnp.asarray(rung.capacities, jnp.int32)
    whole = ~(jnp.any(overflowed) | levels.out_of_range)
    counts = [jnp.where(whole, n, jnp.zeros_like(n)) for n in levels.counts]
    keys = [
        words.valid_rows(words.fit_keys(level, capacity), count)
        for level, capacity, count in zip(
            levels.keys, rung.capacities, counts, strict=True
        )
    ]
    order = words.fit(levels.order, rung.capacities[0], np.int32(-1))
    kept = jnp.arange(len(order), dtype=jnp.int32) < counts[0]
    order = jnp.where(kept, order, jnp.full_like(order, -1))
    plan = _plan(keys, counts, spec)
    return BuiltPlan(plan, order, overflowed, levels.out_of_range, levels.num_repeated)


@pytree_dataclass("rung", "spec")
class UnbuiltPlan:
    """Voxels of the host whose plan a program builds where it runs.

    Attributes:
      coords: i32 [cap0, 4] (batch, x, y, z) of distinct voxels within the range of
        keys that fit the rung; rows at or beyond `num_voxels` may hold anything.
      num_voxels: i32 scalar.
      rung: capacities of the plan.
      spec: levels and kernels that the network asks for.
    """

    coords: Int32[Array, "cap0 4"]
    num_voxels: Int32[Array, ""]
    rung: Rung
    spec: PlanSpec

    def build(self) -> Plan:
        """Return the plan, under jit."""
        return build_plan(self.coords, self.num_voxels, self.rung, self.spec).plan


def leave_unbuilt(
    coords: Int[np.ndarray, "N 4"], rung: Rung, spec: PlanSpec = MINKUNET
) -> UnbuiltPlan:
    """Check voxels and pad them to the rung.

    Args:
      coords: as in `place_plan`, distinct, and few enough for the rung on every level.
      rung: capacities of the plan.
      spec: levels and kernels that the network asks for.

    Raises:
      InputError: if coordinates are out of range, or level 0 does not fit.
    """
    voxel_keys.check_coords(coords)
    padded = pad_rows(coords.astype(np.int32), rung.capacities[0])
    return UnbuiltPlan(
        leaf(padded), leaf(np.asarray(len(coords), np.int32)), rung, spec
    )


def place_plan(
    coords: Int[np.ndarray, "N 4"],
    rung: Rung | None = None,
    *,
    spec: PlanSpec = MINKUNET,
) -> tuple[Plan, Int32[Array, " cap0"] | Int32[np.ndarray, " num_valid"]]:
    """Build the plan of voxels of the host where it is needed.

    That is on JAX's default device if the search is a kernel there, otherwise on the
    host. The same plan either way.

    Args:
      coords: integer (batch, x, y, z) of distinct voxels, in any order; may be empty.
      rung: capacities; None takes the least rung of the default ladder that fits.
      spec: levels and kernels that the network asks for.

    Returns:
      The plan and `order`: row r of level 0 is row `order[r]` of `coords`, for each
      valid r; from a device there may be -1 behind them.

    Raises:
      InputError: as `plan.build_plan`.
    """
    if not native_neighbours.is_available():
        return build_on_host(coords, rung, spec=spec)
    # The device looks at values that it can hold.
    narrow = coords.dtype == np.int32
    voxel_keys.check_coords(coords[:0] if narrow else coords)
    # As many rows as a rung has, so that few programs are compiled.
    rows = (rung or LADDER.rung((len(coords),))).capacities[0]
    if len(coords) > rows:
        raise InputError(
            f"place_plan: a rung of at least {len(coords)} voxels is required, got "
            f"{rung}. Take a higher rung."
        )
    padded = np.empty((rows, 4), np.int32)
    padded[: len(coords)] = coords
    levels = _sort_levels(padded, np.int32(len(coords)), spec=spec, rung=rung)
    # One wait for the device; tables and network can then be enqueued at once.
    counts, outside, repeated = jax.device_get(
        (levels.counts, levels.out_of_range, levels.num_repeated)
    )
    if outside:
        voxel_keys.check_coords(coords)
    rung = rung or choose_rung([int(n) for n in counts])
    _require(rung, counts > np.array(rung.capacities), outside, int(repeated))
    built = _fill_tables(levels, rung=rung, spec=spec)
    return built.plan, built.order


_sort_levels = jax.jit(sort_levels, static_argnames=("spec", "rung"))
_fill_tables = jax.jit(fill_tables, static_argnames=("spec", "rung"))


def check(built: BuiltPlan, *, repeated_ok: bool = False) -> None:
    """Raise for what the flags of a plan say; waits for the device.

    Args:
      built: what `build_plan` returned, outside of jit.
      repeated_ok: accept repeated voxels, of which the first was kept.

    Raises:
      InputError: if the plan is none, or voxels were repeated.
    """
    repeated = 0 if repeated_ok else int(built.num_repeated)
    _require(
        *(built.plan.rung, np.asarray(built.overflowed)),
        *(bool(built.out_of_range), repeated),
    )


def _require(
    rung: Rung,
    overflowed: Bool[np.ndarray, " L"],
    out_of_range: bool,
    num_repeated: int,
) -> None:
    if out_of_range:
        raise InputError(
            "device_plan: batch indices, coordinates and a number of voxels within "
            "what a key and the array can hold are required, got others. Check the "
            "unit of the points (metres) or use larger voxels."
        )
    if np.any(overflowed):
        levels = np.flatnonzero(overflowed).tolist()
        raise InputError(
            f"device_plan: voxels that fit capacities {rung.capacities} are required, "
            f"got more at levels {levels}. Take a higher rung."
        )
    if num_repeated:
        raise InputError(
            f"device_plan: distinct voxels are required, got {num_repeated} that "
            "repeat earlier ones. Voxelize the points first, or pass repeated_ok=True."
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


def _neighbours(
    keys: Keys,
    centres: Keys,
    num_centres: Int32[Array, ""],
    deltas: UInt64[np.ndarray, "Z C"],
) -> Int32[Array, "Z*C M"]:
    here = native_neighbours.is_available()
    search = native_neighbours.search if here else xla_neighbours.search
    table = search(keys, centres, num_centres, deltas)
    return table.reshape(deltas.size, -1)


def _deltas(kernel: Kernel, level_stride: int) -> UInt64[np.ndarray, "Z C"]:
    """Return what moves a key by each offset, by z and by column (y, x).

    With dilation there may be voxels between two offsets, so each is its own column.
    """
    offsets = kernel_offsets(kernel.size, kernel.dilation)
    deltas = voxel_keys.key_deltas(offsets, level_stride)
    return deltas.reshape(kernel.size if kernel.dilation == 1 else 1, -1)
