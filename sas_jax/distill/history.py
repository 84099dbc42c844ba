"""Temporal ensembling: the running mean of each point's logits, and pseudo labels.

The paper averages features, F_hat <- a F_hat + (1 - a) F_3D (Eq. 11), and uses them
only in products with the text features T (Eq. 12). Averaging commutes with that
product, so the history holds logits: K numbers per point instead of C, in f32. P
points, N voxels, S superpoints, K classes.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32

from sas_jax.distill.batch import Batch
from sas_jax.distill.losses import segment_mean
from sas_jax.distill.processes import of_all_devices
from sas_jax.errors import InputError
from sas_jax.sparse.kernel_map import leaf


def update_history(
    history: Float[Array, "P K"],
    logits: Float[Array, "N K"],
    point_voxel: Int32[Array, " P"],
    alpha: float | Float[Array, ""],
) -> Float[Array, "P K"]:
    """Move the history of every point toward the logits of its voxel.

    Gradients: none, pseudo labels are constants. Deterministic: yes.
    Source: SAS Eq. 11 times T. The authors' code uses alpha = 0.9999 on f16 features,
    where an update is below the resolution.
    """
    current = jax.lax.stop_gradient(logits)[point_voxel]
    return alpha * history + (1.0 - alpha) * current


def pseudo_labels(
    history: Float[Array, "P K"], superpoint: Int32[Array, " P"], num_superpoints: int
) -> tuple[Int32[Array, " P"], Int32[Array, " S"]]:
    """Return the class of every point and of every superpoint's mean.

    Args:
      history: running mean of logits.
      superpoint: superpoint of each point; `num_superpoints` for padding.
      num_superpoints: S.

    Source: SAS Eq. 12.
    """
    mask = superpoint < num_superpoints
    means, _ = segment_mean(history, superpoint, mask, num_superpoints)
    labels = jnp.argmax(history, axis=1).astype(jnp.int32)
    return labels, jnp.argmax(means, axis=1).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class SceneRows:
    """Which rows of a batch are the points of which scene.

    Attributes:
      names: scene names, per device.
      num_points: points of each of these scenes, per device.
    """

    names: Sequence[Sequence[str]]
    num_points: Sequence[Sequence[int]]

    def rows(self) -> Iterator[tuple[int, str, slice]]:
        """Yield device, scene name and rows of every scene."""
        for device, names in enumerate(self.names):
            start = 0
            for name, count in zip(names, self.num_points[device], strict=True):
                yield device, name, slice(start, start + count)
                start += count


class History:
    """The running means of all scenes, in host memory.

    A step's result is taken over only when it is needed, so that the device works on
    the next step meanwhile.
    """

    def __init__(self, logits: Mapping[str, Float32[np.ndarray, "P K"]] | None = None):
        self._logits = dict(logits or {})
        self._pending: tuple[SceneRows, Array] | None = None

    def __len__(self) -> int:
        return len(self._logits)

    def attach(
        self,
        shards: Sequence[Batch],
        scene_rows: SceneRows,
        devices: Sequence[int] | None = None,
    ) -> tuple[Batch, ...]:
        """Return the batches with the current history of their points.

        Args:
          shards: of this process.
          scene_rows: of all devices.
          devices: which of them the shards are for; None for all.

        Raises:
          InputError: if a scene has no history, or one of another size.
        """
        if self._pending and not self._scenes(scene_rows).isdisjoint(
            self._scenes(self._pending[0])
        ):
            self.settle()
        classes = next(iter(self._logits.values())).shape[1] if self._logits else 0
        filled = [
            np.zeros((len(shard.known_ensemble.history), classes), np.float32)
            for shard in shards
        ]
        known = range(len(shards)) if devices is None else devices
        place = {device: shard for shard, device in enumerate(known)}
        for device, name, rows in scene_rows.rows():
            if device in place:
                count = rows.stop - rows.start
                filled[place[device]][rows] = self._checked(name, count)
        return tuple(
            dataclasses.replace(
                shard,
                ensemble=dataclasses.replace(shard.known_ensemble, history=leaf(rows)),
            )
            for shard, rows in zip(shards, filled, strict=True)
        )

    def push(self, scene_rows: SceneRows, updated: Float[Array, "D P K"]) -> None:
        """Remember a step's result, of this process's D devices, not waiting for it."""
        self.settle()
        self._pending = (scene_rows, updated)

    def settle(self) -> None:
        """Wait for the result of the last step and take it over."""
        if self._pending is None:
            return
        scene_rows, updated = self._pending
        rows_of = of_all_devices(updated)
        for device, name, rows in scene_rows.rows():
            self._logits[name] = rows_of[device, rows].copy()
        self._pending = None

    def start(
        self,
        name: str,
        logits: Float32[np.ndarray, "P K"],
        superpoint: Int32[np.ndarray, " P"],
    ) -> None:
        """Begin a scene with the superpoint means of logits in evaluation mode.

        Source: authors' code, which saves stage-1 features averaged per superpoint.
        """
        counts = np.bincount(superpoint)
        means = np.zeros((len(counts), logits.shape[1]), np.float64)
        np.add.at(means, superpoint, logits)
        means /= np.maximum(counts, 1)[:, None]
        self._logits[name] = means[superpoint].astype(np.float32)

    def arrays(self) -> dict[str, Float32[np.ndarray, "P K"]]:
        """Return the history of every scene, for a checkpoint."""
        self.settle()
        return dict(self._logits)

    def _checked(self, name: str, num_points: int) -> Float32[np.ndarray, "P K"]:
        logits = self._logits.get(name)
        if logits is None or len(logits) != num_points:
            got = "none" if logits is None else f"{len(logits)} points"
            raise InputError(
                f"history: {num_points} points of scene {name} are required, got "
                f"{got}. Resume with the scenes that the checkpoint was made with."
            )
        return logits

    @staticmethod
    def _scenes(scene_rows: SceneRows) -> set[str]:
        return {name for names in scene_rows.names for name in names}
