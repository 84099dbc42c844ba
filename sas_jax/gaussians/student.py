"""Gaussians as what a student takes: their raw parameters, and scenes to learn from.

As Semantic Gaussians (Guo et al. 2024): opacity (1), colours (3 and 45), scales (3) and
rotation (4), all as the file holds them: logits, harmonics, logarithms, a quaternion of
any length. One Gaussian stands for a voxel; all of the voxel get its feature.

Rotations, mirror images and scales of an augmentation reach these numbers
(`moved.moved_inputs`); elastic distortion leaves them as they are.
"""

import dataclasses
import pathlib
from typing import Literal

import numpy as np
from jaxtyping import Float32

from sas_jax.artefacts.features import load_features
from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.artefacts.versions import decided_by
from sas_jax.distill.config import TrainConfig
from sas_jax.distill.data import TrainScene, targets_of
from sas_jax.errors import InputError
from sas_jax.gaussians.files.rewrite import SplatFile, read_splat_file
from sas_jax.gaussians.files.sidecar import sidecar_of
from sas_jax.gaussians.moved import moved_inputs
from sas_jax.models.config import GAUSSIAN_INPUTS

Inputs = Literal["all", "colour"]
_REST = 15  # coefficients of a colour above the constant one, degree 3


def raw_inputs(file: SplatFile, which: Inputs) -> Float32[np.ndarray, "G C_in"]:
    """Return the inputs of a student: logit of opacity, colours, log scale, quaternion.

    Coefficients stand as in PLY files, all of red first; those that a file lacks are 0,
    those above degree 3 are left out.

    Args:
      file: of the Gaussians.
      which: everything, or colours alone.
    """
    columns, num = file.columns, len(file.splats)
    each = sum(name.startswith("f_rest_") for name in columns) // 3
    rest = np.zeros((num, 3, _REST), np.float32)
    for channel in range(3):
        for k in range(min(each, _REST)):
            rest[:, channel, k] = columns[f"f_rest_{channel * each + k}"]

    def block(stem: str, count: int) -> Float32[np.ndarray, "G c"]:
        names = [f"{stem}_{i}" for i in range(count)]
        return np.stack([columns[name].astype(np.float32) for name in names], axis=1)

    colours = [block("f_dc", 3), rest.reshape(num, 3 * _REST)]
    if which == "colour":
        return np.concatenate(colours, axis=1)
    opacity = columns["opacity"].astype(np.float32)[:, None]
    shape = [block("scale", 3), block("rot", 4)]
    return np.concatenate([opacity, *colours, *shape], axis=1)


def inputs_named(channels: int) -> Inputs:
    """Return which inputs a student of so many channels takes.

    Raises:
      InputError: for a student of something else.
    """
    for name, count in GAUSSIAN_INPUTS.items():
        if count == channels:
            return "all" if name == "all" else "colour"
    raise InputError(
        "student: one of Gaussians, of "
        f"{' or '.join(map(str, GAUSSIAN_INPUTS.values()))} channels, is required, got "
        f"{channels}. Train one: train.py --gaussians."
    )


@dataclasses.dataclass(frozen=True)
class SplatScene:
    """A file of Gaussians with features beside it, to learn from.

    Attributes:
      path: of the file.
    """

    path: pathlib.Path

    @property
    def name(self) -> str:
        """Name of the scene."""
        return self.path.stem

    @property
    def features(self) -> pathlib.Path:
        """The file of its features."""
        return sidecar_of(self.path)

    @property
    def key(self) -> str:
        """Content key of both files, and of what an augmentation makes of them."""
        sums = [sha256_file(p) for p in (self.path, self.features)]
        return content_key([sums, decided_by(moved_inputs.__module__)])

    def load(self, config: TrainConfig) -> TrainScene:
        """Read Gaussians and features: each is its own superpoint.

        Raises:
          InputError: for damaged files, features of other Gaussians or of another
            length than the student's, and where more than plain distillation is asked.
        """
        if config.self_distillation or not config.own_targets:
            raise InputError(
                "train: plain distillation is required for Gaussians, got --distill="
                f"{config.level} and --self_distillation={config.self_distillation:g}. "
                "Give --distill=point --self_distillation=0."
            )
        file = read_splat_file(self.path)
        features = load_features(self.features, file.splats.means)
        if features.space.dim != config.student.out_dim:
            raise InputError(
                f"train: features with the student's {config.student.out_dim} channels "
                f"are required, got {features.space.dim} ({self.features}). "
                "Lift them again."
            )
        own = np.arange(len(file.splats), dtype=np.int32)
        return TrainScene(
            self.name,
            file.splats.means,
            own,
            targets_of(features, own, config, self.path),
            raw_inputs(file, inputs_named(config.student.in_channels)),
            moved_inputs,
        )


def scenes_in(folder: pathlib.Path) -> list[SplatScene]:
    """Return the files of Gaussians in a folder that have features, by name.

    Raises:
      InputError: where there are none.
    """
    found = [p for p in sorted(folder.glob("*.ply")) if sidecar_of(p).is_file()]
    if not found:
        raise InputError(
            f"train: files of Gaussians with features beside them are required, got "
            f"none ({folder}). Lift some: label_splats.py --out={folder}/<scene>.ply"
        )
    return [SplatScene(path) for path in found]
