"""A trained student and its features of a scene, from geometry alone."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float, Float32, Int, Int32, PyTree

from sas_jax import memory
from sas_jax.artefacts.features import Features, geometry_of
from sas_jax.artefacts.space import TextSpace
from sas_jax.models import tiles
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.device_plan import place_plan
from sas_jax.sparse.extent import check_extent
from sas_jax.sparse.plan import abstract_plan, plan_bytes
from sas_jax.sparse.rungs import Rung
from sas_jax.sparse.voxelize import voxelize


@dataclasses.dataclass(frozen=True)
class Student:
    """A trained network for evaluation and queries.

    Attributes:
      config: network to build.
      variables: params and batch_stats.
      voxel_size_m: edge of the voxels it was trained with.
      text_features: [K, C] f32 of the training vocabulary.
      text_space: that its features and these texts live in.
      class_names: the K names.
      step: steps it was trained.
    """

    config: StudentConfig
    variables: PyTree
    voxel_size_m: float
    text_features: Float32[np.ndarray, "K C"]
    text_space: TextSpace
    class_names: tuple[str, ...]
    step: int


class Predictor:
    """A trained student, ready to run on scenes of any size."""

    def __init__(self, student: Student):
        """Take a student of `load_student`, or of `read_student`."""
        self.student = student
        self.spec = student.config.plan_spec
        self.radius = student.config.receptive_radius
        self.width = student.config.out_dim
        self._program_bytes: dict[Rung, int] = {}
        network = MinkUNet(student.config)
        channels = student.config.in_channels

        def apply(variables, plan):
            features = constant_features(plan, channels)
            return network.apply(variables, plan, features, train=False)

        self._apply = jax.jit(apply)

    def features(
        self, points: Float[np.ndarray, "P 3"], shift: Int[np.ndarray, " 3"] | int = 0
    ) -> Features:
        """Run the student on a cloud, without augmentation and without colour.

        The authors' code sums the logits of five randomly scaled and rotated copies;
        one plain run is what the paper describes, and it is deterministic. A cloud too
        large for the memory that is free is done in tiles (`models.tiles`).

        Args:
          points: metres, z up.
          shift: voxels that the grid is moved by, >= 0, which decides what the coarse
            levels pool.

        Returns:
          Features of the voxels and the voxel of each point.

        Raises:
          InputError: if the points are in another unit, or there is too little memory
            even for tiles.

        Deterministic: yes, the same bits for any number of threads.
        """
        check_extent(points, self.student.voxel_size_m, "student")
        voxels = voxelize(points, self.student.voxel_size_m)
        free = memory.device_bytes(jax.devices()[0])
        coords = (voxels.coords + shift).astype(np.int32)
        feat = tiles.features(self, coords, free)
        row = voxels.inverse.astype(np.int32)
        counts = np.bincount(row, minlength=len(feat)).astype(np.int32)
        return Features(
            feat, row, counts, self.student.text_space, "voxel", geometry_of(points)
        )

    def program_bytes(self, rung: Rung) -> int:
        """Return the memory that one run takes: XLA's own account, and the plan."""
        if rung not in self._program_bytes:
            plan = abstract_plan(self.spec, rung)
            # The program is kept: a run of this rung does not compile again.
            program = self._apply.lower(self.student.variables, plan).compile()
            account = program.memory_analysis()
            assert account is not None  # XLA keeps one on CPU, GPU and TPU
            self._program_bytes[rung] = plan_bytes(self.spec, rung) + (
                account.temp_size_in_bytes
                + account.argument_size_in_bytes
                + account.output_size_in_bytes
            )
        return self._program_bytes[rung]

    def run(
        self, coords: Int32[np.ndarray, "N 3"], rung: Rung
    ) -> Float32[np.ndarray, "N C"]:
        """Return the features of voxels, all at once."""
        batch = np.pad(coords, ((0, 0), (1, 0)))
        plan, order = place_plan(batch, rung, spec=self.spec)
        output = np.asarray(self._apply(self.student.variables, plan))[: len(coords)]
        feat = np.empty_like(output)
        feat[np.asarray(order)[: len(coords)]] = output
        return feat
