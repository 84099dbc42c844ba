"""A trained student and its features of a scene, from geometry alone."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float, Float32, PyTree

from sas_jax.artefacts.features import Features, geometry_of
from sas_jax.models.minkunet import MinkUNet, StudentConfig, constant_features
from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.voxelize import voxelize
from sas_jax.text.space import TextSpace


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
        network = MinkUNet(student.config)
        channels = student.config.in_channels

        def apply(variables, plan):
            features = constant_features(plan, channels)
            return network.apply(variables, plan, features, train=False)

        self._apply = jax.jit(apply)

    def features(self, points: Float[np.ndarray, "P 3"]) -> Features:
        """Run the student on a cloud, without augmentation and without colour.

        The authors' code sums the logits of five randomly scaled and rotated copies;
        one plain run is what the paper describes, and it is deterministic.

        Args:
          points: metres, z up.

        Returns:
          Features of the voxels and the voxel of each point.

        Deterministic: yes, the same bits for any number of threads.
        """
        voxels = voxelize(points, self.student.voxel_size_m)
        plan, order = build_plan(np.pad(voxels.coords, ((0, 0), (1, 0))))
        output = np.asarray(self._apply(self.student.variables, plan))[: len(order)]
        feat = np.empty_like(output)
        feat[order] = output
        row = voxels.inverse.astype(np.int32)
        counts = np.bincount(row, minlength=len(feat)).astype(np.int32)
        return Features(
            feat, row, counts, self.student.text_space, "voxel", geometry_of(points)
        )
