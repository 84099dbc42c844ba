"""Which Mask3D network there is: sizes and options; loads no JAX."""

import dataclasses
from typing import Literal

from sas_jax.checks import in_range, one_of
from sas_jax.errors import InputError
from sas_jax.models.config import ARCHITECTURES, UNetSizes
from sas_jax.sparse.plan_spec import Implementation, PlanSpec, unet_spec

LEVELS = 5
RES16UNET34C = UNetSizes(*ARCHITECTURES["MinkUNet34C"])
"""The backbone of the published weights: MinkUNet34C by another name."""

Encoding = Literal["fourier", "sine"]


@dataclasses.dataclass(frozen=True)
class Mask3DConfig:
    """Sizes and options of a Mask3D network.

    Attributes:
      num_classes: classes that a query is told apart into, "no object" the last one.
      num_queries: masks that are proposed.
      backbone: sizes of the U-Net, which sees colours alone.
      width: channels of queries.
      heads: of every attention.
      hidden: channels inside the feed-forward layers.
      num_decoders: how often the decoder goes over all levels.
      shared_decoder: one set of weights for every pass, else one for each.
      hlevels: levels that queries attend to, 0 being the coarsest (voxels of 16).
      encoding: how positions become channels: Gaussian Fourier features or sines.
      normalize_positions: positions span 0..1 in a scene before they are encoded.
      pre_norm: norms before attention and feed-forward layers instead of after.
      level_embedding: a learned vector of each level is added to its features.
      parametric_queries: learned queries instead of sampled positions.
      point_features: sampled queries start from the features there, not from zero.
      voxel_size_m: edge of a voxel, metres.
      color_mean: subtracted from colours of 0..1.
      color_std: what they are then divided by.
      impl: implementation of convolutions and norms, see `sparse.conv`.
    """

    num_classes: int = 201
    num_queries: int = 150
    backbone: UNetSizes = RES16UNET34C
    width: int = 128
    heads: int = 8
    hidden: int = 1024
    num_decoders: int = 3
    shared_decoder: bool = True
    hlevels: tuple[int, ...] = (0, 1, 2, 3)
    encoding: Encoding = "fourier"
    normalize_positions: bool = True
    pre_norm: bool = False
    level_embedding: bool = False
    parametric_queries: bool = False
    point_features: bool = False
    voxel_size_m: float = 0.02
    color_mean: tuple[float, float, float] = (0.47793125, 0.44303211, 0.40349165)
    color_std: tuple[float, float, float] = (0.28344101, 0.27566661, 0.27018971)
    impl: Implementation | None = None

    def __post_init__(self) -> None:
        where = "Mask3DConfig"
        for name in ("num_classes", "num_queries", "heads", "hidden", "num_decoders"):
            in_range(where, name, getattr(self, name), 1)
        one_of(where, "encoding", self.encoding, ("fourier", "sine"))
        in_range(where, "voxel_size_m", self.voxel_size_m, 0, above=True)
        if self.width < 6 or self.width % 2 or self.width % self.heads:
            raise InputError(
                f"{where}: an even width >= 6 that {self.heads} heads share evenly is "
                f"required, got {self.width}. The published one is 128, of 8 heads."
            )
        if not self.hlevels or not set(self.hlevels) <= set(range(LEVELS)):
            raise InputError(
                f"{where}: hlevels of 0..{LEVELS - 1} are required, got "
                f"{self.hlevels}. The published ones are 0, 1, 2, 3."
            )
        if self.parametric_queries and self.point_features:
            raise InputError(
                f"{where}: sampled queries are required for point_features, got "
                "learned ones (parametric_queries). Choose one of both."
            )

    @property
    def plan_spec(self) -> PlanSpec:
        """Return the levels and kernel maps that the network asks for."""
        stem = self.backbone.stem_kernel
        return unet_spec(LEVELS, stem=() if stem == 3 else (stem,))

    @property
    def decoder_sets(self) -> int:
        """Return how many sets of decoder weights there are."""
        return 1 if self.shared_decoder else self.num_decoders


SCANNET = Mask3DConfig(num_classes=19)
SCANNET200 = Mask3DConfig(num_classes=201)
