"""Features of a trained student for every point of a scene, from geometry alone."""

import jax
import numpy as np
from jaxtyping import Float

from sas_jax.artefacts.features import Features, geometry_of
from sas_jax.distill.checkpoint import Student
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.voxelize import voxelize


class Predictor:
    """A trained student, ready to run on scenes of any size."""

    def __init__(self, student: Student):
        """Take a student from `distill.checkpoint.load_student`."""
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
