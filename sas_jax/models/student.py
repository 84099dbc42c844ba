"""A trained student and its features of a scene: of points, or of Gaussians."""

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int, Int32, PyTree

from sas_jax import memory
from sas_jax.artefacts.features import Features, geometry_of
from sas_jax.artefacts.space import TextSpace
from sas_jax.checks import one_of
from sas_jax.errors import ContractError, InputError
from sas_jax.models import tiles
from sas_jax.models.config import StudentConfig, StudentPrecision
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse.conv import require_bf16
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

    def __init__(self, student: Student, precision: StudentPrecision = "f32"):
        """Take a student of `load_student`, or of `read_student`.

        Args:
          student: trained.
          precision: "bf16" keeps rows in bfloat16 and multiplies it by bfloat16, with
            sums in float32: nearly twice as fast (docs/performance.md says what it
            costs). GPUs and processors with AVX512_BF16 do that.

        Raises:
          InputError: for bf16 on a processor that does not multiply it.
        """
        one_of("student", "precision", precision, get_args(StudentPrecision))
        if precision == "bf16":
            require_bf16("student", student.config.impl)
        self.student = student
        self.precision = precision
        self.spec = student.config.plan_spec
        self.radius = student.config.receptive_radius
        self.width = student.config.out_dim
        self._program_bytes: dict[Rung, int] = {}
        network = MinkUNet(student.config)
        channels = student.config.in_channels

        def apply(variables, plan, inputs):
            if inputs is None:
                inputs = constant_features(plan, channels)
            if precision == "f32":
                return network.apply(variables, plan, inputs, train=False)
            with jax.default_matmul_precision("bfloat16"):
                inputs = inputs.astype(jnp.bfloat16)
                return network.apply(variables, plan, inputs, train=False)

        self._apply = jax.jit(apply)

    def features(
        self,
        points: Float[np.ndarray, "P 3"],
        shift: Int[np.ndarray, " 3"] | int = 0,
        inputs: Float32[np.ndarray, "P C_in"] | None = None,
    ) -> Features:
        """Run the student on a cloud, without augmentation and without colour.

        The authors' code sums the logits of five randomly scaled and rotated copies;
        one plain run is what the paper describes, and it is deterministic. A cloud too
        large for the memory that is free is done in tiles (`models.tiles`).

        Args:
          points: metres, z up.
          shift: voxels that the grid is moved by, >= 0, which decides what the coarse
            levels pool.
          inputs: raw Gaussians (`gaussians.student`), whose centres the points are; a
            voxel takes those of its first one.

        Returns:
          Features of the voxels and the voxel of each point: all Gaussians of a voxel
          have its feature.

        Raises:
          InputError: if the points are in another unit, or there is too little memory
            even for tiles; for a student of Gaussians without inputs, and for one of
            points with some.

        Deterministic: yes, the same bits for any number of threads.
        """
        self._check_inputs(inputs)
        check_extent(points, self.student.voxel_size_m, "student")
        voxels = voxelize(points, self.student.voxel_size_m)
        free = memory.device_bytes(jax.devices()[0])
        coords = (voxels.coords + shift).astype(np.int32)
        network: tiles.Network = self
        if inputs is not None:
            network = _WithInputs(self, coords, inputs[voxels.first_point])
        feat = tiles.features(network, coords, free)
        row = voxels.inverse.astype(np.int32)
        counts = np.bincount(row, minlength=len(feat)).astype(np.int32)
        return Features(
            feat, row, counts, self.student.text_space, "voxel", geometry_of(points)
        )

    def _check_inputs(self, inputs: Float32[np.ndarray, "P C_in"] | None) -> None:
        config = self.student.config
        if config.takes_gaussians != (inputs is not None):
            kind = "Gaussians" if config.takes_gaussians else "points"
            raise InputError(
                f"student: {kind} are required by a student of {kind}, got others. "
                "Give a file of Gaussians to a student of Gaussians only."
            )
        if inputs is not None and inputs.shape[1] != config.in_channels:
            raise ContractError(
                f"student: {config.in_channels} inputs are required, got "
                f"{inputs.shape[1]}."
            )

    def _placed(
        self, rung: Rung, inputs: Float32[np.ndarray, "N C_in"]
    ) -> Float32[np.ndarray, "cap0 C_in"]:
        rows = np.zeros((rung.capacities[0], inputs.shape[1]), np.float32)
        rows[: len(inputs)] = inputs
        return rows

    def program_bytes(self, rung: Rung) -> int:
        """Return the memory that one run takes: XLA's own account, and the plan."""
        if rung not in self._program_bytes:
            plan, inputs = abstract_plan(self.spec, rung), None
            if self.student.config.takes_gaussians:
                shape = rung.capacities[0], self.student.config.in_channels
                inputs = jax.ShapeDtypeStruct(shape, np.float32)
            # The program is kept: a run of this rung does not compile again.
            program = self._apply.lower(self.student.variables, plan, inputs).compile()
            account = program.memory_analysis()
            assert account is not None  # XLA keeps one on CPU, GPU and TPU
            self._program_bytes[rung] = plan_bytes(self.spec, rung) + (
                account.temp_size_in_bytes
                + account.argument_size_in_bytes
                + account.output_size_in_bytes
            )
        return self._program_bytes[rung]

    def run(
        self,
        coords: Int32[np.ndarray, "N 3"],
        rung: Rung,
        inputs: Float32[np.ndarray, "N C_in"] | None = None,
    ) -> Float32[np.ndarray, "N C"]:
        """Return the features of voxels, all at once."""
        batch = np.pad(coords, ((0, 0), (1, 0)))
        plan, places = place_plan(batch, rung, spec=self.spec)
        order = np.asarray(places)[: len(coords)]
        if inputs is not None:
            inputs = self._placed(rung, inputs[order])
        found = self._apply(self.student.variables, plan, inputs)
        output = np.asarray(found)[: len(coords)]
        feat = np.empty(output.shape, np.float32)
        feat[order] = output
        return feat


class _WithInputs:
    """A student with the inputs of a scene's voxels, for tiles."""

    def __init__(
        self,
        predictor: Predictor,
        coords: Int32[np.ndarray, "N 3"],
        inputs: Float32[np.ndarray, "N C_in"],
    ):
        self.spec, self.radius = predictor.spec, predictor.radius
        self.width, self.program_bytes = predictor.width, predictor.program_bytes
        self._predictor = predictor
        keys = _keys(coords)
        order = np.argsort(keys)
        self._keys, self._inputs = keys[order], inputs[order]

    def run(
        self, coords: Int32[np.ndarray, "N 3"], rung: Rung
    ) -> Float32[np.ndarray, "N C"]:
        """See `tiles.Network`."""
        rows = np.searchsorted(self._keys, _keys(coords))
        return self._predictor.run(coords, rung, self._inputs[rows])


def _keys(coords: Int32[np.ndarray, "N 3"]) -> np.ndarray:
    return voxel_keys.pack(np.pad(coords, ((0, 0), (1, 0))))
